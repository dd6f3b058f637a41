"""Fidelity by the features of other extractors than the default one.

Measured as with the default features: standardized by the site's training scans, without those that
do not vary, against the same held-out scans, beside the same floor. Published figures of these
networks are of raw features of single slices at another resolution, and do not compare.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sitesynth.described import Described
from sitesynth.extractors.measured import NetworkExtractor, NetworkFeatures, check_varies
from sitesynth.features import FeatureScale
from sitesynth.quality.fidelity import measure_fidelity
from sitesynth.quality.jackknife import jackknife_neighbourhoods
from sitesynth.quality.matrix import SiteFeatures
from sitesynth.settings import QualitySettings


__all__ = ["assess_by_network", "network_features_of"]


def network_features_of(
    train: Described,
    held_out: Described,
    extractors: tuple[NetworkExtractor, ...],
    found: Mapping[str, NetworkFeatures],
) -> dict[str, SiteFeatures]:
    """Return what the matrices by other extractors need of a site.

    Args:
        train: The training scans.
        held_out: Real scans of the site that the generator never saw.
        extractors: The extractors.
        found: Their features of `train`, `held_out` and `synthetic`, one synthetic scan per
            training scan.
    """
    return {
        extractor.name: SiteFeatures(
            real=np.concatenate([found[kind].of(extractor.name) for kind in ("train", "held_out")]),
            is_training=np.arange(len(train) + len(held_out)) < len(train),
            patients=(*train.patients, *held_out.patients),
            synthetic=extractor.hide(found["synthetic"].of(extractor.name), train.presence),
        )
        for extractor in extractors
    }


def assess_by_network(
    features: Mapping[str, SiteFeatures],
    extractors: tuple[NetworkExtractor, ...],
    *,
    settings: QualitySettings,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Compare a generator's scans with held-out real scans, and training scans beside them.

    Args:
        features: By extractor; see `network_features_of`.
        extractors: The extractors.
        settings: The `quality` section of params.yaml.
        rng: Source of the resamples.

    Returns:
        By extractor: what it is, and the site's figures.

    Raises:
        ExtractorError: If an extractor makes the same of all training scans.
    """
    report = {}
    for extractor in extractors:
        own = features[extractor.name]
        real, patients = own.real, np.asarray(own.patients)
        scale = FeatureScale.of(real[own.is_training])
        check_varies(extractor.name, scale)
        reference = scale.standardize(real[~own.is_training])
        candidates = {
            "synthetic": (own.synthetic, [f"synthetic {n}" for n in range(len(own.synthetic))]),
            "real": (real[own.is_training], patients[own.is_training].tolist()),
        }
        measured: dict[str, Any] = {
            "num_features": int(scale.varies.sum()),
            "scans": {
                "held_out": len(reference),
                **{kind: len(scans) for kind, (scans, _) in candidates.items()},
            },
        }
        for kind, (scans, owners) in candidates.items():
            features_of_kind, held_out = scale.standardize(scans), patients[~own.is_training]
            measured[kind] = measure_fidelity(
                features_of_kind,
                reference,
                patients=(owners, held_out.tolist()),
                neighbours=settings.neighbours,
                num_resamples=settings.num_resamples,
                rng=rng,
            )
            measured[kind]["intervals"] = jackknife_neighbourhoods(
                reference,
                features_of_kind,
                patients=(held_out.tolist(), owners),
                neighbours=settings.neighbours,
            )
        report[extractor.name] = {"extractor": extractor.description, "found": measured}
    return report
