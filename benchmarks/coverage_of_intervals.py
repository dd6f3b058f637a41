"""How often the intervals of `sitesynth.evaluation` contain the truth.

Binormal cohorts whose true figures are known: two classifiers see a shared signal with noise of
their own, and predict the exact (or a distorted) probability. Expected: 93 to 97 % for every
interval but ECE's, which is conservative (at least 93 %). In parentheses: what we do not use, and
why not. The last row is the share of cohorts that show non-inferiority where the truth lies on the
margin: 2.5 % are asked for, 2.4 to 3.9 % found, the most with 80 positives near the ceiling.

    python -m benchmarks.coverage_of_intervals --cohorts 2000 --resamples 500

Three minutes on one core.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from scipy.special import expit, ndtri

from sitesynth.evaluation import metrics
from sitesynth.evaluation.comparisons import choose_alpha
from sitesynth.evaluation.intervals import (
    Interval,
    auc_interval,
    bca_interval,
    draw_resamples,
    ece_interval,
    percentile_interval,
    weighted_interval,
    wilson_interval,
)
from sitesynth.evaluation.paired import auc_difference


__all__ = ["SCENARIOS", "Scenario", "measure_coverage"]

MARGIN: Final = 0.05

NUM_REFERENCE: Final = 1_000_000
"""Patients of a class behind the true Brier score, ECE and shares."""


@final
@dataclass(frozen=True, slots=True)
class Scenario:
    """A cohort to draw: class sizes, the reference's AUC, the other's, and its calibration."""

    num_positives: int
    num_negatives: int
    auc: float
    other_auc: float
    slope: float
    """Factor on the log odds that the first classifier states; 1 is calibrated."""


SCENARIOS: Final = (
    Scenario(40, 50, 0.85, 0.80, 1.0),
    Scenario(80, 100, 0.85, 0.80, 1.0),
    Scenario(80, 100, 0.85, 0.80, 2.0),
    Scenario(80, 100, 0.96, 0.91, 1.0),
    Scenario(30, 120, 0.90, 0.85, 0.5),
    Scenario(200, 300, 0.75, 0.70, 1.0),
)


def draw_cohort(
    labels: np.ndarray, scenario: Scenario, *, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities of two classifiers whose errors correlate by 0.6."""
    shared = rng.normal(size=len(labels))
    logits = []
    for auc in (scenario.auc, scenario.other_auc):
        separation = 2**0.5 * ndtri(auc)
        signal = 0.6**0.5 * shared + 0.4**0.5 * rng.normal(size=len(labels)) + separation * labels
        logits.append(separation * signal - separation**2 / 2)
    odds = np.log(scenario.num_positives / scenario.num_negatives)
    return expit(scenario.slope * (logits[0] + odds)), expit(logits[1] + odds)


def true_figures(scenario: Scenario, *, rng: np.random.Generator) -> dict[str, float]:
    """Return what the metrics of the first classifier are in endless patients."""
    share = scenario.num_positives / (scenario.num_positives + scenario.num_negatives)
    labels = np.arange(NUM_REFERENCE) < round(share * NUM_REFERENCE)
    scores, _ = draw_cohort(labels, scenario, rng=rng)
    calls = metrics.call_positive(scores, threshold=0.5)
    figures = {
        "sensitivity": metrics.sensitivity(labels, calls),
        "accuracy": metrics.accuracy(labels, calls),
        "balanced accuracy": metrics.balanced_accuracy(labels, calls),
        "Brier": metrics.brier(labels, scores),
        "ECE": metrics.ece(labels, scores),
    }
    return {name: value for name, value in figures.items() if value is not None} | {
        "AUC": scenario.auc,
        "difference": scenario.auc - scenario.other_auc,
    }


def draw_intervals(
    labels: np.ndarray, scenario: Scenario, *, num_resamples: int, rng: np.random.Generator
) -> tuple[dict[str, tuple[str, Interval | None]], bool]:
    """Draw one cohort; return every interval with what it is of, and whether it would release.

    The release is "the worse classifier is not inferior to the better by the margin", which is
    false where their AUCs differ by exactly that.
    """
    scores, others = draw_cohort(labels, scenario, rng=rng)
    weights = draw_resamples([str(label) for label in labels], num_resamples=num_resamples, rng=rng)
    calls = metrics.call_positive(scores, threshold=0.5)
    found, spared = calls[labels], ~calls[~labels]
    of_positives = wilson_interval(int(found.sum()), len(found)) or Interval(0.0, 1.0)
    of_negatives = wilson_interval(int(spared.sum()), len(spared)) or Interval(0.0, 1.0)
    right = int((calls == labels).sum())
    errors = np.square(scores - labels)
    influences = errors - np.where(labels, errors[labels].mean(), errors[~labels].mean())
    briers = metrics.resampled_brier(labels, scores, weights)
    eces = metrics.resampled_ece(labels, scores, weights)
    calibrated = metrics.simulate_calibrated_ece(scores, num_resamples=num_resamples, rng=rng)
    aucs = metrics.resampled_auc(labels, scores, weights)
    other_aucs = metrics.resampled_auc(labels, others, weights)
    differences = aucs - other_aucs
    difference = auc_difference(labels, scores, others)
    reverse = auc_difference(labels, others, scores)
    assert difference is not None  # noqa: S101
    assert reverse is not None  # noqa: S101
    confidence = 1 - 2 * choose_alpha(reverse)
    lows = (
        reverse.interval(confidence=confidence).low,
        percentile_interval(-differences, confidence=confidence).low,
    )
    intervals = {
        "AUC DeLong": ("AUC", auc_interval(labels, scores)),
        "(AUC percentile)": ("AUC", percentile_interval(aucs)),
        "diff DeLong": ("difference", difference.interval()),
        "diff percentile": ("difference", percentile_interval(differences)),
        "sensitivity": ("sensitivity", of_positives),
        "accuracy": (
            "accuracy",
            weighted_interval(
                [
                    (labels.mean(), float(found.mean()), of_positives),
                    (1 - labels.mean(), float(spared.mean()), of_negatives),
                ]
            ),
        ),
        "(accuracy Wilson)": ("accuracy", wilson_interval(right, len(labels))),
        "balanced accuracy": (
            "balanced accuracy",
            weighted_interval(
                [
                    (0.5, float(found.mean()), of_positives),
                    (0.5, float(spared.mean()), of_negatives),
                ]
            ),
        ),
        "Brier BCa": ("Brier", bca_interval(float(errors.mean()), briers, influences)),
        "(Brier perc.)": ("Brier", percentile_interval(briers)),
        "ECE": ("ECE", ece_interval(metrics.ece(labels, scores) or 0.0, calibrated, eces)),
        "(ECE perc.)": ("ECE", percentile_interval(eces)),
    }
    return intervals, min(lows) > -MARGIN


def measure_coverage(
    scenario: Scenario, *, num_cohorts: int, num_resamples: int, rng: np.random.Generator
) -> dict[str, float]:
    """Return the share of cohorts whose interval contains the truth, and of false releases."""
    truth = true_figures(scenario, rng=rng)
    labels = np.arange(scenario.num_positives + scenario.num_negatives) < scenario.num_positives
    counts: Counter[str] = Counter()
    for _ in range(num_cohorts):
        intervals, released = draw_intervals(labels, scenario, num_resamples=num_resamples, rng=rng)
        for name, (quantity, interval) in intervals.items():
            counts[name] += bool(
                interval is not None and interval.low <= truth[quantity] <= interval.high
            )
        counts["false non-inf."] += released
    return {name: count / num_cohorts for name, count in counts.items()}


def render(results: Mapping[Scenario, Mapping[str, float]]) -> str:
    """Render one column per scenario."""
    lines = [
        "positives + negatives, AUC, slope".ljust(36)
        + "".join(f"{f'{s.num_positives}+{s.num_negatives}':>10}" for s in results),
        " " * 36 + "".join(f"{f'{s.auc} x{s.slope:g}':>10}" for s in results),
    ]
    lines += [
        name.ljust(36) + "".join(f"{shares[name]:>10.3f}" for shares in results.values())
        for name in next(iter(results.values()))
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure every scenario and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cohorts", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=500)
    arguments = parser.parse_args()
    sys.stdout.write(
        render(
            {
                scenario: measure_coverage(
                    scenario,
                    num_cohorts=arguments.cohorts,
                    num_resamples=arguments.resamples,
                    rng=np.random.default_rng(number),
                )
                for number, scenario in enumerate(SCENARIOS)
            }
        )
    )


if __name__ == "__main__":
    main()
