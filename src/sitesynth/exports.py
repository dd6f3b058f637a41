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
from sitesynth.storage import write_json
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
    """Draw scans 0 to `count` - 1 of a class into a folder of their own.

    Args:
        folder: Where to write; new or empty.
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
            folder holds something.
    """
    config = generator.config
    _check_label(config, label)
    asked = check_asked(config.covariates, asked, site=config.site)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SitesynthError(
            f"{folder} must be a new or an empty folder, so that all in it is of one draw; name "
            "another."
        )
    origin = {
        "bundle": bundle_digest,
        "site": config.site,
        "label": label,
        "seed": seed,
        **solver.told(),
    }
    for start in range(0, count, BATCH_SIZE):
        # A last, smaller batch is padded: sums must not depend on how many scans are wanted.
        indices = range(start, start + BATCH_SIZE)
        covariates = covariates_of(generator, label, indices, seed=seed, asked=asked)
        scans = draw_scans(
            generator, label, indices, seed=seed, solver=solver, covariates=covariates
        )
        wanted = indices[: count - start]
        for index, scan, words in zip(wanted, scans.numpy(), covariates, strict=False):
            name = scan_name(config.site, label, index)
            said = {**origin, "index": index, **told_of(words)}
            write_scan(folder, name, scan, config, said)
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
    for channel, voxels in zip(config.channels, scan, strict=True):
        stem = f"{name}_{channel}"
        if len(config.grid) == NUM_AXES_3D:
            kind = np.uint8 if channel == MASK else np.float32
            written.append(folder / f"{stem}.nii.gz")
            write_nifti(written[-1], Volume(voxels, affine), dtype=kind)
        else:
            written.append(folder / f"{stem}.png")
            write_png(written[-1], Volume(voxels, affine))
        write_json(folder / f"{stem}.json", {**origin, "channel": channel})
    return written


def _check_label(config: GeneratorConfig, label: str) -> None:
    if label not in config.classes:
        raise SitesynthError(
            f"the generator of {config.site} draws {config.label} as one of "
            f"{list(config.classes)}, not '{label}'."
        )
