"""Which slice of a scan to show, and how it hangs.

Slices lie as radiologists hang them: the patient's right on the reader's left, anterior or superior
on top, a sagittal slice looking left. Axes of a scan: toward right, anterior (and superior).
"""

import numpy as np
from jaxtyping import Bool, Float


__all__ = ["hang", "slice_of"]

Voxels = Float[np.ndarray, "..."]


def slice_of(voxels: Voxels, mask: Bool[np.ndarray, "..."], *, axis: int | None) -> int | None:
    """Return the slice with the most mask across an axis; the middle one if the mask is empty."""
    if axis is None:
        return None
    if not mask.any():
        return int(voxels.shape[axis] // 2)
    others = tuple(other for other in range(mask.ndim) if other != axis)
    return int(np.argmax(mask.sum(axis=others)))


def hang(voxels: Voxels, *, axis: int | None, cut: int | None) -> Float[np.ndarray, "rows columns"]:
    """Cut a slice and lay it as it hangs on the wall: rows down, columns to the right."""
    plane = voxels if axis is None or cut is None else np.take(voxels, cut, axis=axis)
    if axis is None:
        # A picture is read with its own right first: it is shown as its file is.
        return plane[:, ::-1].T
    return plane[::-1, ::-1].T
