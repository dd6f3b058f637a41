"""A scan's sequences, moved onto one of them, and that onto a template.

Sequences of one visit lie on grids of their own, and the patient moves between them. What is found
is one transform of the world for each sequence, rigid or affine, and it is applied to the volume's
affine: no voxel changes before it is resampled, once, to the study's grid.

Transforms are found by SimpleITK: Mattes' mutual information (Mattes et al., 2003), which asks only
that intensities go together and not that they are alike, over a fixed sample of voxels, coarse to
fine, by regular steps. Every draw has one seed, and sums have one thread, so a scan gives the same
transform on every run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, final

import numpy as np
from jaxtyping import Float64

from sitesynth.errors import VolumeError
from sitesynth.preprocessing.geometry import Box, bounding_box, find_foreground, to_ras
from sitesynth.preprocessing.itk import as_image
from sitesynth.settings import RegistrationSettings, TemplateSettings
from sitesynth.storage import digest_of_file
from sitesynth.volumes import Volume, read_volume


if TYPE_CHECKING:
    import SimpleITK

__all__ = ["Alignment", "align", "align_scan", "box_of_template", "read_template"]

Kind = Literal["rigid", "affine"]

NUM_AXES: Final = 3

NUM_BINS: Final = 32
"""Intensities that the mutual information tells apart, in either volume."""

NUM_SAMPLES: Final = 100_000
"""Voxels that it is measured in, or all where a level has fewer."""

SEED: Final = 20031128
"""Of the sample of voxels; part of the method, as its bins are."""

SHRINK_FACTORS: Final = (4, 2, 1)
"""By level, coarse to fine: the fixed volume is looked at in one voxel of so many along an axis."""

SMOOTHING_VOXELS: Final = (2.0, 1.0, 0.0)
"""By level: standard deviation of the blur before that."""

MAX_STEPS: Final = 200
"""Steps of a level."""

FIRST_STEP_MM: Final = 1.0
LAST_STEP_MM: Final = 1e-3

MAX_LOSS: Final = 0.02
"""Share of the mutual information that a search may lose and only have found nothing better: to
interpolate blurs a volume a little, and one that lies right already is not blurred."""


@final
@dataclass(frozen=True, eq=False)
class Alignment:
    """Where a volume belongs, and how well it then goes with the other."""

    transform: Float64[np.ndarray, "4 4"]
    """From the volume's world to the other's, in mm."""

    before: float
    """Mutual information as the headers have it, in nats."""

    after: float
    """Mutual information after the transform."""


def align_scan(
    volumes: Mapping[str, Volume],
    masks: Mapping[str, Volume],
    *,
    registration: RegistrationSettings,
    named: Mapping[str, str],
) -> tuple[dict[str, Volume], dict[str, Volume]]:
    """Move a scan's sequences onto one of them, and all of the scan onto the template.

    Args:
        volumes: The sequences that are there, oriented by `to_ras`.
        masks: Masks that were drawn on the reference, oriented alike.
        registration: The reference; where a scan lacks it, its first sequence takes the part.
        named: What messages call each volume: its file.

    Returns:
        Sequences and masks, oriented by `to_ras`, with other affines and the same voxels.

    Raises:
        VolumeError: If a volume does not overlap the other, or every transform that was found makes
            them go together worse than their headers do.
    """
    fixed = registration.reference if registration.reference in volumes else next(iter(volumes))
    moved = dict(volumes)
    for name, volume in volumes.items():
        if name != fixed:
            found = align(
                volume,
                volumes[fixed],
                kind=registration.transform,
                named=f"{named[name]} onto {named[fixed]}",
            )
            moved[name] = _placed(volume, found.transform)
    if registration.template is None:
        return moved, dict(masks)
    found = align(
        volumes[fixed],
        read_template(registration.template),
        kind="affine",
        is_centred=True,
        named=f"{named[fixed]} onto {registration.template.path}",
    )
    return (
        {name: _placed(volume, found.transform) for name, volume in moved.items()},
        {name: _placed(mask, found.transform) for name, mask in masks.items()},
    )


def align(
    moving: Volume, fixed: Volume, *, kind: Kind, named: str, is_centred: bool = False
) -> Alignment:
    """Find the transform that makes a volume go best with another.

    Args:
        moving: The volume to be moved.
        fixed: The one that it is moved onto.
        kind: Turned and shifted, or stretched and sheared as well.
        named: What messages call the pair.
        is_centred: Begin with the middles of what is bright in both on each other, not with the
            headers: volumes of two patients have no world in common.

    Raises:
        VolumeError: As for `align_scan`.
    """
    import SimpleITK  # noqa: PLC0415 (half a second; see `itk`)

    fixed_image, moving_image = (as_image(one.voxels, one.affine) for one in (fixed, moving))
    start = SimpleITK.TranslationTransform(NUM_AXES)
    if is_centred:
        start.SetOffset((_middle(moving) - _middle(fixed)).tolist())
    try:
        before = _information(fixed_image, moving_image, start)
        found = _search(fixed_image, moving_image, _first_guess(kind, start, _middle(fixed)))
        after = _information(fixed_image, moving_image, found)
    except RuntimeError as error:
        raise VolumeError(
            f"{named}: no transform was found ({str(error).strip().splitlines()[-1]}). Their "
            "headers may put them into different places; correct these, or leave the cell empty."
        ) from error
    if after < (1 - MAX_LOSS) * before:
        raise VolumeError(
            f"{named}: aligned, they must go together better than before, but their mutual "
            f"information falls from {before:.3f} to {after:.3f}. Look at both; leave the cell "
            "empty, or set grid.registration to null."
        )
    if after < before:
        found, after = start, before
    return Alignment(_inverse_of(found), before, after)


@lru_cache(maxsize=1)
def read_template(template: TemplateSettings) -> Volume:
    """Read the template, which must be the file that the study names.

    Raises:
        VolumeError: If it is another file, or cannot be read.
    """
    path = Path(template.path)
    if not path.is_file():
        raise VolumeError(
            f"{path}, the template of grid.registration, does not exist. None comes with "
            "sitesynth: get it from its authors, and name the file."
        )
    found = digest_of_file(path)
    if found != template.sha256:
        raise VolumeError(
            f"{path}, the template of grid.registration, must have the SHA-256 "
            f"{template.sha256[:12]}..., but has {found}. Every site must use the same file; "
            "replace it, or name this one's digest."
        )
    volume = to_ras(read_volume(path))
    if volume.voxels.ndim != NUM_AXES:
        raise VolumeError(f"{path}, the template of grid.registration, must have three axes.")
    return volume


def box_of_template(registration: RegistrationSettings | None) -> Box | None:
    """Return where the template's head is, on which grids are placed; None without a template."""
    if registration is None or registration.template is None:
        return None
    template = read_template(registration.template)
    return bounding_box(find_foreground([template]), template.affine)


def _placed(volume: Volume, transform: Float64[np.ndarray, "4 4"]) -> Volume:
    return to_ras(Volume(volume.voxels, transform @ volume.affine))


def _middle(volume: Volume) -> Float64[np.ndarray, "3"]:
    """Return the middle of what is bright, or of all where nothing is."""
    box = bounding_box(find_foreground([volume]), volume.affine)
    if box is not None:
        return box.centre
    middle = (np.array(volume.voxels.shape) - 1) / 2
    centre: np.ndarray = volume.affine[:3, :3] @ middle + volume.affine[:3, 3]
    return centre


def _first_guess(
    kind: Kind, start: "SimpleITK.TranslationTransform", centre: Float64[np.ndarray, "3"]
) -> Any:
    """Return the transform that the search begins with; it turns about the head's middle."""
    import SimpleITK  # noqa: PLC0415

    guess: Any
    guess = SimpleITK.Euler3DTransform() if kind == "rigid" else SimpleITK.AffineTransform(NUM_AXES)
    guess.SetCenter(centre.tolist())
    guess.SetTranslation(start.GetOffset())
    return guess


def _method(transform: Any) -> "SimpleITK.ImageRegistrationMethod":
    import SimpleITK  # noqa: PLC0415

    method = SimpleITK.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(numberOfHistogramBins=NUM_BINS)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetInterpolator(SimpleITK.sitkLinear)
    method.SetInitialTransform(transform, inPlace=False)
    return method


def _information(fixed: "SimpleITK.Image", moving: "SimpleITK.Image", transform: Any) -> float:
    """Measure the mutual information at one place; SimpleITK's is negative, to be made small."""
    method = _method(transform)
    method.SetMetricSamplingPercentage(_share(fixed, 1), SEED)
    return -float(method.MetricEvaluate(fixed, moving))


def _search(fixed: "SimpleITK.Image", moving: "SimpleITK.Image", guess: Any) -> Any:
    """Follow the mutual information upward, coarse to fine."""
    method = _method(guess)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=FIRST_STEP_MM,
        minStep=LAST_STEP_MM,
        numberOfIterations=MAX_STEPS,
        relaxationFactor=0.5,
    )
    method.SetOptimizerScalesFromPhysicalShift()
    shares = [_share(fixed, factor) for factor in SHRINK_FACTORS]
    method.SetMetricSamplingPercentagePerLevel(shares, SEED)
    method.SetShrinkFactorsPerLevel(list(SHRINK_FACTORS))
    method.SetSmoothingSigmasPerLevel(list(SMOOTHING_VOXELS))
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOff()
    return method.Execute(fixed, moving)


def _share(fixed: "SimpleITK.Image", factor: int) -> float:
    """Return the share of a level's voxels that are looked at."""
    num_voxels: int = fixed.GetNumberOfPixels()
    return min(1.0, NUM_SAMPLES * factor**NUM_AXES / num_voxels)


def _inverse_of(found: Any) -> Float64[np.ndarray, "4 4"]:
    """Return the matrix that moves a volume; ITK's transforms lead from the fixed world back."""
    origin = np.array(found.TransformPoint((0.0, 0.0, 0.0)))
    steps = [np.array(found.TransformPoint(tuple(axis))) - origin for axis in np.eye(3)]
    forward = np.eye(4)
    forward[:3, :3] = np.stack(steps, axis=1)
    forward[:3, 3] = origin
    matrix: np.ndarray = np.linalg.inv(forward)
    return matrix
