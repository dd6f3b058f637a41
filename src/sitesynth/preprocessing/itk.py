"""Volumes as SimpleITK's images, and SimpleITK on one thread: with several, its sums differ.

SimpleITK takes half a second to import, and most studies need none of it, so it is imported where
it is used.

ITK's world runs toward left and posterior, ours toward right and anterior. Nothing here asks which
way the world runs, so ours is handed over as it is.
"""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Float64, Shaped


if TYPE_CHECKING:
    import SimpleITK

__all__ = ["as_image", "voxels_of"]


def as_image(
    voxels: Shaped[np.ndarray, "*axes"], affine: Float64[np.ndarray, "4 4"]
) -> "SimpleITK.Image":
    """Return voxels as an image of SimpleITK, in the same place of the world.

    Args:
        voxels: Numbers, or booleans, which become 0 and 1.
        affine: Voxel indices to millimetres.
    """
    import SimpleITK  # noqa: PLC0415

    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    num_axes = voxels.ndim
    numbers = voxels.astype(np.uint8) if voxels.dtype == bool else voxels
    # SimpleITK counts an array's axes from the last.
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(numbers.T))
    steps = affine[:num_axes, :num_axes]
    edges = np.linalg.norm(steps, axis=0)
    image.SetSpacing(edges.tolist())
    image.SetDirection((steps / edges).ravel().tolist())
    image.SetOrigin(affine[:num_axes, 3].tolist())
    return image


def voxels_of(image: "SimpleITK.Image") -> Float32[np.ndarray, "*axes"]:
    """Return an image's voxels with our order of axes."""
    import SimpleITK  # noqa: PLC0415

    voxels: np.ndarray = SimpleITK.GetArrayFromImage(image).T.astype(np.float32)
    return voxels
