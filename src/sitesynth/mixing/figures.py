"""Optuna's own pictures of a search, for MLflow."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
import numpy as np
import optuna
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState


__all__ = ["draw_search"]

FEWEST_TRIALS = 4
"""Complete trials below which importance is not defined."""

CONTOURED = 3
"""Most important counts, each pair of which gets a contour."""


def draw_search(study: optuna.Study) -> Iterator[tuple[str, Figure]]:
    """Yield the pictures of a search by name; each is closed when the next is asked for."""
    plots = optuna.visualization.matplotlib
    with _quietly():
        yield from _shown("history", plots.plot_optimization_history(study))
        yield from _shown("slice", plots.plot_slice(study))
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(complete) < FEWEST_TRIALS:
            return
        evaluator = PedAnovaImportanceEvaluator()
        importances = get_param_importances(study, evaluator=evaluator)
        yield from _shown("importance", plots.plot_param_importances(study, evaluator=evaluator))
        chosen = list(importances)[:CONTOURED]
        yield from _shown("contour", plots.plot_contour(study, params=chosen))


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep pyplot's style as it was, and leave out that these plots are called experimental."""
    with warnings.catch_warnings(), mpl.rc_context():
        warnings.simplefilter("ignore")
        yield


def _shown(name: str, axes: object) -> Iterator[tuple[str, Figure]]:
    figure = np.atleast_1d(axes).flat[0].figure  # type: ignore[call-overload]
    yield name, figure
    plt.close(figure)
