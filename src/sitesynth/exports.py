"""Synthetic scans as files that other software opens, outside any study.

    <scan>_<channel>.nii.gz   a channel of a 3D scan: sequences as float32 in [0, 1], the mask as
                              0 and 1, one byte per voxel
    <scan>_<channel>.png      a channel of a 2D scan, 8-bit gray
    <scan>_<channel>.json     what the file was drawn from; the same names draw the same scan

The grid's axes point right, anterior and superior, and its middle lies at the world's origin: a
synthetic scan was never anywhere.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64
from torch import Tensor

from sitesynth.errors import SitesynthError
from sitesynth.generators.generator import Generator, GeneratorConfig
from sitesynth.images import MASK
from sitesynth.sampling import (
    Solver,
    covariates_of,
    draw_scans,
    scan_name,
    told_of,
)
from sitesynth.storage import UNFINISHED, read_json, sweep, write_json
from sitesynth.volumes import Volume, write_nifti, write_png
from sitesynth.wanted import Wanted


__all__ = ["affine_of", "draw_scan", "export_scans", "write_scan"]

BATCH_SIZE = 8
"""Scans drawn at once."""

UNKNOWN_SPACING_MM = 1.0
"""Voxel size of generators that were trained on scans fitted into the grid, each with its own."""

NUM_AXES_3D = 3


def export_scans(
    folder: Path,
    generator: Generator,
    wanted: Sequence[Wanted],
    *,
    seed: int,
    solver: Solver,
    bundle_digest: str,
    on_scan: Callable[[int], None],
) -> None:
    """Draw the wanted scans into a folder of their own, going on where it stopped.

    The first of a class that is wanted is number 0 of that class, the next one number 1: which scan
    that is depends on class, number, seed and what is asked of it, and on nothing beside it.

    Args:
        folder: Where to write; new, empty, or left by the same draw when it was interrupted.
        generator: Whose scans.
        wanted: Which of them.
        seed: Root seed; with that of a study, they are the study's scans.
        solver: How noise becomes latents.
        bundle_digest: What names the bundle; see `generators.bundle.bundle_digest`.
        on_scan: Called after each scan with its number, from 1.

    Raises:
        SitesynthError: If the generator knows no such class, covariate or value of one, or the
            folder holds something of another draw.
    """
    config = generator.config
    of_class: dict[str, list[Wanted]] = {}
    for one in wanted:
        of_class.setdefault(one.label, []).append(one.checked(config))
    ours = {
        path.name
        for label, rows in of_class.items()
        for index, one in enumerate(rows)
        for path in _files_of(folder, scan_name(config.site, label, index), config, one.missing)
    }
    _check_folder(folder, ours)
    done = 0
    for label, rows in of_class.items():
        for start in range(0, len(rows), BATCH_SIZE):
            _export_batch(
                folder,
                generator,
                rows[start : start + BATCH_SIZE],
                start=start,
                seed=seed,
                solver=solver,
                origin={"bundle": bundle_digest, "site": config.site, "label": label, "seed": seed},
            )
            for _ in rows[start : start + BATCH_SIZE]:
                done += 1
                on_scan(done)


def _export_batch(
    folder: Path,
    generator: Generator,
    rows: Sequence[Wanted],
    *,
    start: int,
    seed: int,
    solver: Solver,
    origin: Mapping[str, object],
) -> None:
    """Draw some scans of one class, numbered from `start` on, unless they are there."""
    config, label = generator.config, rows[0].label
    # A last, smaller batch is padded: sums must not depend on how many scans are wanted.
    padded = [*rows, *[rows[-1]] * (BATCH_SIZE - len(rows))]
    indices = range(start, start + BATCH_SIZE)
    covariates = [
        words
        for index, one in zip(indices, padded, strict=True)
        for words in covariates_of(generator, label, [index], seed=seed, asked=one.asked)
    ]
    names = [scan_name(config.site, label, index) for index in indices[: len(rows)]]
    said = [
        {
            **origin,
            **solver.told_for(config),
            "index": index,
            **told_of(words),
            **({"missing": list(one.missing)} if one.missing else {}),
        }
        for index, words, one in zip(indices, covariates, rows, strict=False)
    ]
    # Every sidecar is looked at: one of another draw ends this one before more is drawn.
    are_done = [
        _is_done(folder, name, told, config, one.missing)
        for name, told, one in zip(names, said, rows, strict=True)
    ]
    if all(are_done):
        return
    scans = draw_scans(
        generator,
        label,
        indices,
        seed=seed,
        solver=solver,
        covariates=covariates,
        presence=_presence_of(padded, config),
    ).numpy()
    for name, told, scan, one in zip(names, said, scans, rows, strict=False):
        write_scan(folder, name, scan, config, told, missing=one.missing)


def _presence_of(rows: Sequence[Wanted], config: GeneratorConfig) -> Bool[Tensor, "n c"]:
    return torch.tensor(
        [[channel not in one.missing for channel in config.channels] for one in rows]
    )


def affine_of(config: GeneratorConfig) -> Float64[np.ndarray, "4 4"]:
    """Return the affine of a generator's scans."""
    shape = np.array(config.grid)
    spacing = np.array(config.spacing_mm or [UNKNOWN_SPACING_MM] * len(shape))
    affine = np.eye(4)
    affine[range(len(shape)), range(len(shape))] = spacing
    affine[: len(shape), 3] = -spacing * (shape - 1) / 2
    return affine


def draw_scan(
    generator: Generator, label: str, index: int, *, seed: int, solver: Solver
) -> Float32[np.ndarray, "c ..."]:
    """Draw one scan of a class: the one of that number that `export_scans` writes.

    Raises:
        SitesynthError: If the generator knows no such class.
    """
    Wanted(label).checked(generator.config)
    start = index - index % BATCH_SIZE
    indices = range(start, start + BATCH_SIZE)
    covariates = covariates_of(generator, label, indices, seed=seed)
    scans = draw_scans(generator, label, indices, seed=seed, solver=solver, covariates=covariates)
    scan: Float32[np.ndarray, "c ..."] = scans[index - start].numpy()
    return scan


def write_scan(
    folder: Path,
    name: str,
    scan: Float32[np.ndarray, "c ..."],
    config: GeneratorConfig,
    origin: Mapping[str, object],
    *,
    missing: Sequence[str] = (),
) -> list[Path]:
    """Write each channel that a scan has, and what it was drawn from; return channels' files."""
    written = []
    affine = affine_of(config)
    files = iter(_files_of(folder, name, config, missing))
    for channel, voxels in zip(config.channels, scan, strict=True):
        if channel in missing:
            continue
        image, sidecar = next(files), next(files)
        if len(config.grid) == NUM_AXES_3D:
            kind = np.uint8 if channel == MASK else np.float32
            write_nifti(image, Volume(voxels, affine), dtype=kind)
        else:
            write_png(image, Volume(voxels, affine))
        # After the image: what has a sidecar is whole.
        write_json(sidecar, {**origin, "channel": channel})
        written.append(image)
    return written


def _files_of(
    folder: Path, name: str, config: GeneratorConfig, missing: Sequence[str]
) -> list[Path]:
    """Return the files of a scan: the image of each channel that it has, and then its sidecar."""
    suffix = ".nii.gz" if len(config.grid) == NUM_AXES_3D else ".png"
    stems = [f"{name}_{channel}" for channel in config.channels if channel not in missing]
    return [folder / f"{stem}{ending}" for stem in stems for ending in (suffix, ".json")]


def _check_folder(folder: Path, ours: set[str]) -> None:
    """Refuse a folder that holds what this draw would not write; drop what it left unfinished."""
    if not folder.exists():
        return
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    others = sorted(name for name in found - ours if not name.startswith(UNFINISHED))
    if others:
        raise SitesynthError(
            f"{folder} must be a new or an empty folder, so that all in it is of one draw, but "
            f"holds {others[0]}; name another."
        )
    sweep(folder)


def _is_done(
    folder: Path,
    name: str,
    origin: Mapping[str, object],
    config: GeneratorConfig,
    missing: Sequence[str],
) -> bool:
    """Return whether a scan was written by this draw, whole.

    Raises:
        SitesynthError: If it was written by another.
    """
    files = _files_of(folder, name, config, missing)
    channels = [channel for channel in config.channels if channel not in missing]
    for channel, sidecar in zip(channels, files[1::2], strict=True):
        if sidecar.exists() and read_json(sidecar) != {**origin, "channel": channel}:
            raise SitesynthError(
                f"{sidecar} says that its scan was drawn otherwise (bundle, seed, solver, "
                "covariates or channels); name another folder."
            )
    return all(file.exists() for file in files)
