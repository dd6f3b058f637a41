"""One strategy's predictions as pictures, for its run in MLflow.

Every strategy's look alike, axes included, so that those of several runs can be read side by side.

Axes: n = patients, k = points of a curve.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sitesynth.evaluation.metrics import auc, call_positive, reliability_bins, sensitivity
from sitesynth.evaluation.predictions import AnyPredictions, Predictions


__all__ = ["draw_predictions"]

Labels = Bool[np.ndarray, " n"]
Values = Float[np.ndarray, " n"]

SIDE_IN: Final = 4.0


def draw_predictions(predicted: AnyPredictions, *, title: str) -> Iterator[tuple[str, Figure]]:
    """Yield a receiver operating characteristic, per site and overall, and a reliability diagram.

    Args:
        predicted: For external patients. Of all classes, each is drawn against the rest.
        title: The strategy.

    Yields:
        Name and figure; a curve that wants a class is left out.
    """
    if not isinstance(predicted, Predictions):
        for number, name in enumerate(predicted.classes):
            alone = predicted.one_against_rest(number)
            for kind, figure in draw_predictions(alone, title=f"{title}: {name}"):
                yield f"{kind}_{name}", figure
        return
    figure, axes = _square(title)
    sites = np.array(predicted.sites)
    groups = {site: sites == site for site in sorted(set(predicted.sites))}
    groups["all sites"] = np.ones(len(sites), dtype=bool)
    for name, inside in groups.items():
        labels, scores = predicted.labels[inside], predicted.probabilities[inside]
        area = auc(labels, scores)
        if area is not None:
            width = 2.2 if name == "all sites" else 1.1
            axes.plot(*_roc(labels, scores), label=f"{name}: AUC {area:.3f}", linewidth=width)
    axes.set(xlabel="1 - specificity", ylabel="sensitivity")
    axes.legend(loc="lower right")
    yield "roc", figure

    figure, axes = _square(title)
    bins = reliability_bins(predicted.labels, predicted.probabilities)
    axes.scatter(
        [found.mean_probability for found in bins],
        [found.positive_fraction for found in bins],
        s=[4 + 400 * found.num_patients / len(sites) for found in bins],
    )
    axes.set(xlabel="predicted probability", ylabel="fraction positive")
    yield "reliability", figure


def _square(title: str) -> tuple[Figure, Axes]:
    """Return a panel from 0 to 1 both ways with its diagonal."""
    figure = Figure(figsize=(SIDE_IN, SIDE_IN))
    axes = figure.add_subplot()
    axes.axline((0, 0), slope=1, color="0.7", linewidth=0.8)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", title=title)
    return figure, axes


def _roc(labels: Labels, scores: Values) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Return false and true positive fraction at every threshold, from none called to all."""
    thresholds = [np.inf, *np.unique(scores)[::-1]]
    calls = [call_positive(scores, threshold=threshold) for threshold in thresholds]
    false = [sensitivity(~labels, called) for called in calls]
    return np.array(false), np.array([sensitivity(labels, called) for called in calls])
