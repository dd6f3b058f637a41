"""How often the intervals of a task of several classes contain the truth.

Cohorts of three classes whose true figures are known from a million patients: two classifiers see a
shared signal with noise of their own, each class's logit raised where it is the truth. Expected:
92 to 97 % for the macro AUC, its difference by DeLong and by paired bootstrap, accuracies and the
Brier score, less where AUCs are near 1 or a class has six patients (difference: 89 to 92 %); 99 %
or more for the classwise ECE and the mean specificity, which are conservative. The last
column is the share of cohorts that show non-inferiority where the truth is on the margin: 2.5 % are
asked for, 2 to 5 % found.

    python -m benchmarks.coverage_of_class_intervals --cohorts 1000 --resamples 300
"""

import argparse
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from scipy.special import softmax

from sitesynth.evaluation import macro
from sitesynth.evaluation.class_summaries import summarize_classes, summarize_points_of
from sitesynth.evaluation.comparisons import choose_alpha
from sitesynth.evaluation.intervals import draw_resamples, percentile_interval
from sitesynth.evaluation.predictions import ClassPredictions


__all__ = ["SCENARIOS", "Scenario", "measure"]

NUM_REFERENCE: Final = 1_000_000
FIGURES: Final = ("auc", "accuracy", "balanced_accuracy", "specificity", "brier", "ece")


@final
@dataclass(frozen=True, slots=True)
class Scenario:
    """A cohort to draw: class sizes, and how far the truth's logit is raised by each classifier."""

    sizes: tuple[int, int, int]
    raised: float
    other: float


SCENARIOS: Final = (
    Scenario((60, 40, 20), 2.0, 1.6),
    Scenario((100, 50, 30), 2.0, 1.6),
    Scenario((100, 50, 30), 2.8, 2.2),
    Scenario((300, 200, 100), 1.2, 1.0),
    Scenario((40, 12, 6), 2.0, 1.6),
)


def draw(
    labels: np.ndarray, scenario: Scenario, *, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities of two classifiers whose errors correlate by 0.6."""
    shared = rng.normal(size=(len(labels), 3))
    truth = np.eye(3)[labels]
    both = [
        softmax(
            raised * truth + 0.6**0.5 * shared + 0.4**0.5 * rng.normal(size=shared.shape), axis=1
        )
        for raised in (scenario.raised, scenario.other)
    ]
    return both[0], both[1]


def predictions_of(labels: np.ndarray, chances: np.ndarray) -> ClassPredictions:
    """Return probabilities as a strategy's predictions of one site."""
    names = tuple(str(number) for number in range(len(labels)))
    return ClassPredictions(
        classes=("a", "b", "c"),
        patients=names,
        sites=("elm",) * len(labels),
        labels=labels,
        probabilities=chances,
        by_seed=np.zeros((0, len(labels), 3)),
    )


def mean_specificity(labels: np.ndarray, calls: np.ndarray) -> float:
    """Return the mean over classes of the share of the others that are not called so."""
    return float(np.mean([(calls[labels != number] != number).mean() for number in range(3)]))


def measure(
    scenario: Scenario, *, num_cohorts: int, num_resamples: int, rng: np.random.Generator
) -> dict[str, float]:
    """Return the share of cohorts whose intervals contain the truth, by figure."""
    shares = np.array(scenario.sizes) / sum(scenario.sizes)
    many = np.repeat(np.arange(3), np.round(shares * NUM_REFERENCE).astype(int))
    chances, others = draw(many, scenario, rng=rng)
    truth = summarize_points_of(predictions_of(many, chances), threshold=None)
    truth["specificity"] = mean_specificity(many, chances.argmax(axis=1))
    margin = truth["auc"] - (macro.macro_auc(many, others) or 0.0)
    labels = np.repeat(np.arange(3), scenario.sizes)
    hits: Counter[str] = Counter()
    for _ in range(num_cohorts):
        chances, others = draw(labels, scenario, rng=rng)
        weights = draw_resamples(
            [str(label) for label in labels], num_resamples=num_resamples, rng=rng
        )
        found = summarize_classes(
            predictions_of(labels, chances),
            np.ones(len(labels), dtype=bool),
            weights=weights,
            rng=rng,
        )
        hits.update(n for n in FIGURES if found[n]["low"] <= truth[n] <= found[n]["high"])
        difference = macro.macro_auc_difference(labels, others, chances)
        if difference is None:
            continue
        around = difference.interval()
        changes = macro.resampled_macro_auc(labels, others, weights)
        changes -= macro.resampled_macro_auc(labels, chances, weights)
        resampled = percentile_interval(changes)
        confidence = 1 - 2 * choose_alpha(difference)
        bounds = (
            difference.interval(confidence=confidence),
            percentile_interval(changes, confidence=confidence),
        )
        hits["difference"] += around.low <= -margin <= around.high
        hits["by bootstrap"] += resampled.low <= -margin <= resampled.high
        hits["released"] += min(bound.low for bound in bounds) > -margin
    return {
        name: hits[name] / num_cohorts
        for name in (*FIGURES, "difference", "by bootstrap", "released")
    }


def main() -> None:
    """Print a line per scenario."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, required=True)
    parser.add_argument("--resamples", type=int, required=True)
    wanted = parser.parse_args()
    for number, scenario in enumerate(SCENARIOS):
        found = measure(
            scenario,
            num_cohorts=wanted.cohorts,
            num_resamples=wanted.resamples,
            rng=np.random.default_rng([1, number]),
        )
        shown = "  ".join(f"{name} {100 * share:.1f}" for name, share in found.items())
        sys.stdout.write(f"{scenario}: {shown}\n")


if __name__ == "__main__":
    main()
