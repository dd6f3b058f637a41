"""How well each strategy answers the questions of the task's stages, one by one.

Any strategy that predicts every class can be asked: the probability of a group of classes is the
sum of theirs, in proportion to the others that the stage is about. So a classifier of all classes
at once stands beside one that was learned in stages.

Axes: n = patients, g = groups of classes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sitesynth import seeds
from sitesynth.evaluation.class_summaries import summarize_classes
from sitesynth.evaluation.intervals import draw_resamples
from sitesynth.evaluation.predictions import ClassPredictions
from sitesynth.evaluation.summaries import strata_of
from sitesynth.settings import StageSettings


__all__ = ["ask_stage", "compare_stages"]

FIGURES = ("n", "counts", "auc", "accuracy", "balanced_accuracy", "brier", "ece")

TINY = 1e-12
"""What a probability that was rounded to 0 is taken for, lest all of a stage's be 0."""

Json = dict[str, Any]


def compare_stages(
    predictions: Mapping[str, ClassPredictions],
    stages: Sequence[StageSettings],
    *,
    num_resamples: int,
    seed: int,
) -> list[Json]:
    """Return each stage, its groups, and every strategy's figures on the patients it is about.

    Args:
        predictions: By strategy, of the same patients.
        stages: As `task.stages` of params.yaml.
        num_resamples: Bootstrap resamples; all strategies share them.
        seed: Root seed of the study.
    """
    found: list[Json] = []
    for stage in stages:
        told: Json = {}
        for strategy, predicted in predictions.items():
            asked = ask_stage(predicted, stage.groups)
            everyone = np.ones(len(asked.labels), dtype=bool)
            scope = ("evaluation", "stage", stage.name)
            weights = draw_resamples(
                strata_of(asked, everyone),
                num_resamples=num_resamples,
                rng=seeds.numpy_generator(seed, *scope, "bootstrap"),
            )
            summary = summarize_classes(
                asked,
                everyone,
                weights=weights,
                rng=seeds.numpy_generator(seed, *scope, "calibration", strategy),
            )
            told[strategy] = {key: summary[key] for key in FIGURES}
        groups = [list(group) for group in stage.groups]
        found.append({"stage": stage.name, "groups": groups, "strategies": told})
    return found


def ask_stage(predicted: ClassPredictions, groups: Sequence[Sequence[str]]) -> ClassPredictions:
    """Return the predictions of groups of classes, of the patients who are of one of them."""
    columns = [[predicted.classes.index(name) for name in group] for group in groups]
    labels = np.full(len(predicted.labels), -1)
    for number, members in enumerate(columns):
        labels[np.isin(predicted.labels, members)] = number
    inside = labels >= 0

    def shares(scores: np.ndarray) -> np.ndarray:
        sums = np.stack([scores[..., members].sum(axis=-1) for members in columns], axis=-1)
        sums = np.maximum(sums, TINY)
        return np.asarray(sums / sums.sum(axis=-1, keepdims=True))

    return ClassPredictions(
        classes=tuple(" or ".join(group) for group in groups),
        patients=tuple(np.array(predicted.patients)[inside].tolist()),
        sites=tuple(np.array(predicted.sites)[inside].tolist()),
        labels=labels[inside],
        probabilities=shares(predicted.probabilities[inside]),
        by_seed=shares(predicted.by_seed[:, inside]),
    )
