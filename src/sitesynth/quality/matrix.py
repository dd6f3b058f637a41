"""How near each site's generator is to each site's real scans.

A row is a site's real scans; its features are standardized by that site's training scans, so that
the entries of a row can be compared with each other, and not with those of another row. The
generator whose scans are most like the site's should be the site's own. Most of a site's real scans
are training scans, so that a generator that remembers them is ahead; the held-out ones alone were
not there to be remembered, but are few. How far the sites themselves are apart, real
scans against real ones, stands beside both.

What is compared are feature vectors, one per scan. Those of synthetic scans are as public as the
generator. Those of real scans are not: ADR 20 says who may hold them, and that a consortium
computes each row at the site it belongs to, with `measure_row` and `measure_held_out_row`. Real
scans against those of other sites are a figure of a study on one machine, which no consortium can
compute without sharing features.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from jaxtyping import Bool, Float
from safetensors.numpy import load_file, save_file

from sitesynth.errors import SitesynthError
from sitesynth.features import FeatureScale
from sitesynth.quality.fidelity import DISTANCES, PatientInterval
from sitesynth.storage import replacing


__all__ = [
    "SiteFeatures",
    "measure_held_out_row",
    "measure_matrix",
    "measure_real_row",
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
    """Compare one site's real scans, training and held-out ones, with every site's generator.

    Its own generator has seen most of them: an entry on the diagonal may be small because it
    remembers. See `measure_held_out_row`.

    Args:
        own: The site's features.
        synthetic: Features of drawn scans, by the site whose generator drew them.
        num_resamples: Resamples behind each interval.
        rng: Source of the resamples.

    Returns:
        By metric, kid and fid, and then by generator: the contract's `V`.
    """
    everything = np.ones(len(own.real), dtype=bool)
    return _compare(
        own, everything, _drawn(synthetic), DISTANCES, num_resamples=num_resamples, rng=rng
    )


def measure_held_out_row(
    own: SiteFeatures,
    synthetic: Mapping[str, Float[np.ndarray, "_ d"]],
    *,
    num_resamples: int,
    rng: np.random.Generator,
) -> dict[str, dict[str, float]]:
    """Compare one site's held-out scans alone with the same drawn scans as `measure_row`.

    No generator was trained on them, so nothing is gained by closeness to a training scan. At most
    they chose the step at which their own site's weights were kept (ADR 17). By KID only, which is
    unbiased at any number of scans: FID of a dozen scans is mostly bias, and how much depends on
    the generator (Chong and Forsyth, 2020), so that not even a row compares.

    Returns:
        By generator: the contract's `V`.
    """
    return _compare(
        own, ~own.is_training, _drawn(synthetic), _KID, num_resamples=num_resamples, rng=rng
    )["kid"]


def measure_real_row(
    own: SiteFeatures,
    sites: Mapping[str, SiteFeatures],
    *,
    num_resamples: int,
    rng: np.random.Generator,
) -> dict[str, dict[str, float]]:
    """Compare one site's held-out scans with every site's training scans, in a generator's place.

    The entry of the site itself is the floor, what a perfect generator would get; the others say
    how far apart the sites are. A study on one machine can do this. A consortium cannot: it takes
    other sites' real features, which do not leave them (ADR 20), and so only the floor.

    Channels that another site's scans lack count as the mean, as in `measure_row`, where drawn
    scans lack the same ones: what is missing is part of how far sites are apart.

    Args:
        own: The site's features.
        sites: Features of every site, this one too.
        num_resamples: Resamples behind each interval.
        rng: Source of the resamples.

    Returns:
        By the site whose training scans are compared: the contract's `V`.
    """
    training = {
        site: (
            features.real[features.is_training],
            np.asarray(features.patients)[features.is_training].tolist(),
        )
        for site, features in sites.items()
    }
    return _compare(own, ~own.is_training, training, _KID, num_resamples=num_resamples, rng=rng)[
        "kid"
    ]


_KID: Final = {"kid": DISTANCES["kid"]}

Column = tuple[np.ndarray, Sequence[str]]
"""Features of the scans that are judged, and whose they are."""


def _drawn(synthetic: Mapping[str, np.ndarray]) -> dict[str, Column]:
    """Return as many drawn scans of every generator, each of a patient of its own."""
    # FID's bias depends on the number of scans, so a row compares generators at one number.
    size = min(len(features) for features in synthetic.values())
    owners = [f"synthetic {number}" for number in range(size)]
    return {site: (features[:size], owners) for site, features in synthetic.items()}


def _compare(
    own: SiteFeatures,
    is_reference: np.ndarray,
    columns: Mapping[str, Column],
    distances: Mapping[str, Callable[..., PatientInterval]],
    *,
    num_resamples: int,
    rng: np.random.Generator,
) -> dict[str, dict[str, dict[str, float]]]:
    """Return distances of some of a site's real scans to every column, by metric and column."""
    scale = FeatureScale.of(own.real[own.is_training])
    reference = scale.standardize(own.real[is_reference])
    patients = np.asarray(own.patients)[is_reference].tolist()
    row: dict[str, dict[str, dict[str, float]]] = {metric: {} for metric in distances}
    for site, (features, owners) in columns.items():
        candidate = scale.standardize(features)
        for metric, with_interval in distances.items():
            row[metric][site] = with_interval(
                candidate,
                reference,
                patients_x=owners,
                patients_y=patients,
                num_resamples=num_resamples,
                rng=rng,
            ).as_json()
    return row


def measure_matrix(
    sites: Mapping[str, SiteFeatures], *, num_resamples: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Compare every site's real scans with every site's generator.

    Beside it, in `held_out`, the held-out scans alone with the generators, and in `real` with the
    sites' training scans, which only a study can have; see `measure_real_row`.

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
    held_out = {
        site: measure_held_out_row(features, synthetic, num_resamples=num_resamples, rng=rng)
        for site, features in sites.items()
    }
    real = {
        site: measure_real_row(features, sites, num_resamples=num_resamples, rng=rng)
        for site, features in sites.items()
    }
    counts = {
        "scans": {site: int((~features.is_training).sum()) for site, features in sites.items()},
        "patients": {site: _num_held_out_patients(features) for site, features in sites.items()},
    }
    return {
        "rows": "real",
        "columns": "synthetic",
        **{metric: {site: row[metric] for site, row in rows.items()} for metric in DISTANCES},
        "held_out": {"rows": "held-out real", "columns": "synthetic", "kid": held_out, **counts},
        "real": {"rows": "held-out real", "columns": "training real", "kid": real, **counts},
    }


def _num_held_out_patients(features: SiteFeatures) -> int:
    return len(set(np.asarray(features.patients)[~features.is_training].tolist()))


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
