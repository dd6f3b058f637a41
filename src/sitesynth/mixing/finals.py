"""The last round: the best trials are trained again, beside the fixed mixes, on fresh seeds.

The best of a dozen noisy trials is mostly the luckiest. So the few best, and the fixed mixes, are
trained with seeds that no trial used. A tried mix wins only if it beats the better fixed one by
more than two standard errors (Breiman et al., 1984, Section 3.4.3, ask for one of the simplest
tree, and did not choose among a dozen): what a dozen validation scans cannot tell apart stays as it
is. The error is that over seeds and that over sites, for the mix is meant for sites that are not
here: a gain at one site that the others pay for is no gain.
"""

import math
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, final

import optuna

from sitesynth.mixing.problem import MixingProblem, try_mix
from sitesynth.mixing.search import ended_trials, mix_of_trial, name_of_trial
from sitesynth.settings import MixingSettings
from sitesynth.strategies.mixes import Mix
from sitesynth.strategies.side_by_side import train_side_by_side
from sitesynth.tracking import OnStep


__all__ = ["Finalist", "choose_finalists", "judge_finalists", "winner_of"]

NUM_ERRORS: Final = 2
"""Standard errors by which a tried mix must win."""


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
        (trial.value, number, trial)
        for number, trial in enumerate(ended_trials(study))
        if trial.state is optuna.trial.TrialState.COMPLETE
    ]
    for _, number, trial in sorted(complete, key=lambda entry: entry[:2]):
        if len(chosen) == len(fixed) + settings.num_finalists:
            break
        mix = mix_of_trial(trial.params, max_total=settings.max_total)
        if mix not in chosen.values():
            chosen[name_of_trial(trial) or f"trial-{number}"] = mix
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
    trainings = [(name, member) for name in mixes for member in range(1, num_seeds + 1)]
    done = count(1)

    def train(number: int, on_step: OnStep) -> Mapping[str, Any]:
        name, member = trainings[number]
        key = f"{name}/{member}"
        if key not in study.user_attrs:
            loss, scores = try_mix(problem, mixes[name], member=member, on_step=on_step)
            result = {
                "loss": loss,
                "sites": {site: score.loss for site, score in scores.items()},
                "scans": {site: score.num_scans for site, score in scores.items()},
            }
            study.set_user_attr(key, result)
        on_training(next(done))
        return study.user_attrs[key]  # type: ignore[no-any-return]

    told = train_side_by_side(
        train, len(trainings), on_step_of=lambda number: lambda step, losses: None
    )
    results = dict(zip(trainings, told, strict=True))
    return [
        Finalist(
            name,
            mix,
            [results[name, member]["loss"] for member in range(1, num_seeds + 1)],
            {
                site: math.fsum(
                    results[name, member]["sites"][site] for member in range(1, num_seeds + 1)
                )
                / num_seeds
                for site in sorted(problem.validators)
            },
            results[name, 1]["scans"],
        )
        for name, mix in mixes.items()
    ]


def winner_of(finalists: Sequence[Finalist], *, fixed: Collection[str]) -> Finalist:
    """Return the mix to learn from; of equals, the first.

    Args:
        finalists: All of them, trained on the same seeds; two or more.
        fixed: Names of the fixed mixes among them.
    """
    best = min(finalists, key=lambda finalist: finalist.mean)
    simple = min((f for f in finalists if f.name in fixed), key=lambda finalist: finalist.mean)
    by_seed = [a - b for a, b in zip(simple.by_seed, best.by_seed, strict=True)]
    by_site = [simple.sites[site] - loss for site, loss in best.sites.items()]
    error = math.hypot(_standard_error(by_seed), _standard_error(by_site))
    return best if statistics.fmean(by_seed) > NUM_ERRORS * error else simple


def _standard_error(gains: Sequence[float]) -> float:
    """Return the standard error of a mean; of one gain, which tells nothing of it, 0."""
    return statistics.stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else 0.0
