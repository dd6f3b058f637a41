"""Synthetic scans as files that other software opens, outside any study.

    <scan>_<channel>.nii.gz   a channel of a 3D scan: sequences as float32 in [0, 1], the mask as
                              0 and 1, one byte per voxel
    <scan>_<channel>.png      a channel of a 2D scan, 8-bit gray
    <scan>_<channel>.json     what the file was drawn from; the same names draw the same scan

The grid's axes point right, anterior and superior, and its middle lies at the world's origin: a
synthetic scan was never anywhere.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from sitesynth.errors import SitesynthError
from sitesynth.generators.draws import check_asked
from sitesynth.generators.generator import Generator, GeneratorConfig
from sitesynth.images import MASK
from sitesynth.sampling import (
    NOTHING,
    Solver,
    covariates_of,
    draw_scans,
    scan_name,
    told_of,
)
from sitesynth.storage import UNFINISHED, read_json, sweep, write_json
from sitesynth.volumes import Volume, write_nifti, write_png


__all__ = ["affine_of", "draw_scan", "export_scans", "write_scan"]

BATCH_SIZE = 8
"""Scans drawn at once."""

UNKNOWN_SPACING_MM = 1.0
"""Voxel size of generators that were trained on scans fitted into the grid, each with its own."""

NUM_AXES_3D = 3


def export_scans(
    folder: Path,
    generator: Generator,
    *,
    label: str,
    count: int,
    seed: int,
    solver: Solver,
    bundle_digest: str,
    on_scan: Callable[[int], None],
    asked: Mapping[str, str] = NOTHING,
) -> None:
    """Draw scans 0 to `count` - 1 of a class into a folder of their own, going on where it stopped.

    Args:
        folder: Where to write; new, empty, or left by the same draw when it was interrupted.
        generator: Whose scans.
        label: One of its classes.
        count: How many scans.
        seed: Root seed; with that of a study, they are the study's scans.
        solver: How noise becomes latents.
        bundle_digest: What names the bundle; see `generators.bundle.bundle_digest`.
        on_scan: Called after each scan with its number, from 1.
        asked: By covariate, what all scans shall have; the others are drawn as at the site.

    Raises:
        SitesynthError: If the generator knows no such class, covariate or value of one, or the
            folder holds something of another draw.
    """
    config = generator.config
    _check_label(config, label)
    asked = check_asked(config.covariates, asked, site=config.site)
    names = [scan_name(config.site, label, index) for index in range(count)]
    _check_folder(folder, {path.name for name in names for path in _files_of(folder, name, config)})
    origin = {
        "bundle": bundle_digest,
        "site": config.site,
        "label": label,
        "seed": seed,
        **solver.told_for(config),
    }
    for start in range(0, count, BATCH_SIZE):
        # A last, smaller batch is padded: sums must not depend on how many scans are wanted.
        indices = range(start, start + BATCH_SIZE)
        covariates = covariates_of(generator, label, indices, seed=seed, asked=asked)
        said = [
            {**origin, "index": index, **told_of(words)}
            for index, words in zip(indices[: count - start], covariates, strict=False)
        ]
        batch = names[start : start + BATCH_SIZE]
        # Every sidecar is looked at: one of another draw ends this one before more is drawn.
        are_done = [_is_done(folder, *one, config) for one in zip(batch, said, strict=True)]
        if not all(are_done):
            scans = draw_scans(
                generator, label, indices, seed=seed, solver=solver, covariates=covariates
            ).numpy()
            for name, origin_of_scan, scan in zip(batch, said, scans, strict=False):
                write_scan(folder, name, scan, config, origin_of_scan)
        for index in indices[: count - start]:
            on_scan(index + 1)


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
    _check_label(generator.config, label)
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
) -> list[Path]:
    """Write each channel of a scan, and what it was drawn from; return the channels' files."""
    written = []
    affine = affine_of(config)
    files = iter(_files_of(folder, name, config))
    for channel, voxels in zip(config.channels, scan, strict=True):
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


def _files_of(folder: Path, name: str, config: GeneratorConfig) -> list[Path]:
    """Return the files of a scan: each channel's image, and then its sidecar."""
    suffix = ".nii.gz" if len(config.grid) == NUM_AXES_3D else ".png"
    stems = [f"{name}_{channel}" for channel in config.channels]
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
    folder: Path, name: str, origin: Mapping[str, object], config: GeneratorConfig
) -> bool:
    """Return whether a scan was written by this draw, whole.

    Raises:
        SitesynthError: If it was written by another.
    """
    files = _files_of(folder, name, config)
    for channel, sidecar in zip(config.channels, files[1::2], strict=True):
        if sidecar.exists() and read_json(sidecar) != {**origin, "channel": channel}:
            raise SitesynthError(
                f"{sidecar} says that its scan was drawn otherwise (bundle, seed, solver or "
                "covariates); name another folder."
            )
    return all(file.exists() for file in files)


def _check_label(config: GeneratorConfig, label: str) -> None:
    if label not in config.classes:
        raise SitesynthError(
            f"the generator of {config.site} draws {config.label} as one of "
            f"{list(config.classes)}, not '{label}'."
        )
