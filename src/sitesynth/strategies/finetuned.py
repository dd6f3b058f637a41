"""Federated training, and then some steps on one site's own scans: a classifier of that site."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from torch import nn

from sitesynth.classifiers.training import train_on
from sitesynth.settings import ClassifierSettings, FederatedSettings
from sitesynth.strategies.federated import Federated
from sitesynth.strategies.protocol import Consortium, Learner
from sitesynth.strategies.selection import BestWeights
from sitesynth.tracking import OnStep
from sitesynth.training import best_device


__all__ = ["Finetuned"]


@final
@dataclass(frozen=True)
class Finetuned:
    """Take the federated classifier, and train it on at one site.

    The federated part runs in this process, whatever the engine: the weights are the same.
    """

    site: str
    settings: ClassifierSettings
    federated: FederatedSettings

    def fit(
        self, sites: Consortium, build: Learner, *, seed: int, member: int, on_step: OnStep
    ) -> nn.Module:
        """Learn one classifier; see `Strategy.fit`.

        Of lowest validation loss at this site alone, which is why it may be the federated one.
        """
        federated = Federated(self.settings, self.federated)
        model = federated.fit(sites, build, seed=seed, member=member, on_step=on_step)
        model.to(best_device())
        here = sites[self.site]
        assert here.real is not None  # noqa: S101
        best = BestWeights([here.validate])
        best.look(model)
        num_steps = self.federated.finetune_steps

        def looking(step: int, losses: Mapping[str, float]) -> None:
            told = dict(losses)
            if step % self.settings.validate_every == 0 or step == num_steps:
                told["validation_loss"] = best.look(model)
            on_step(self.settings.num_steps + step, told)

        train_on(
            model,
            here.real,
            settings=self.settings.model_copy(update={"batch_size": self.federated.batch_size}),
            scope=("classifier", member, "finetuned", self.site),
            seed=seed,
            num_steps=num_steps,
            on_step=looking,
        )
        best.restore(model)
        return model.eval().cpu()
