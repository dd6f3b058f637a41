"""Whose scans a classifier was fitted on, and what they looked like: `provenance.json`.

    scans         how many it learned from, by origin (real, synthetic) and training site
    patients      by training site: a digest of every patient whose scans the fit was given
    max_missing   the most sequences that one of the scans it learned from lacked
    looks         by sequence: range of the scans' mean and standard deviation; null where the
                  hub may look at no scan, as in federated learning

Axes: n = scans, s = sequences, then the grid.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sitesynth.images import ImageSet
from sitesynth.storage import digest_of, read_json


__all__ = [
    "PROVENANCE",
    "describe_fit",
    "find_oddities",
    "patient_digest",
    "read_provenance",
]

PROVENANCE: Final = "provenance.json"

SLACK: Final = 0.25
"""How far beyond a range a scan may lie, as a share of its width, and still be called usual."""

DIGITS: Final = 4

BATCH_SIZE: Final = 32

DIGEST_CHARACTERS: Final = 16

LOOKS: Final = ("mean", "sd")


def describe_fit(
    *,
    scans: Mapping[str, Mapping[str, int]],
    offered: Mapping[str, ImageSet],
    learned: Sequence[ImageSet],
) -> dict[str, Any]:
    """Return the content of a classifier's provenance.

    Args:
        scans: How many scans it learned from, by origin and training site.
        offered: The real scans of each training site that the fit was given, to learn from or to
            choose with.
        learned: The scans that the classifier saw and the hub may describe; none if it may not.
    """
    return {
        "scans": {origin: dict(counts) for origin, counts in scans.items()},
        "patients": {
            site: sorted({patient_digest(name) for name in images.table["patient_id"]})
            for site, images in sorted(offered.items())
        },
        "max_missing": max(
            (_most_missing(images) for images in learned or offered.values()), default=0
        ),
        "looks": _looks_of(learned) if learned else None,
    }


def patient_digest(patient: str) -> str:
    """Return what stands for a patient where the name is nobody's business."""
    return digest_of(["patient", patient])[:DIGEST_CHARACTERS]


def read_provenance(folder: Path) -> dict[str, Any] | None:
    """Read a classifier's provenance; None if its maker wrote none."""
    path = folder / PROVENANCE
    if not path.exists():
        return None
    provenance: dict[str, Any] = read_json(path)
    return provenance


def find_oddities(
    provenance: Mapping[str, Any] | None, voxels: Float[Tensor, "n s ..."], sequences: Iterable[str]
) -> list[str]:
    """Say of each scan in what it is unlike those that the classifier learned from.

    Args:
        provenance: The classifier's; None says nothing of any scan.
        voxels: Scans as the classifier sees them; a missing sequence is all zeros.
        sequences: Their names.

    Returns:
        A sentence per scan, empty where there is nothing to say.
    """
    if provenance is None:
        return [""] * len(voxels)
    return ["; ".join(_oddities(provenance, scan, tuple(sequences))) for scan in voxels]


def _oddities(
    provenance: Mapping[str, Any], scan: Float[Tensor, "s ..."], sequences: tuple[str, ...]
) -> Iterable[str]:
    present = [number for number in range(len(sequences)) if bool(scan[number].any())]
    missing, known = len(sequences) - len(present), provenance["max_missing"]
    if missing > known:
        yield f"{missing} sequences missing (at most {known} in training)"
    if provenance["looks"] is None:
        return
    for number in present:
        found = dict(zip(LOOKS, _look_at(scan[number]), strict=True))
        for look, value in found.items():
            if sequences[number] not in provenance["looks"]:
                yield f"{sequences[number]} present (never in training)"
                break
            low, high = provenance["looks"][sequences[number]][look]
            slack = SLACK * (high - low)
            if not low - slack <= value <= high + slack:
                yield (
                    f"{look} of {sequences[number]} {value:.3f} ({low:.3f} to {high:.3f} in "
                    "training)"
                )


def _looks_of(sets: Sequence[ImageSet]) -> dict[str, dict[str, list[float]]]:
    """Return the range of each sequence's mean and standard deviation, where it is present."""
    sequences = sets[0].sequences
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sequences}
    for images in sets:
        for start in range(0, len(images), BATCH_SIZE):
            indices = range(start, min(start + BATCH_SIZE, len(images)))
            for index, scan in zip(indices, images.load(indices), strict=True):
                for number, name in enumerate(sequences):
                    if bool(images.presence[index, number]):
                        found[name].append(_look_at(scan[number]))
    return {
        name: {
            look: [round(float(bound), DIGITS) for bound in (values.min(), values.max())]
            for look, values in zip(LOOKS, np.array(looks).T, strict=True)
        }
        for name, looks in found.items()
        if looks
    }


def _look_at(sequence: Float[Tensor, "..."]) -> tuple[float, float]:
    values = sequence.to(torch.float64)
    return float(values.mean()), float(values.std(correction=0))


def _most_missing(images: ImageSet) -> int:
    present = images.presence[:, : len(images.sequences)]
    return int((~present).sum(dim=1).max()) if len(images) else 0
