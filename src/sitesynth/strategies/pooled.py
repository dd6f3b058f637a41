"""Strategies that train once on a pool of scans: local, centralized, synthetic, augmented."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import nn

from sitesynth.classifiers.training import Examples, train_on
from sitesynth.settings import ClassifierSettings
from sitesynth.strategies.protocol import Consortium, Learner
from sitesynth.strategies.selection import BestWeights
from sitesynth.tracking import OnStep
from sitesynth.training import best_device


__all__ = ["Pooled"]


@final
@dataclass(frozen=True)
class Pooled:
    """Train on all scans that the sites show, real or synthetic, as if they were one site's.

    With real scans of one site it is `local`, of all sites `centralized`; with synthetic scans
    alone it is `synthetic`, with both `augmented`.
    """

    settings: ClassifierSettings

    def fit(
        self, sites: Consortium, build: Learner, *, seed: int, member: int, on_step: OnStep
    ) -> nn.Module:
        """Learn one classifier; see `Strategy.fit`."""
        ordered = {name: sites[name] for name in sorted(sites)}
        examples = join_examples(
            [
                examples
                for site in ordered.values()
                for examples in (site.real, site.synthetic)
                if examples is not None
            ]
        )
        model = build(member).to(best_device())
        best = BestWeights([site.validate for site in ordered.values()])

        def looking(step: int, losses: Mapping[str, float]) -> None:
            told = dict(losses)
            if step % self.settings.validate_every == 0 or step == self.settings.num_steps:
                told["validation_loss"] = best.look(model)
            on_step(step, told)

        train_on(
            model,
            examples,
            settings=self.settings,
            scope=("classifier", member),
            seed=seed,
            num_steps=self.settings.num_steps,
            on_step=looking,
        )
        best.restore(model)
        return model.eval().cpu()


def join_examples(parts: Sequence[Examples]) -> Examples:
    """Pool examples; each scan keeps its weight."""
    return Examples(
        torch.cat([part.images for part in parts]),
        torch.cat([part.presence for part in parts]),
        torch.cat([part.labels for part in parts]),
        torch.cat([part.weights for part in parts]),
    )
