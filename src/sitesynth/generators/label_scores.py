"""How much a scan looks like its classes, as a number that a flow can be told beside the label.

A flow that knows the label alone has to find out from two dozen patients a class what the class
looks like, by an error to which that adds next to nothing. A judge (`sitesynth.judges`) knows it
from as few, for telling classes apart is all that it learns. So the flow is told the judge's log
odds of each class against the first. That number shows in the image, whatever the class; how it
differs between classes is what the site tells of it, as of any covariate (`descriptions`), and what
the hub draws it from (ADR 61).

Training scans are scored by judges that did not learn from their patients. Else a score would only
repeat the label: a few dozen scans of as many features can be told apart by heart.

Axes: n = scans, k = classes, s = scores, one less than classes.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from jaxtyping import Float

from sitesynth import seeds
from sitesynth.errors import CohortError
from sitesynth.features import FeatureScale, extractor_for
from sitesynth.generators.covariates import score_names
from sitesynth.generators.generator import GeneratorConfig
from sitesynth.images import ImageSet
from sitesynth.judges import Examples, Probabilities, learn_judge


__all__ = ["add_label_scores", "as_told"]

NUM_JUDGES: Final = 5
"""Judges whose scores are averaged, each with folds of its own: one's depend on who was left out
with whom."""

LEAST: Final = 0.01
"""No class is less probable than this, lest one scan decide what is typical."""

DIGITS: Final = 6


def as_told(images: ImageSet, config: GeneratorConfig, *, seed: int) -> ImageSet:
    """Return a site's scans with all columns that its flow was told of, in their table.

    Args:
        images: All scans of the site, as its flow was trained.
        config: The generator's.
        seed: Root seed of the study.
    """
    if not config.diffusion.label_score:
        return images
    return add_label_scores(
        images, label=config.label, classes=config.classes, seed=seed, site=config.site
    )


def add_label_scores(
    images: ImageSet, *, label: str, classes: Sequence[str], seed: int, site: str
) -> ImageSet:
    """Return a site's scans with their scores as columns of the table.

    Args:
        images: All scans of the site. Judges learn from the training scans whose class is known;
            these are scored by judges without their patients, all others by judges of them all.
        label: The task's label column.
        classes: Its classes, in order.
        seed: Root seed of the study.
        site: Whose they are; names the randomness.

    Raises:
        CohortError: If a class has fewer than two training patients.
    """
    is_training = (images.table["split"] == "train").to_numpy()
    labels = np.asarray(images.labels(label, classes))
    learned = is_training & (labels >= 0)
    features = _features_of(images, learned)
    patients = images.table["patient_id"].to_numpy()
    examples = Examples(
        features[learned], labels[learned], tuple(str(patient) for patient in patients[learned])
    )
    scores = np.zeros((NUM_JUDGES, len(images), len(classes) - 1))
    rng = seeds.numpy_generator(seed, "label-scores", site)
    for number in range(NUM_JUDGES):
        judge = learn_judge(examples, num_classes=len(classes), rng=rng)
        if judge is None:
            counts = {
                name: len(set(patients[learned & (labels == n)])) for n, name in enumerate(classes)
            }
            raise CohortError(
                f"diffusion.label_score needs two training patients of each class of {label}, and "
                f"{site} has {counts}. Set overrides.{site}.diffusion.label_score to false."
            )
        scores[number] = _log_odds(judge.of(features))
        scores[number, learned] = _log_odds(judge.of_left_out(examples.features))
    table = images.table.copy()
    for name, column in zip(score_names(classes), scores.mean(axis=0).T, strict=True):
        table[name] = [f"{value:.{DIGITS}g}" for value in column]
    return replace(images, table=table)


def _features_of(images: ImageSet, learned: np.ndarray) -> Float[np.ndarray, "n d"]:
    """Return features in units of those that judges learn from; 0 where a channel is missing."""
    extractor = extractor_for(images.channels, len(images.grid))
    rows = [
        extractor.extract(np.asarray(images.load([number])[0]), np.asarray(present))
        for number, present in enumerate(images.presence)
    ]
    features = np.stack(rows)
    standardized: np.ndarray = FeatureScale.of(features[learned]).standardize(features)
    filled: np.ndarray = np.nan_to_num(standardized)
    return filled


def _log_odds(probabilities: Probabilities) -> Float[np.ndarray, "n s"]:
    logs: np.ndarray = np.log(probabilities.clip(LEAST, 1 - LEAST))
    odds: np.ndarray = logs[:, 1:] - logs[:, :1]
    return odds
