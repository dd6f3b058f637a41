"""The quality audit of one site's generator.

Everything is measured twice, against the same held-out real scans: for synthetic scans, and for as
many real training scans. The second is the floor: what a perfect generator would get from these few
patients. A generator that copies its training scans gets the floor too, and no better: quality is
no evidence against copying, which is the privacy audit's business.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from sitesynth.described import Described
from sitesynth.features import Extractor, FeatureScale
from sitesynth.quality.appearance import (
    AppearanceScores,
    summarize_appearance,
    summarize_artefacts,
)
from sitesynth.quality.brisque import MODEL_NAME, model_digest
from sitesynth.quality.diversity import (
    draw_pairs,
    mean_of_known,
    num_scales,
    pair_similarities,
)
from sitesynth.quality.fidelity import measure_fidelity
from sitesynth.quality.jackknife import jackknife_neighbourhoods, jackknife_similarity
from sitesynth.quality.matrix import SiteFeatures
from sitesynth.settings import QualitySettings


__all__ = ["assess_quality", "features_of"]

NUM_SHIFTS = 5


def assess_quality(
    train: Described,
    held_out: Described,
    synthetic: Described,
    *,
    appearance: Mapping[str, AppearanceScores],
    extractor: Extractor,
    settings: QualitySettings,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Compare a generator's scans with held-out real scans, and training scans beside them.

    Args:
        train: The training scans, which also set the scale of the features.
        held_out: Real scans of the site that the generator never saw.
        synthetic: One scan of the generator per training scan, in that order.
        appearance: Of `train`, `held_out` and `synthetic`: how natural their slices look.
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
        "brisque_model": {"name": MODEL_NAME, "digest": model_digest()},
        "not_measured": [],
        "held_out": {},
    }
    for name, (scans, features) in candidates.items():
        pairs = draw_pairs(scans.patients, count=settings.num_pairs, rng=rng)
        similarities = pair_similarities(
            scans.thumbnails[:, :sequences], scans.presence[:, :sequences], pairs
        )
        similarity = mean_of_known(similarities)
        report[name] = {
            **measure_fidelity(
                features,
                reference,
                patients=(scans.patients, held_out.patients),
                neighbours=settings.neighbours,
                num_resamples=settings.num_resamples,
                rng=rng,
            ),
            "ms_ssim": None if similarity is None else round(similarity, 6),
            "intervals": {
                **jackknife_neighbourhoods(
                    reference,
                    features,
                    patients=(held_out.patients, scans.patients),
                    neighbours=settings.neighbours,
                ),
                "ms_ssim": jackknife_similarity(similarities, pairs, scans.patients),
            },
        }
    looks = {"synthetic": synthetic, "real": train, "held_out": held_out}
    for summarize in (
        summarize_appearance,
        partial(summarize_artefacts, sequences=extractor.sequences),
    ):
        for name, scans in looks.items():
            report[name] |= summarize(
                appearance["train" if name == "real" else name],
                None if name == "held_out" else appearance["held_out"],
                patients=scans.patients,
                reference_patients=held_out.patients,
                dims=extractor.dims,
                num_resamples=settings.num_resamples,
                rng=rng,
            )
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
