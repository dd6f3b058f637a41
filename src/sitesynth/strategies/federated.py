"""Federated averaging (McMahan et al., 2017): weights travel, scans do not.

A round has two halves, `train_locally` at each site and `averaging.average_weights` at the hub.
They take and return plain weights, so that whatever carries the weights, this loop or a federated
engine, runs the same two functions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from sitesynth.classifiers.training import Examples, train_on
from sitesynth.settings import ClassifierSettings, FederatedSettings
from sitesynth.strategies.averaging import average_weights
from sitesynth.strategies.protocol import Consortium, Learner
from sitesynth.strategies.selection import BestWeights
from sitesynth.tracking import OnStep
from sitesynth.training import best_device, learning_rate_at


__all__ = ["Federated", "steps_of_round", "train_locally"]


def steps_of_round(number: int, *, num_rounds: int, num_steps: int) -> int:
    """Return the local steps of round `number`, from 1, so that all rounds add up to num_steps."""
    return number * num_steps // num_rounds - (number - 1) * num_steps // num_rounds


def train_locally(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    examples: Examples,
    *,
    settings: ClassifierSettings,
    federated: FederatedSettings,
    site: str,
    member: int,
    number: int,
    seed: int,
    on_step: OnStep = lambda step, losses: None,
) -> dict[str, Tensor]:
    """Do one site's half of a round: start from the hub's weights, return the site's own.

    The optimizer starts anew each round, since its state never leaves the site; the peak step size
    follows the cosine that a centralized training would be on by then.

    Args:
        model: A classifier to work in; what it holds on entry does not matter.
        weights: The hub's weights.
        examples: The site's training scans.
        settings: The `classifier` section of params.yaml.
        federated: The `federated` section of params.yaml.
        site: The site's name; names the randomness.
        member: Number of this training among the strategy's seeds.
        number: Number of the round, from 1.
        seed: Root seed of the study.
        on_step: Told each step's loss.
    """
    model.load_state_dict(dict(weights))
    rounds = federated.num_rounds
    peak = learning_rate_at(number, num_steps=rounds + 1, peak=settings.learning_rate)
    steps = steps_of_round(number, num_rounds=rounds, num_steps=settings.num_steps)
    train_on(
        model,
        examples,
        settings=settings.model_copy(
            update={"learning_rate": peak, "batch_size": federated.batch_size}
        ),
        scope=("classifier", member, "federated", site, number),
        seed=seed,
        num_steps=steps,
        on_step=on_step,
    )
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


@final
@dataclass(frozen=True)
class Federated:
    """Train in rounds: every site from the hub's weights, then the hub averages."""

    settings: ClassifierSettings
    federated: FederatedSettings

    def fit(
        self, sites: Consortium, build: Learner, *, seed: int, member: int, on_step: OnStep
    ) -> nn.Module:
        """Learn one classifier; see `Strategy.fit`."""
        ordered = {name: sites[name] for name in sorted(sites)}
        model = build(member)
        weights: dict[str, Tensor] = {k: v.clone() for k, v in model.state_dict().items()}
        model.to(best_device())
        best = BestWeights([site.validate for site in ordered.values()])
        step = 0
        for number in range(1, self.federated.num_rounds + 1):
            updates, counts, losses = [], [], []
            for name, site in ordered.items():
                assert site.real is not None  # noqa: S101

                def heard(_: int, told: Mapping[str, float]) -> None:
                    losses.append(told["loss"])  # noqa: B023

                updates.append(
                    train_locally(
                        model,
                        weights,
                        site.real,
                        settings=self.settings,
                        federated=self.federated,
                        site=name,
                        member=member,
                        number=number,
                        seed=seed,
                        on_step=heard,
                    )
                )
                counts.append(len(site.real) if self.federated.weighting == "scans" else 1)
            weights = average_weights(updates, counts)
            model.load_state_dict(weights)
            step += steps_of_round(
                number, num_rounds=self.federated.num_rounds, num_steps=self.settings.num_steps
            )
            mean_loss = float(torch.tensor(losses).mean())
            on_step(step, {"loss": mean_loss, "validation_loss": best.look(model)})
        best.restore(model)
        return model.eval().cpu()
