"""What is kept of a scan that has been looked at: its features, and a thumbnail.

Each scan is read or drawn once, described, and let go; what is kept of it is small whatever the
grid. So memory grows with the number of scans, not with their voxels.

Axes: n = scans, c = channels, d = features, then the grid.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import Final, final

import numpy as np
from jaxtyping import Bool, Float

from sitesynth.errors import CohortError
from sitesynth.features import Extractor, extractor_for
from sitesynth.images import ImageSet


__all__ = ["Described", "Observer", "describe", "describe_real", "shrink", "thumbnails_of"]

Observer = Callable[[int, np.ndarray], None]
"""Is shown a scan, which is let go afterwards, and its number."""

THUMBNAIL_VOXELS: Final = 32
"""Most voxels of a thumbnail along an axis."""


@final
@dataclass(frozen=True)
class Described:
    """What is kept of some scans."""

    features: Float[np.ndarray, "n d"]
    """NaN where a channel is missing."""

    thumbnails: Float[np.ndarray, "n c ..."]
    """Scans averaged over blocks of voxels; zeros where a channel is missing."""

    presence: Bool[np.ndarray, "n c"]

    patients: tuple[str, ...]
    """Whose each scan is; each synthetic scan is its own."""

    def __len__(self) -> int:
        """Return the number of scans."""
        return len(self.patients)


def describe_real(
    images: ImageSet, *, observe: Observer = lambda number, voxels: None
) -> Described:
    """Describe real scans, one at a time.

    Args:
        images: The scans.
        observe: Shown each scan with its number, from 0.

    Raises:
        CohortError: If there is none: an audit without training or held-out scans says nothing.
    """
    if not len(images):
        raise CohortError(
            "an audit compares training with held-out scans of a site, but one of the splits is "
            "empty. Set split.validation_fraction above 0, or give the table's split column "
            "validation scans."
        )
    scans = (np.asarray(images.load([index])[0]) for index in range(len(images)))
    patients = tuple(str(patient) for patient in images.table["patient_id"])
    extractor = extractor_for(images.channels, len(images.grid))
    return describe(scans, extractor, np.asarray(images.presence), patients, observe)


def thumbnails_of(images: ImageSet) -> Described:
    """Describe scans by their thumbnails alone: all that a comparison in the voxel view needs."""
    scans = (np.asarray(images.load([index])[0]) for index in range(len(images)))
    return Described(
        np.zeros((len(images), 0)),
        np.stack([shrink(voxels, most=THUMBNAIL_VOXELS) for voxels in scans]),
        np.asarray(images.presence),
        tuple(str(patient) for patient in images.table["patient_id"]),
    )


def shrink(voxels: Float[np.ndarray, "c ..."], *, most: int) -> Float[np.ndarray, "c ..."]:
    """Average over equal blocks of voxels, so that no axis has more than `most`.

    The blocks are as long along each axis, as far as the axis goes. What does not fill a block is
    cut off, on both sides.
    """
    longest = max(1, ceil(max(voxels.shape[1:]) / most))
    for axis in range(1, voxels.ndim):
        block = min(longest, voxels.shape[axis])
        kept = voxels.shape[axis] // block
        start = (voxels.shape[axis] - kept * block) // 2
        cut = voxels.take(range(start, start + kept * block), axis=axis)
        split = (*cut.shape[:axis], kept, block, *cut.shape[axis + 1 :])
        voxels = cut.reshape(split).mean(axis=axis + 1)
    return voxels


def describe(
    scans: Iterator[np.ndarray],
    extractor: Extractor,
    presence: np.ndarray,
    patients: tuple[str, ...],
    observe: Observer,
) -> Described:
    """Describe scans one at a time.

    Args:
        scans: Voxels of each.
        extractor: What makes features of them.
        presence: Which channels each scan has.
        patients: Whose each scan is.
        observe: Shown each scan with its number, from 0.
    """
    features, thumbnails = [], []
    for number, (voxels, present) in enumerate(zip(scans, presence, strict=True)):
        features.append(extractor.extract(voxels, present))
        thumbnails.append(shrink(voxels, most=THUMBNAIL_VOXELS))
        observe(number, voxels)
    return Described(np.stack(features), np.stack(thumbnails), presence, patients)
