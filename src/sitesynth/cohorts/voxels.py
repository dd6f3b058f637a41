"""What the files of a cohort hold: one measure per file, taken without judging it.

Judgement is `sitesynth.cohorts.expectations`' business. A file that cannot be read is measured
too: its `error` says why, and what could not be measured is None.
"""

import hashlib
import os
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float32, Float64

from sitesynth.cohorts.acquired import Acquired
from sitesynth.cohorts.likeness import likeness_of
from sitesynth.cohorts.quality import assess_image
from sitesynth.cohorts.tables import IMAGE, MASK, MASKS, file_columns
from sitesynth.errors import VolumeError
from sitesynth.settings import CohortSettings
from sitesynth.tracking import Progress
from sitesynth.volumes import Volume, read_channels, read_volume


__all__ = [
    "FileMeasure",
    "as_record",
    "corner_distance_mm",
    "measure_file",
    "measure_scan",
    "measure_scans",
]

NUM_AXES_3D = 3

MOST_AT_ONCE = 4
"""Each has a scan's file in memory."""

DECIMALS = 6
"""Of measures that are written: a nanometre, or a millionth of an image."""


@final
@dataclass(frozen=True, kw_only=True)
class FileMeasure:
    """What one file holds."""

    scan_id: str
    column: str
    """The sequence, `image`, `brain_mask` or `mask`."""
    path: str
    error: str | None = None
    """Why the file cannot be read."""
    shape: str | None = None
    """Voxels along each axis, as "64 x 64 x 24"."""
    reference_shape: str | None = None
    """Shape of the scan's first sequence that can be read."""
    num_channels: int | None = None
    spacing_mm: tuple[float, ...] | None = None
    """None for pictures, which have no physical size."""
    orientation: str | None = None
    """None for pictures."""
    affine_offset_mm: float | None = None
    """How far a corner lies from the same corner of the scan's first sequence."""
    num_nonfinite: int | None = None
    low: float | None = None
    """Smallest finite value."""
    high: float | None = None
    """Largest finite value."""
    foreground_fraction: float | None = None
    """Share of voxels above the mean, or inside the mask."""
    num_fractional: int | None = None
    """Voxels of a mask that are no whole number from 0."""
    num_values: int | None = None
    """Different values in a mask."""
    twin: str | None = None
    """Another sequence of this scan with the same voxels."""
    snr: float | None = None
    """Signal to noise; this, `cnr` and `efc` as `sitesynth.cohorts.quality` defines them."""
    cnr: float | None = None
    efc: float | None = None
    likeness: str | None = None
    """Perceptual hash of an image, by `sitesynth.cohorts.likeness`; of several channels, of their
    mean."""
    voxel_sha256: str | None = None
    """SHA-256 of shape and decoded voxels: the same for the same image under another name."""


def measure_scans(
    found: Acquired, *, cohort: CohortSettings, progress: Progress
) -> list[FileMeasure]:
    """Measure every file of a site, in the order of its table, a few scans side by side.

    Args:
        found: The site.
        cohort: The study's cohort.
        progress: Shows how far the files are.
    """
    columns = file_columns(found.table, cohort)

    def measure(row: Mapping[Hashable, str]) -> list[FileMeasure]:
        paths = {name: str(row[name]) for name in columns if row[name]}
        return measure_scan(
            str(row["scan_id"]), paths, root=found.root, mask_labels=cohort.mask_labels
        )

    rows = found.table.to_dict("records")
    measures: list[FileMeasure] = []
    with (
        ThreadPoolExecutor(min(MOST_AT_ONCE, os.cpu_count() or 1)) as workers,
        progress(len(rows), "check voxels") as on_step,
    ):
        waiting = [workers.submit(measure, row) for row in rows]
        try:
            for number, future in enumerate(waiting, start=1):
                measures += future.result()
                on_step(number, {})
        finally:
            # Whoever interrupts does not wait for what has not begun.
            workers.shutdown(cancel_futures=True)
    return measures


def measure_scan(
    scan_id: str,
    paths: Mapping[str, str],
    *,
    root: Path,
    mask_labels: Sequence[int] | None,
) -> list[FileMeasure]:
    """Measure the files of one scan, one at a time, and how they lie to each other.

    Args:
        scan_id: The scan.
        paths: Path by column, those that are there; masks last.
        root: The folder that paths are relative to.
        mask_labels: Values of the mask that are inside it; None takes every value above 0.
    """
    measures = []
    reference: tuple[tuple[int, ...], Float64[np.ndarray, "4 4"]] | None = None
    seen: dict[str, str] = {}
    for column, path in paths.items():
        bare = FileMeasure(scan_id=scan_id, column=column, path=path)
        try:
            channels = _read(root / path, column)
        except VolumeError as error:
            measures.append(replace(bare, error=str(error)))
            continue
        shape, affine = channels[0].voxels.shape, channels[0].affine
        reference = reference or (shape, affine)
        measure = measure_file(bare, channels, mask_labels=mask_labels if column == MASK else None)
        digest = measure.voxel_sha256 or ""
        measures.append(
            replace(
                measure,
                reference_shape=_shown(reference[0]),
                affine_offset_mm=_rounded(corner_distance_mm(reference[1], affine, shape))
                if shape == reference[0]
                else None,
                twin=seen.get(digest),
            )
        )
        if column not in MASKS:
            seen.setdefault(digest, column)
    return measures


def measure_file(
    bare: FileMeasure, channels: Sequence[Volume], *, mask_labels: Sequence[int] | None
) -> FileMeasure:
    """Measure one file's voxels.

    Args:
        bare: Which file it is.
        channels: Its content; all on one grid.
        mask_labels: Values of a mask that are inside it; None takes every value above 0.
    """
    first = channels[0]
    voxels = np.stack([channel.voxels for channel in channels])
    finite = voxels[np.isfinite(voxels)]
    is_mask = bare.column in MASKS
    is_3d = first.voxels.ndim == NUM_AXES_3D
    threshold = 0.0 if is_mask or not finite.size else float(finite.mean(dtype=np.float64))
    inside = finite > threshold if mask_labels is None else np.isin(finite, mask_labels)
    whole = (finite >= 0) & (finite == np.rint(finite))
    return replace(
        bare if is_mask else _assessed(bare, first, voxels.mean(axis=0)),
        shape=_shown(first.voxels.shape),
        num_channels=len(channels),
        spacing_mm=tuple(_rounded(edge) for edge in first.spacing_mm) if is_3d else None,
        orientation=first.orientation if is_3d else None,
        num_nonfinite=int(voxels.size - finite.size),
        low=float(finite.min()) if finite.size else None,
        high=float(finite.max()) if finite.size else None,
        foreground_fraction=_rounded(float(inside.sum()) / voxels.size),
        num_fractional=int(whole.size - whole.sum()) if is_mask else None,
        num_values=len(np.unique(finite)) if is_mask else None,
        voxel_sha256=_digest_of_voxels(voxels),
    )


def _assessed(bare: FileMeasure, first: Volume, voxels: Float32[np.ndarray, "..."]) -> FileMeasure:
    """Measure how good an image is, and what it looks like."""
    quality = assess_image(voxels)
    return replace(
        bare,
        snr=None if quality.snr is None else _rounded(quality.snr),
        cnr=None if quality.cnr is None else _rounded(quality.cnr),
        efc=None if quality.efc is None else _rounded(quality.efc),
        likeness=likeness_of(replace(first, voxels=voxels)),
    )


def corner_distance_mm(
    first: Float64[np.ndarray, "4 4"], second: Float64[np.ndarray, "4 4"], shape: Sequence[int]
) -> float:
    """Return how far apart two affines put a corner of a grid, at most.

    Args:
        first: Voxel indices to millimetres.
        second: Voxel indices to millimetres.
        shape: Voxels along each axis; two for a plane.
    """
    ends = [(0, size - 1) for size in (*shape, 1)[:NUM_AXES_3D]]
    corners = np.array([(*corner, 1) for corner in product(*ends)], dtype=np.float64)
    return float(np.linalg.norm(corners @ (first - second).T, axis=1).max())


def as_record(measure: FileMeasure) -> dict[str, Any]:
    """Return a measure as JSON has it, without what could not be measured."""
    return {name: value for name, value in asdict(measure).items() if value is not None}


def _read(path: Path, column: str) -> tuple[Volume, ...]:
    return read_channels(path) if column == IMAGE else (read_volume(path),)


def _digest_of_voxels(voxels: Float32[np.ndarray, "c ..."]) -> str:
    digest = hashlib.sha256(repr(voxels.shape).encode())
    # 0 and -0 are one value; so are all NaN.
    canonical = np.where(np.isnan(voxels), np.float32(np.nan), voxels + np.float32(0))
    digest.update(np.ascontiguousarray(canonical, dtype="<f4").data)
    return digest.hexdigest()


def _shown(shape: Sequence[int]) -> str:
    return " x ".join(str(size) for size in shape)


def _rounded(value: float) -> float:
    return round(value, DECIMALS)
