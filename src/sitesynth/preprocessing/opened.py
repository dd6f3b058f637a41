"""One scan, read and moved into one world, before it is brought to the study's grid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Bool

from sitesynth.cohorts.tables import BRAIN_MASK, IMAGE, MASK, MASKS
from sitesynth.errors import CohortError, VolumeError
from sitesynth.preprocessing.alignment import align_scan, box_of_template
from sitesynth.preprocessing.bias import correct_bias
from sitesynth.preprocessing.geometry import (
    Box,
    bounding_box,
    find_foreground,
    resample_mask,
    to_ras,
)
from sitesynth.preprocessing.intensity import (
    match_landmarks,
    rescale_intensity,
    standardize_intensity,
)
from sitesynth.preprocessing.masks import find_brain
from sitesynth.settings import GridSettings, IntensitySettings
from sitesynth.volumes import Volume, read_channels, read_volume


__all__ = ["OpenedScan", "open_scan"]


@final
@dataclass(frozen=True, eq=False)
class OpenedScan:
    """A scan's sequences on their own grids, and where its head is."""

    sequences: Mapping[str, Volume]
    mask: Volume | None
    foreground: Bool[np.ndarray, "*axes"]
    """What is kept, and measured in, on the grid of the first sequence."""
    head: Box
    """What a grid of the head is placed on: the foreground, or the template's."""
    named: Mapping[str, str]
    """What messages call each sequence: its file."""

    def foreground_on(self, sequence: str) -> Bool[np.ndarray, "*axes"]:
        """Return the foreground on a sequence's grid."""
        reference, volume = next(iter(self.sequences.values())), self.sequences[sequence]
        return resample_mask(self.foreground, reference.affine, volume.affine, volume.voxels.shape)

    def even_out(self, sequence: str, intensity: IntensitySettings) -> Volume:
        """Bring one sequence to [0, 1] on its own grid, and all outside the foreground to 0.

        Raises:
            VolumeError: If it has no range of intensities, or no bias field can be found.
        """
        volume, named = self.sequences[sequence], self.named[sequence]
        foreground = self.foreground_on(sequence)
        if intensity.bias_field is not None:
            volume = correct_bias(
                volume,
                foreground,
                shrink=intensity.bias_field.shrink,
                iterations=intensity.bias_field.iterations,
                named=named,
            )
        bring = rescale_intensity if intensity.scale == "range" else standardize_intensity
        voxels = bring(
            volume.voxels,
            foreground,
            low_percentile=intensity.low_percentile,
            high_percentile=intensity.high_percentile,
            named=named,
        )
        if intensity.landmarks is not None:
            voxels = match_landmarks(voxels, foreground, intensity.landmarks[sequence])
        return Volume(voxels, volume.affine)


def open_scan(
    paths: Mapping[str, Path],
    *,
    channels: Sequence[str],
    grid: GridSettings,
    intensity: IntensitySettings,
) -> OpenedScan:
    """Read a scan's files, move its sequences onto each other, and find its head.

    Args:
        paths: As for `scans.preprocess_scan`.
        channels: The study's channels.
        grid: How many axes a scan has, and how its sequences are moved.
        intensity: What counts as foreground.

    Raises:
        CohortError: As for `scans.preprocess_scan`.
        VolumeError: As for `scans.preprocess_scan`.
    """
    if intensity.foreground == "head":
        paths = {name: path for name, path in paths.items() if name != BRAIN_MASK}
    volumes = {
        channel: to_ras(volume)
        for channel, volume in _read_scan(paths, [c for c in channels if c != MASK]).items()
    }
    for channel, volume in volumes.items():
        _check_voxels(volume, named=_named(paths, channel), num_axes=len(grid.shape))
    masks = {name: volumes.pop(name) for name in MASKS if name in volumes}
    if not volumes:
        raise CohortError(
            f"a scan must have at least one sequence of {list(channels)}, but only "
            f"{sorted(map(str, paths.values()))} is there. Remove its row from the table."
        )
    named = {channel: _named(paths, channel) for channel in volumes}
    if grid.registration is not None:
        volumes, masks = align_scan(volumes, masks, registration=grid.registration, named=named)
    reference = next(iter(volumes.values()))
    foreground = (
        find_foreground(list(volumes.values()))
        if intensity.foreground == "head"
        else find_brain(masks.get(BRAIN_MASK), reference, named=str(paths.get(BRAIN_MASK, "")))
    )
    head = bounding_box(foreground, reference.affine)
    if head is None:
        raise VolumeError(
            f"{named[next(iter(volumes))]}: no head or body stands out from the air, here or in "
            "the scan's other sequences. Look at the scan; remove its row if it is blank."
        )
    head = box_of_template(grid.registration) or head
    return OpenedScan(volumes, masks.get(MASK), foreground, head, named)


def _read_scan(paths: Mapping[str, Path], sequences: Sequence[str]) -> dict[str, Volume]:
    """Read a scan's files, by channel."""
    volumes = {name: read_volume(path) for name, path in paths.items() if name != IMAGE}
    if IMAGE in paths:
        found = read_channels(paths[IMAGE])
        if len(found) != len(sequences):
            raise VolumeError(
                f"{paths[IMAGE]} must hold one channel for each of {list(sequences)}, but holds "
                f"{len(found)}. Correct cohort.sequences, or the file."
            )
        volumes |= dict(zip(sequences, found, strict=True))
    return volumes


def _named(paths: Mapping[str, Path], channel: str) -> str:
    """Return what messages call a channel of a scan."""
    return str(paths[channel]) if channel in paths else f"{paths[IMAGE]} ({channel})"


def _check_voxels(volume: Volume, *, named: str, num_axes: int) -> None:
    """Refuse what the check stage would not have let through."""
    if volume.voxels.ndim != num_axes:
        raise VolumeError(
            f"{named} must have {num_axes} axes, as grid.shape does, but has "
            f"{volume.voxels.ndim}. Correct grid.shape in params.yaml, or the table's path."
        )
    num_broken = volume.voxels.size - np.count_nonzero(np.isfinite(volume.voxels))
    if num_broken:
        raise VolumeError(
            f"{named}: every voxel must be a finite number, but {num_broken} are NaN or infinite. "
            "Export the image again, or leave its path empty: a missing sequence is allowed."
        )
