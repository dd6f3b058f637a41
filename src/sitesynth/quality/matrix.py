"""How near each site's generator is to each site's real scans.

A row is a site's real scans; its features are standardized by that site's training scans, so that
the entries of a row can be compared with each other, and not with those of another row. The
generator whose scans are most like the site's should be the site's own.

What is compared are feature vectors, one per scan. Those of synthetic scans are as public as the
generator. Those of real scans are not: ADR 20 says who may hold them, and that a consortium
computes each row at the site it belongs to, with `measure_row`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Bool, Float
from safetensors.numpy import load_file, save_file

from sitesynth.errors import SitesynthError
from sitesynth.features import FeatureScale
from sitesynth.quality.fidelity import measure_distances
from sitesynth.storage import replacing


__all__ = [
    "SiteFeatures",
    "measure_matrix",
    "measure_row",
    "read_features",
    "read_network_features",
    "summarize_quality",
    "write_features",
]

SHARED = ("extractor", "brisque_model", "not_measured", "neighbours", "ms_ssim_scales")
"""What is the same at every site of a study, and is said once."""


@final
@dataclass(frozen=True)
class SiteFeatures:
    """Features of a site's real scans and of its generator's."""

    real: Float[np.ndarray, "n d"]
    """Training and held-out scans; NaN where a channel is missing."""

    is_training: Bool[np.ndarray, " n"]

    patients: tuple[str, ...]
    """Which real scans are of one patient; the names say nothing else."""

    synthetic: Float[np.ndarray, "m d"]
    """As if drawn scans lacked the channels that training scans lack."""


def write_features(
    path: Path, features: SiteFeatures, *, by_network: Mapping[str, SiteFeatures]
) -> None:
    """Write features whole. Patients become numbers in order of appearance.

    Args:
        path: The file.
        features: By the default extractor.
        by_network: Of the same scans, by the other extractors.
    """
    numbers = {patient: number for number, patient in enumerate(dict.fromkeys(features.patients))}
    arrays = {
        "real": np.ascontiguousarray(features.real),
        "is_training": features.is_training.astype(np.uint8),
        "patients": np.array([numbers[patient] for patient in features.patients], dtype=np.int64),
        "synthetic": np.ascontiguousarray(features.synthetic),
    }
    for name, found in by_network.items():
        arrays[f"{name}/real"] = np.ascontiguousarray(found.real)
        arrays[f"{name}/synthetic"] = np.ascontiguousarray(found.synthetic)
    with replacing(path) as temporary:
        save_file(arrays, temporary)


def read_features(path: Path) -> SiteFeatures:
    """Read what `write_features` wrote."""
    arrays = load_file(path)
    return SiteFeatures(
        arrays["real"],
        arrays["is_training"].astype(bool),
        tuple(str(number) for number in arrays["patients"]),
        arrays["synthetic"],
    )


def read_network_features(path: Path) -> dict[str, SiteFeatures]:
    """Read the features of the same scans by other extractors than the default one."""
    arrays, default = load_file(path), read_features(path)
    names = sorted(name.removesuffix("/real") for name in arrays if name.endswith("/real"))
    return {
        name: replace(default, real=arrays[f"{name}/real"], synthetic=arrays[f"{name}/synthetic"])
        for name in names
    }


def measure_row(
    own: SiteFeatures,
    synthetic: Mapping[str, Float[np.ndarray, "_ d"]],
    *,
    num_resamples: int,
    rng: np.random.Generator,
) -> dict[str, dict[str, dict[str, float]]]:
    """Compare one site's real scans with every site's generator.

    Args:
        own: The site's features.
        synthetic: Features of drawn scans, by the site whose generator drew them.
        num_resamples: Resamples behind each interval.
        rng: Source of the resamples.

    Returns:
        By metric, kid and fid, and then by generator: the contract's `V`.
    """
    scale = FeatureScale.of(own.real[own.is_training])
    real = scale.standardize(own.real)
    # FID's bias depends on the number of scans, so a row compares generators at one number.
    size = min(len(features) for features in synthetic.values())
    row: dict[str, dict[str, dict[str, float]]] = {"kid": {}, "fid": {}}
    for site, features in synthetic.items():
        drawn = scale.standardize(features[:size])
        distances = measure_distances(
            drawn,
            real,
            patients_x=[f"synthetic {number}" for number in range(size)],
            patients_y=own.patients,
            num_resamples=num_resamples,
            rng=rng,
        )
        for metric, value in distances.items():
            row[metric][site] = value
    return row


def measure_matrix(
    sites: Mapping[str, SiteFeatures], *, num_resamples: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Compare every site's real scans with every site's generator.

    Raises:
        SitesynthError: If the sites' features are not the same ones.
    """
    widths = {site: features.real.shape[1] for site, features in sites.items()}
    if len(set(widths.values())) > 1:
        raise SitesynthError(
            f"a matrix needs the same features of every site, but their numbers are {widths}. "
            "Run `dvc repro assess_quality`."
        )
    synthetic = {site: features.synthetic for site, features in sites.items()}
    rows = {
        site: measure_row(features, synthetic, num_resamples=num_resamples, rng=rng)
        for site, features in sites.items()
    }
    return {
        "rows": "real",
        "columns": "synthetic",
        **{metric: {site: row[metric] for site, row in rows.items()} for metric in ("kid", "fid")},
    }


def summarize_quality(
    audits: Sequence[Mapping[str, Any]],
    matrix: Mapping[str, Any],
    *,
    by_network: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Return results/quality.json from the sites' audits and the matrix.

    Args:
        audits: What each training site found.
        matrix: By the default extractor.
        by_network: The matrices of the other extractors; without any, nothing is said of them.

    Raises:
        SitesynthError: If the audits are not of one extractor, and so not of one scale.
    """
    first = audits[0]
    for audit in audits:
        if audit["extractor"] != first["extractor"]:
            raise SitesynthError(
                f"{first['site']} was audited with extractor {first['extractor']}, "
                f"{audit['site']} with {audit['extractor']}. Run `dvc repro assess_quality`."
            )
    said = {"site", "extractors", *SHARED}
    sites = {
        audit["site"]: {name: audit[name] for name in audit if name not in said} for audit in audits
    }
    networks = {
        name: {
            "extractor": _agreed(audits, name),
            "sites": {audit["site"]: audit["extractors"][name]["found"] for audit in audits},
            "matrix": dict(found),
        }
        for name, found in by_network.items()
    }
    return {
        **{name: first[name] for name in SHARED},
        "sites": sites,
        "matrix": dict(matrix),
        **({"extractors": networks} if networks else {}),
    }


def _agreed(audits: Sequence[Mapping[str, Any]], name: str) -> Any:
    """Return what an extractor is, which all sites must agree on."""
    told = {audit["site"]: audit["extractors"][name]["extractor"] for audit in audits}
    first = next(iter(told.values()))
    for site, description in told.items():
        if description != first:
            raise SitesynthError(
                f"extractors.{name} is {first} at {next(iter(told))} and {description} at {site}. "
                "Run `dvc repro assess_quality`."
            )
    return first
