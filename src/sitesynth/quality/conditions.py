"""Whether a generator does what its label asks: classes as a judge sees them, tumours in numbers.

Axes: n = scans, d = features.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from sitesynth.described import Described
from sitesynth.features import Extractor, FeatureScale
from sitesynth.judges import Examples
from sitesynth.quality.judge import judge_classes
from sitesynth.quality.tumours import compare_tumours, tumour_statistics


__all__ = ["assess_conditions"]

Labels = Int[np.ndarray, " _"]


def assess_conditions(
    train: Described,
    held_out: Described,
    synthetic: Described,
    *,
    labels: tuple[Labels, Labels, Labels],
    classes: Sequence[str],
    extractor: Extractor,
    grid: Sequence[int],
    spacing_mm: Sequence[float] | None,
    num_resamples: int,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Return `judge` and `tumours` of a site; null where there is nothing to judge by.

    Args:
        train: The training scans.
        held_out: Real scans of the site that the generator never saw.
        synthetic: One scan of the generator per training scan, in that order.
        labels: Class numbers of the three, below 0 where unknown or not asked for.
        classes: Names of the classes.
        extractor: Where the features come from.
        grid: Voxels per axis.
        spacing_mm: Voxel size, if there is one.
        num_resamples: Resamples behind each interval.
        rng: Source of the resamples and of the judge's folds.
    """
    scale = FeatureScale.of(train.features)
    features = (
        train.features,
        held_out.features,
        extractor.hide(synthetic.features, train.presence),
    )
    sets = (train, held_out, synthetic)
    examples = [
        Examples(
            np.nan_to_num(scale.standardize(found[asked >= 0]), nan=0.0),
            asked[asked >= 0],
            tuple(np.asarray(scans.patients)[asked >= 0].tolist()),
        )
        for found, asked, scans in zip(features, labels, sets, strict=True)
    ]
    told = [
        tumour_statistics(found, extractor, grid=grid, spacing_mm=spacing_mm) for found in features
    ]
    tumours = None
    if extractor.has_mask:
        tumours = compare_tumours(
            *told,
            labels=labels,
            patients=(train.patients, held_out.patients, synthetic.patients),
            classes=classes,
            num_resamples=num_resamples,
            rng=rng,
        )
    judged = judge_classes(*examples, classes=classes, num_resamples=num_resamples, rng=rng)
    return {"judge": judged, "tumours": tumours}
