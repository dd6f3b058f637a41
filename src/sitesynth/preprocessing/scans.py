"""A site's scans, from its files to an image set on the study's grid.

A worker has one scan in memory at a time. Each has a key: the digest of all that its array depends
on, which is its files' bytes, the settings and this code's version. Keys are kept beside the
arrays, in keys.json, and a scan whose key is there is not computed again: a study with one new scan
computes one array, and a stage that was killed goes on where it was. The folder's bytes do not
tell which way they came about.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float32

from sitesynth.cohorts.acquired import Acquired
from sitesynth.cohorts.tables import IMAGE, MASKS
from sitesynth.errors import CohortError, VolumeError
from sitesynth.images import MASK, TABLE_COLUMNS, write_index, write_voxels
from sitesynth.preprocessing.geometry import bounding_box, place_grid, resample, resample_mask
from sitesynth.preprocessing.masks import inside_of
from sitesynth.preprocessing.opened import open_scan
from sitesynth.settings import PRESENCE, CohortSettings, GridSettings, IntensitySettings
from sitesynth.storage import digest_of, digest_of_file, read_json, write_json
from sitesynth.tracking import OnStep


__all__ = [
    "ALGORITHM_VERSION",
    "channels_of",
    "checked_paths",
    "preprocess_scan",
    "preprocess_site",
    "read_splits",
]

ALGORITHM_VERSION = 1
"""Raised with every change to the numbers that this package gives, so that no old array is kept."""

OFF = {"foreground": "head", "scale": "range"}
"""What options say that are off and are not null."""

NUM_CHECKPOINTS = 50
"""How often the keys are written in a run; a killed one loses what came after the last time."""


def channels_of(cohort: CohortSettings) -> tuple[str, ...]:
    """Return the channels of a study's image sets: its sequences, then the mask if there is one."""
    return (*cohort.sequences, MASK) if cohort.has_mask else cohort.sequences


def read_splits(path: Path) -> dict[str, str]:
    """Read the split of each scan of a site, as the split stage wrote it."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return dict(zip(table["scan_id"], table["split"], strict=True))


def preprocess_site(
    found: Acquired,
    *,
    splits: Mapping[str, str],
    folder: Path,
    cohort: CohortSettings,
    grid: GridSettings,
    intensity: IntensitySettings,
    num_workers: int,
    on_scan: OnStep,
) -> int:
    """Bring a site's image set up to date.

    Args:
        found: The site's table, and where its files are.
        splits: Split by scan; scans that it does not name are left out.
        folder: The image set; it may hold arrays of an earlier run, finished or killed.
        cohort: Sequences, labels and covariates of the study.
        grid: The grid that every scan is brought to.
        intensity: How intensities are brought to [0, 1].
        num_workers: Threads that prepare a scan each.
        on_scan: Told after each scan how many are done.

    Returns:
        How many arrays had to be computed.

    Raises:
        CohortError: If `splits` names a scan that the site does not have.
        VolumeError: If a file cannot be read, is not the file that was acquired, or shows nothing.
    """
    channels = channels_of(cohort)
    scans = {
        str(row["scan_id"]): {str(name): str(cell) for name, cell in row.items()}
        for row in found.table.to_dict("records")
    }
    unknown = sorted(set(splits) - set(scans))
    if unknown:
        raise CohortError(
            f"every scan of the split of {found.site} must be in its table, but {len(unknown)} "
            f"are not, first {unknown[0]}. Run `dvc repro split`."
        )
    scans = {scan_id: row for scan_id, row in scans.items() if scan_id in splits}
    obeyed = _obeyed(channels, cohort, grid, intensity)
    keys = {
        scan_id: digest_of([*obeyed, {name: row[f"sha256_{name}"] for name in _files_of(row)}])
        for scan_id, row in scans.items()
    }
    done = _discard_stale(folder, keys)
    num_kept = len(done)
    make = partial(
        _make_array,
        root=found.root,
        folder=folder,
        channels=channels,
        grid=grid,
        intensity=intensity,
        mask_labels=cohort.mask_labels,
    )
    pending = [row for scan_id, row in scans.items() if scan_id not in done]
    try:
        on_scan(num_kept, {})
        for scan_id in _made(make, pending, num_workers=num_workers):
            done[scan_id] = keys[scan_id]
            if len(done) % max(len(scans) // NUM_CHECKPOINTS, 1) == 0:
                write_json(folder / "keys.json", done)
            on_scan(len(done), {})
    finally:
        # A scan that cannot be prepared costs itself, and not those that were.
        write_json(folder / "keys.json", done)
    carried = (*cohort.labels, *cohort.covariates)
    write_index(
        folder,
        channels=channels,
        grid=grid.shape,
        rows=[
            {name: row[name] for name in TABLE_COLUMNS}
            | {"split": splits[scan_id]}
            | {f"{PRESENCE}{channel}": _has(row, channel) for channel in channels}
            | {name: row[name] for name in carried}
            for scan_id, row in scans.items()
        ],
        about={"region": grid.region, "spacing_mm": grid.spacing_mm, "site": found.site},
    )
    return len(done) - num_kept


def _made(
    make: Callable[[Mapping[str, str]], str], rows: Sequence[Mapping[str, str]], *, num_workers: int
) -> Iterator[str]:
    """Make the arrays of some scans, and yield the id of each that is on disk."""
    with ThreadPoolExecutor(num_workers) as workers:
        waiting = [workers.submit(make, row) for row in rows]
        try:
            for future in as_completed(waiting):
                yield future.result()
        finally:
            workers.shutdown(wait=True, cancel_futures=True)


def _make_array(
    row: Mapping[str, str],
    *,
    root: Path,
    folder: Path,
    channels: Sequence[str],
    grid: GridSettings,
    intensity: IntensitySettings,
    mask_labels: Sequence[int] | None,
) -> str:
    """Prepare one scan and write its array; return its id."""
    array = preprocess_scan(
        checked_paths(row, root),
        channels=channels,
        grid=grid,
        intensity=intensity,
        mask_labels=mask_labels,
    )
    write_voxels(folder, row["scan_id"], array)
    return row["scan_id"]


def preprocess_scan(
    paths: Mapping[str, Path],
    *,
    channels: Sequence[str],
    grid: GridSettings,
    intensity: IntensitySettings,
    mask_labels: Sequence[int] | None,
) -> Float32[np.ndarray, "channels ..."]:
    """Read one scan's files and bring them to the study's grid and to [0, 1].

    Args:
        paths: The files that are there, by sequence, or one under `image` whose channels are the
            sequences in order; `mask` and `brain_mask`, if there are any.
        channels: Channels of the result; one that is not in `paths` is all zeros.
        grid: The grid to bring them to.
        intensity: How intensities are brought to [0, 1].
        mask_labels: Values of the mask that are inside it; None takes every value above 0.

    Raises:
        CohortError: If the scan has no sequence.
        VolumeError: If a file cannot be read, has another number of axes than the grid, has NaN
            or infinite voxels, or shows nothing.
    """
    scan = open_scan(paths, channels=channels, grid=grid, intensity=intensity)
    mask = scan.mask
    inside_mask = None if mask is None else inside_of(mask, mask_labels)
    tumour = None
    if mask is not None and inside_mask is not None and grid.region == "tumour":
        tumour = bounding_box(inside_mask, mask.affine)
    affine = place_grid(
        head=scan.head,
        centre=(tumour or scan.head).centre,
        shape=grid.shape,
        spacing_mm=grid.spacing_mm,
    )
    array = np.zeros((len(channels), *grid.shape), dtype=np.float32)
    for number, channel in enumerate(channels):
        if channel in scan.sequences:
            even = scan.even_out(channel, intensity)
            array[number] = resample(even, affine, grid.shape)
    if mask is not None and inside_mask is not None:
        array[-1] = resample_mask(inside_mask, mask.affine, affine, grid.shape)
    return array


def _obeyed(
    channels: Sequence[str],
    cohort: CohortSettings,
    grid: GridSettings,
    intensity: IntensitySettings,
) -> list[Any]:
    """Return all that every array depends on beside its files.

    What is off is left out, so that an option that is new leaves arrays as they are.
    """
    knobs = intensity.model_dump(mode="json", exclude_none=True)
    knobs = {name: knob for name, knob in knobs.items() if OFF.get(name) != knob}
    masks = [] if cohort.mask_labels is None else [{"mask_labels": cohort.mask_labels}]
    is_aligned = grid.registration is not None
    place = grid.model_dump(mode="json", exclude=None if is_aligned else {"registration"})
    return [ALGORITHM_VERSION, channels, place, knobs, *masks]


def _files_of(row: Mapping[str, str]) -> dict[str, str]:
    """Return the files that a scan has, by column of the table."""
    columns = [name.removeprefix("sha256_") for name in row if name.startswith("sha256_")]
    return {name: row[name] for name in columns if row[name]}


def checked_paths(row: Mapping[str, str], root: Path) -> dict[str, Path]:
    """Return where a scan's files are, sure that they are those that were acquired."""
    paths = {name: root / path for name, path in _files_of(row).items()}
    for name, path in paths.items():
        if path.is_file() and digest_of_file(path) != row[f"sha256_{name}"]:
            raise VolumeError(
                f"{path} is not the file that was acquired: its SHA-256 is no longer "
                f"{row[f'sha256_{name}'][:12]}... Run `dvc repro`, or `dvc repro -f acquire` if "
                "the file lies where DVC does not look."
            )
    return paths


def _has(row: Mapping[str, str], channel: str) -> str:
    """Return a `has_<channel>` cell: whether the scan has that channel."""
    column = IMAGE if IMAGE in row and channel not in MASKS else channel
    return "true" if row[column] else "false"


def _discard_stale(folder: Path, keys: Mapping[str, str]) -> dict[str, str]:
    """Return the keys of the arrays that can stay, and remove all others.

    The index goes first, so that the folder is no image set until it is whole again; then the
    keys, so that no array is ever beside the key of another.
    """
    (folder / "images.json").unlink(missing_ok=True)
    known = read_json(folder / "keys.json") if (folder / "keys.json").exists() else {}
    done = {
        scan_id: key
        for scan_id, key in keys.items()
        if known.get(scan_id) == key and (folder / "voxels" / f"{scan_id}.npy").exists()
    }
    write_json(folder / "keys.json", done)
    for path in folder.rglob("*"):
        is_kept = path.parent.name == "voxels" and path.suffix == ".npy" and path.stem in done
        if path.is_file() and path.name not in {"keys.json", "table.csv"} and not is_kept:
            path.unlink()
    return done
