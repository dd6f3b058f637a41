"""What a training shows of itself in MLflow: a few scans, as one small figure.

Only a run's artifacts come from here, nothing that DVC tracks: as plumbing, it is no reason to
train again. So samples are drawn in a fixed, plain way, and not as a study's hub draws them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure

from sitesynth.generators.autoencoder import Autoencoder
from sitesynth.generators.generator import Generator
from sitesynth.images import MASK, ImageSet
from sitesynth.sampling import MASK_THRESHOLD, Solver, covariates_of, draw_scans
from sitesynth.slices import hang, slice_of
from sitesynth.tracking import Run, keeps_to_the_study


__all__ = ["log_reconstructions", "log_samples"]

MOST_COLUMNS: Final = 6

SCANS_BACK: Final = 3
"""Scans beside their reconstructions."""

SAMPLES_PER_CLASS: Final = 2

SOLVER: Final = Solver("multistep", 16, 1.0, (0.0, 1.0))

TILE_IN: Final = 1.3

AXIAL: Final = 2
"""The axis of a volume that axial slices lie across."""

Voxels = Float[np.ndarray, "c ..."]


@final
@dataclass(frozen=True, slots=True)
class Tile:
    """A column of a figure."""

    title: str
    voxels: Voxels
    """In [0, 1]."""
    present: Sequence[bool]
    """Which channels to show."""
    cut: int | None
    """Number of the axial slice; None in 2D."""


@torch.no_grad()
def log_reconstructions(
    tracked: Run, scans: ImageSet, autoencoder: Autoencoder, *, is_nobodys: bool
) -> None:
    """Log the first few scans beside what the autoencoder makes of them.

    A reconstruction shows its patient as the scan does. Patients are shown only in an MLflow
    folder that lies in the study's own, where their scans are, too.

    Args:
        tracked: The training's run.
        scans: Held-out ones, or phantoms; nothing is logged where there is none.
        autoencoder: In evaluation mode, on the CPU.
        is_nobodys: Whether the scans are of phantoms.
    """
    if not len(scans) or not (is_nobodys or keeps_to_the_study()):
        return
    wanted = range(min(SCANS_BACK, len(scans)))
    images, presence = scans.load(wanted), scans.presence[: len(wanted)]
    mean, _ = autoencoder.encode(images, presence)
    back = autoencoder.decode(mean).clamp(0, 1)
    tiles: list[Tile] = []
    for scan, returned, has in zip(images.numpy(), back.numpy(), presence.tolist(), strict=True):
        cut = _cut_of(scan, scans.channels)
        # What it makes up for a missing sequence is there to be seen.
        shown = [True] * len(has)
        tiles += [Tile("scan", scan, has, cut), Tile("reconstruction", returned, shown, cut)]
    tracked.log_figure("reconstructions", _draw(tiles, scans.channels))


def log_samples(tracked: Run, generator: Generator, *, seed: int) -> None:
    """Log a few samples of each class, not guided, with covariates as they occur at the site."""
    config, tiles = generator.config, list[Tile]()
    numbers = range(SAMPLES_PER_CLASS)
    for name in config.classes[: MOST_COLUMNS // SAMPLES_PER_CLASS]:
        told = covariates_of(generator, name, numbers, seed=seed)
        samples = draw_scans(
            generator, name, numbers, seed=seed, solver=SOLVER, covariates=told
        ).numpy()
        shown = [True] * len(config.channels)
        tiles += [Tile(name, scan, shown, _cut_of(scan, config.channels)) for scan in samples]
    tracked.log_figure("samples", _draw(tiles, config.channels))


def _cut_of(voxels: Voxels, channels: Sequence[str]) -> int | None:
    """Return the axial slice to show: the one with most mask, or the middle one."""
    mask = np.zeros(voxels.shape[1:], dtype=bool)
    if MASK in channels:
        mask = voxels[channels.index(MASK)] > MASK_THRESHOLD
    return slice_of(voxels[0], mask, axis=AXIAL if mask.ndim > AXIAL else None)


def _draw(tiles: Sequence[Tile], channels: Sequence[str]) -> Figure:
    """Draw a column per scan and a row per channel; black is 0, white is 1."""
    figure = Figure(figsize=(TILE_IN * len(tiles), TILE_IN * len(channels)))
    grid = figure.subplots(len(channels), len(tiles), squeeze=False)
    for column, tile in enumerate(tiles):
        grid[0, column].set_title(tile.title, fontsize=8)
        for row, channel in enumerate(channels):
            axes = grid[row, column]
            axes.set_axis_off()
            if tile.present[row]:
                axis = None if tile.cut is None else AXIAL
                shown = hang(tile.voxels[row], axis=axis, cut=tile.cut)
                axes.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            if column == 0:
                axes.text(
                    -0.05, 0.5, channel, rotation=90, fontsize=8, va="center", ha="right",
                    transform=axes.transAxes,
                )  # fmt: skip
    return figure
