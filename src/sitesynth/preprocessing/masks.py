"""What other people's masks say is inside: a tumour by some labels, a brain by all."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from sitesynth.errors import VolumeError
from sitesynth.preprocessing.geometry import resample_mask
from sitesynth.volumes import Volume


__all__ = ["find_brain", "inside_of"]

HALF = 0.5
"""Least value inside a mask: labels are whole numbers, pictures of masks are 0 or 255."""


def inside_of(mask: Volume, labels: Sequence[int] | None) -> Bool[np.ndarray, "*axes"]:
    """Return what is inside a mask: voxels of some labels, or of any where labels is None."""
    inside: np.ndarray = mask.voxels > HALF if labels is None else np.isin(mask.voxels, labels)
    return inside


def find_brain(brain: Volume | None, reference: Volume, *, named: str) -> Bool[np.ndarray, "*axes"]:
    """Return the brain on a sequence's grid, by a mask that somebody drew.

    Args:
        brain: The mask, above 0 in the brain, oriented by `geometry.to_ras`; None if there is none.
        reference: The sequence.
        named: What messages call the mask: its file.

    Raises:
        VolumeError: If there is no mask, or it lies elsewhere.
    """
    if brain is None:
        raise VolumeError(
            "a scan must have a brain_mask where intensity.foreground is 'brain', but this one "
            "has none. Draw it, or choose 'head'."
        )
    inside = resample_mask(
        inside_of(brain, None), brain.affine, reference.affine, reference.voxels.shape
    )
    if not inside.any():
        raise VolumeError(
            f"{named}: the brain's mask must lie over the scan's sequences, but none of it does. "
            "Correct its header, or draw it again."
        )
    return inside
