"""The quality audit of one site's generator.

Everything is measured twice, against the same held-out real scans: for synthetic scans, and for as
many real training scans. The second is the floor: what a perfect generator would get from these few
patients. A generator that copies its training scans gets the floor too, and no better: quality is
no evidence against copying, which is the privacy audit's business.
"""

from typing import Any

import numpy as np

from sitesynth.audits import Described
from sitesynth.features import Extractor, FeatureScale
from sitesynth.quality.diversity import draw_pairs, mean_similarity, num_scales
from sitesynth.quality.fidelity import compare_manifolds, measure_distances
from sitesynth.quality.matrix import SiteFeatures
from sitesynth.settings import QualitySettings


__all__ = ["NOT_MEASURED", "assess_quality", "features_of"]

NOT_MEASURED = ("brisque", "piqe")
"""Part of the contract, null in this version: no library that the lock holds has them."""

NUM_SHIFTS = 5


def assess_quality(
    train: Described,
    held_out: Described,
    synthetic: Described,
    *,
    extractor: Extractor,
    settings: QualitySettings,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Compare a generator's scans with held-out real scans, and training scans beside them.

    Args:
        train: The training scans, which also set the scale of the features.
        held_out: Real scans of the site that the generator never saw.
        synthetic: One scan of the generator per training scan, in that order.
        extractor: Where the features come from.
        settings: The `quality` section of params.yaml.
        rng: Source of the resamples and of the pairs.

    Returns:
        The site's entry in results/quality.json.
    """
    scale = FeatureScale.of(train.features)
    # With the same channels missing, so that what remains is a difference of images.
    drawn = extractor.hide(synthetic.features, train.presence)
    reference = scale.standardize(held_out.features)
    candidates = {
        "synthetic": (synthetic, scale.standardize(drawn)),
        "real": (train, scale.standardize(train.features)),
    }
    sequences = len(extractor.sequences)
    report: dict[str, Any] = {
        "extractor": describe_extractor(extractor),
        "num_features": int(scale.varies.sum()),
        "scans": {"held_out": len(held_out), "synthetic": len(synthetic), "real": len(train)},
        "neighbours": settings.neighbours,
        "ms_ssim_scales": num_scales(train.thumbnails.shape[2:]),
        "not_measured": list(NOT_MEASURED),
    }
    for name, (scans, features) in candidates.items():
        pairs = draw_pairs(scans.patients, count=settings.num_pairs, rng=rng)
        similarity = mean_similarity(
            scans.thumbnails[:, :sequences], scans.presence[:, :sequences], pairs
        )
        report[name] = {
            **measure_distances(
                features,
                reference,
                patients_x=scans.patients,
                patients_y=held_out.patients,
                num_resamples=settings.num_resamples,
                rng=rng,
            ),
            **compare_manifolds(reference, features, neighbours=settings.neighbours).as_json(),
            "ms_ssim": None if similarity is None else round(similarity, 6),
            **dict.fromkeys(NOT_MEASURED),
        }
    report["largest_shifts"] = _largest_shifts(extractor, scale, drawn, train.features)
    return report


def features_of(
    train: Described, held_out: Described, synthetic: Described, *, extractor: Extractor
) -> SiteFeatures:
    """Return what the matrix of sites and generators needs of a site."""
    return SiteFeatures(
        real=np.concatenate([train.features, held_out.features]),
        is_training=np.arange(len(train) + len(held_out)) < len(train),
        patients=(*train.patients, *held_out.patients),
        synthetic=extractor.hide(synthetic.features, train.presence),
    )


def describe_extractor(extractor: Extractor) -> dict[str, str]:
    """Name the extractor, as every figure that rests on it does."""
    return {"name": "radiomics", "digest": extractor.digest}


def _largest_shifts(
    extractor: Extractor, scale: FeatureScale, drawn: np.ndarray, real: np.ndarray
) -> list[dict[str, Any]]:
    """Say which features differ most, in standard deviations of training scans."""
    names = np.array(extractor.names)[scale.varies]
    shift = FeatureScale.of(drawn).mean - FeatureScale.of(real).mean
    deviations = shift[scale.varies] / scale.spread[scale.varies]
    order = np.argsort(-np.abs(deviations), kind="stable")[:NUM_SHIFTS]
    return [
        {"feature": str(names[number]), "shift": round(float(deviations[number]), 4)}
        for number in order
    ]
