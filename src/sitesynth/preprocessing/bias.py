"""The bias field of one sequence of one scan, estimated by N4 and divided out.

A coil hears near tissue better than far tissue, so the same tissue is brighter here than there.
N4 (Tustison et al., 2010, "N4ITK: improved N3 bias correction") finds the smooth field without
which the histogram is sharpest. It looks at one sequence of one scan alone.
"""

import numpy as np
from jaxtyping import Bool, Float32

from sitesynth.errors import VolumeError
from sitesynth.preprocessing.itk import as_image, voxels_of
from sitesynth.volumes import Volume


__all__ = ["correct_bias"]

MIN_SIZE = 8
"""Voxels that shrinking leaves of every axis, so that thin stacks keep a field along them."""


def correct_bias(
    volume: Volume,
    foreground: Bool[np.ndarray, "*axes"],
    *,
    shrink: int,
    iterations: tuple[int, ...],
    named: str,
) -> Volume:
    """Divide a volume by its bias field, whose mean logarithm over the foreground is made 0.

    The same numbers on every run: N4 draws nothing, and runs on one thread.

    Args:
        volume: In whatever unit its scanner uses.
        foreground: True inside the head; N4 looks at its voxels above 0, whose logarithm exists.
        shrink: The field is estimated from one voxel of so many along each axis.
        iterations: Most iterations at each resolution of the field, coarse ones first.
        named: What messages call the volume: its file.

    Returns:
        A volume on the same grid; a head of one brightness is returned as it is.

    Raises:
        VolumeError: If no voxel of the foreground is above 0, or N4 finds no field.
    """
    import SimpleITK  # noqa: PLC0415 (half a second; see `itk`)

    looked_at = foreground & (volume.voxels > 0)
    values = volume.voxels[looked_at]
    if values.size and values.min() == values.max():
        # N4 would paint a field of its own, and so hide that the scan is blank.
        return volume
    factors = [max(1, min(shrink, size // MIN_SIZE)) for size in volume.voxels.shape]
    image = as_image(volume.voxels, volume.affine)
    small = SimpleITK.Shrink(image, factors)
    small_mask = SimpleITK.Shrink(as_image(looked_at, volume.affine), factors)
    if not voxels_of(small_mask).any():
        raise VolumeError(
            f"{named}: N4 needs voxels above 0 inside the head, but there are none. Store "
            "magnitudes, or set intensity.bias_field to null."
        )
    n4 = SimpleITK.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(list(iterations))
    try:
        n4.Execute(small, small_mask)
        logarithm = voxels_of(n4.GetLogBiasFieldAsImage(image))
    except RuntimeError as error:
        raise VolumeError(
            f"{named}: N4 found no bias field ({_last_line(error)}). Look at the scan, or set "
            "intensity.bias_field to null."
        ) from error
    logarithm -= logarithm[looked_at].mean(dtype=np.float64)
    corrected: Float32[np.ndarray, "*axes"] = volume.voxels / np.exp(logarithm)
    if not np.isfinite(corrected).all():
        raise VolumeError(
            f"{named}: the bias field that N4 found is not finite. Look at the scan, or set "
            "intensity.bias_field to null."
        )
    return Volume(corrected, volume.affine)


def _last_line(error: RuntimeError) -> str:
    """Return what went wrong, without the lines of C++ that lead there."""
    return str(error).strip().splitlines()[-1]
