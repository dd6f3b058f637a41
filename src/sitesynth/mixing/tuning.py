"""Tuning the mix, from the pool to the content of results/mixing.json."""

from collections.abc import Callable
from typing import Any

import optuna

from sitesynth.mixing.finals import choose_finalists, judge_finalists
from sitesynth.mixing.findings import describe_search, describe_untried
from sitesynth.mixing.search import Opener, ended_trials, search
from sitesynth.settings import MixingSettings
from sitesynth.strategies.mixes import (
    EQUAL,
    PROPORTIONAL,
    Mix,
    count_as,
    equal_mix,
    mixes_without,
    pool_of,
    proportional_mix,
)


__all__ = ["tune_mix"]

OnStudy = Callable[[optuna.Study], None]


def tune_mix(
    opener: Opener,
    *,
    scans: Mix,
    settings: MixingSettings,
    address: str,
    name: str,
    seed: int,
    on_progress: OnStudy = lambda study: None,
    on_end: OnStudy = lambda study: None,
) -> dict[str, Any]:
    """Find the mix of lowest validation loss.

    Args:
        opener: Loads what the hub has, and reaches the sites.
        scans: Training scans by site and class, as the bundles' cards say.
        settings: The `mixing` section of params.yaml.
        address: Where trials are kept; see `storages.open_storage`.
        name: Of the search in that storage.
        seed: Root seed of the study.
        on_progress: Called now and then with the Optuna study.
        on_end: Called once all trials have ended.

    Returns:
        The content of results/mixing.json.

    Raises:
        TrainingError: If a site lacks a class, or a training diverges.
        SettingsError: If the storage cannot be opened.
    """
    problem = opener()
    pool = pool_of(problem.pool, problem.classes)
    fixed = {
        EQUAL: equal_mix(pool, max_total=settings.max_total),
        PROPORTIONAL: proportional_mix(pool, count_as(pool, scans), max_total=settings.max_total),
    }
    if settings.num_trials == 0:
        return describe_untried(pool=pool, fixed=fixed, max_total=settings.max_total)
    study = search(
        opener,
        problem,
        {**fixed, **mixes_without(pool, max_total=settings.max_total)},
        settings=settings,
        address=address,
        name=name,
        seed=seed,
        on_progress=on_progress,
    )
    on_end(study)
    finalists = judge_finalists(
        study,
        problem,
        choose_finalists(study, fixed, settings),
        num_seeds=settings.num_seeds,
    )
    return describe_search(
        pool=pool,
        fixed=fixed,
        trials=ended_trials(study),
        finalists=finalists,
        max_total=settings.max_total,
    )
