"""The last round: the best trials are trained again, beside the fixed mixes, on fresh seeds.

The best of a dozen noisy trials is mostly the luckiest. So the few best, and the fixed mixes, are
trained with seeds that no trial used, and the lowest mean loss wins. A fixed mix wins a tie. So the
tuned mix is at least as good on validation as each fixed one, by this measure and by construction.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import optuna

from sitesynth.mixing.problem import MixingProblem, try_mix
from sitesynth.mixing.search import ended_trials, mix_of_trial, name_of_trial
from sitesynth.settings import MixingSettings
from sitesynth.strategies.mixes import Mix


__all__ = ["Finalist", "choose_finalists", "judge_finalists", "winner_of"]


@final
@dataclass(frozen=True, slots=True)
class Finalist:
    """A mix that was trained several times."""

    name: str
    mix: Mix
    by_seed: Sequence[float]
    """Pooled validation loss of each training."""
    sites: Mapping[str, float]
    """Mean validation loss at each site."""
    scans: Mapping[str, int]
    """Validation scans of each site, by which its loss counts."""

    @property
    def mean(self) -> float:
        """Mean validation loss."""
        return math.fsum(self.by_seed) / len(self.by_seed)


def choose_finalists(
    study: optuna.Study, fixed: Mapping[str, Mix], settings: MixingSettings
) -> dict[str, Mix]:
    """Return the fixed mixes and those of the best trials, by name; each mix once."""
    chosen = dict(fixed)
    complete = [
        (trial.value, number, mix_of_trial(trial.params, max_total=settings.max_total))
        for number, trial in enumerate(ended_trials(study))
        if trial.state is optuna.trial.TrialState.COMPLETE and name_of_trial(trial) is None
    ]
    for _, number, mix in sorted(complete, key=lambda entry: entry[:2]):
        if len(chosen) == len(fixed) + settings.num_finalists:
            break
        if mix not in chosen.values():
            chosen[f"trial-{number}"] = mix
    return chosen


def judge_finalists(
    study: optuna.Study,
    problem: MixingProblem,
    mixes: Mapping[str, Mix],
    *,
    num_seeds: int,
    on_training: Callable[[int], None] = lambda number: None,
) -> list[Finalist]:
    """Train every finalist with each seed; what the storage knows already is not done again.

    Args:
        study: Where results are kept.
        problem: What the hub has.
        mixes: By name.
        num_seeds: Trainings of each.
        on_training: Called after each training with its number, from 1.
    """
    finalists = []
    done = 0
    for name, mix in mixes.items():
        told = []
        for member in range(1, num_seeds + 1):
            key = f"{name}/{member}"
            if key not in study.user_attrs:
                loss, scores = try_mix(problem, mix, member=member, on_step=lambda step, told: None)
                result = {
                    "loss": loss,
                    "sites": {site: score.loss for site, score in scores.items()},
                    "scans": {site: score.num_scans for site, score in scores.items()},
                }
                study.set_user_attr(key, result)
            told.append(study.user_attrs[key])
            done += 1
            on_training(done)
        finalists.append(
            Finalist(
                name,
                mix,
                [entry["loss"] for entry in told],
                {
                    site: math.fsum(entry["sites"][site] for entry in told) / num_seeds
                    for site in sorted(problem.validators)
                },
                told[0]["scans"],
            )
        )
    return finalists


def winner_of(finalists: Sequence[Finalist]) -> Finalist:
    """Return the finalist of lowest mean loss; of equals, the first."""
    return min(finalists, key=lambda finalist: finalist.mean)
