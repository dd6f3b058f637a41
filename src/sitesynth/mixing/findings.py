"""The content of results/mixing.json: what was tried, what won, and the mixes to learn from.

It holds no time and no id, so the same search gives the same bytes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from sitesynth.mixing.finals import Finalist, winner_of
from sitesynth.mixing.search import SITES, SKIPPED, mix_of_trial, name_of_trial
from sitesynth.strategies.mixes import EQUAL, TUNED, Mix


__all__ = ["describe_search", "describe_untried"]

OBJECTIVE = {
    "name": "log loss",
    "direction": "minimize",
    "split": "validation",
    "pooled": "classes of a site count alike; sites count by their validation scans",
}

DIGITS = 6


def describe_search(
    *,
    pool: Mix,
    fixed: Mapping[str, Mix],
    trials: Sequence[FrozenTrial],
    finalists: Sequence[Finalist],
    max_total: int,
) -> dict[str, Any]:
    """Describe a search and its outcome.

    Args:
        pool: What there was to take.
        fixed: The fixed mixes, by name.
        trials: Those that came to an end, in order.
        finalists: The mixes that were trained again.
        max_total: The budget.
    """
    winner = winner_of(finalists, fixed=fixed)
    return {
        "objective": {**OBJECTIVE, "scans": dict(winner.scans)},
        "pool": pool,
        "max_total": max_total,
        "mixes": {**fixed, TUNED: winner.mix},
        "best": _describe_finalist(winner),
        "finalists": [_describe_finalist(finalist) for finalist in finalists],
        "trials": [
            _describe_trial(number, trial, max_total=max_total)
            for number, trial in enumerate(trials)
        ],
        "validations": _count_validations(trials, finalists),
    }


def describe_untried(*, pool: Mix, fixed: Mapping[str, Mix], max_total: int) -> dict[str, Any]:
    """Describe a study that tried no mix: the equal one is taken."""
    best: dict[str, Any] = {
        "name": EQUAL,
        "counts": fixed[EQUAL],
        "validation_loss": None,
        "by_seed": [],
    }
    return {
        "objective": {**OBJECTIVE, "scans": {}},
        "pool": pool,
        "max_total": max_total,
        "mixes": {**fixed, TUNED: fixed[EQUAL]},
        "best": best | {"sites": {}},
        "finalists": [],
        "trials": [],
        "validations": 0,
    }


def _count_validations(trials: Sequence[FrozenTrial], finalists: Sequence[Finalist]) -> int:
    """Count the models that each site was sent to try: at every look, and the best once more."""
    looks = [len(trial.intermediate_values) for trial in trials]
    complete = sum(trial.state is TrialState.COMPLETE for trial in trials)
    trainings = sum(len(finalist.by_seed) for finalist in finalists)
    return sum(looks) + complete + trainings * (max(looks) + 1)


def _describe_finalist(finalist: Finalist) -> dict[str, Any]:
    return {
        "name": finalist.name,
        "counts": finalist.mix,
        "validation_loss": round(finalist.mean, DIGITS),
        "by_seed": [round(loss, DIGITS) for loss in finalist.by_seed],
        "sites": {site: round(loss, DIGITS) for site, loss in finalist.sites.items()},
    }


def _describe_trial(number: int, trial: FrozenTrial, *, max_total: int) -> dict[str, Any]:
    """Describe a trial; its number is its place among those that ended."""
    looks = sorted(trial.intermediate_values.items())
    return {
        "number": number,
        "name": name_of_trial(trial),
        "state": trial.state.name.lower(),
        "skipped": trial.user_attrs.get(SKIPPED),
        "counts": mix_of_trial(trial.params, max_total=max_total),
        "validation_loss": round(min(loss for _, loss in looks), DIGITS) if looks else None,
        "looks": [[step, round(loss, DIGITS)] for step, loss in looks],
        "sites": {
            site: round(loss, DIGITS) for site, loss in trial.user_attrs.get(SITES, {}).items()
        },
    }
