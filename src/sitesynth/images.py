"""Scans on the study's grid, real or synthetic, as they lie on disk and as tensors.

An image set is a folder:

    images.json          channels in order, grid, what each scan was made from
    table.csv            one row per scan, `TABLE_COLUMNS` and then labels and covariates
    voxels/<scan_id>.npy one array per scan, float16, shape (channels, *grid), values in [0, 1]

Channels are the study's sequences, then `mask` if the cohort has one. A missing sequence is all
zeros in its array and false in its `has_<channel>` column: whoever reads the array reads the
column too. An unknown label or covariate is an empty cell.

Axes: n = scans, c = channels, then the grid: toward right, anterior (and superior).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sitesynth.errors import MissingInputError
from sitesynth.patterns import are_side_by_side, read_patterns
from sitesynth.settings import FINDINGS, PRESENCE
from sitesynth.storage import read_json, replacing, sweep, write_json, write_text


__all__ = [
    "MASK",
    "TABLE_COLUMNS",
    "UNKNOWN_LABEL",
    "ImageSet",
    "crop",
    "pool",
    "read_images",
    "write_index",
    "write_voxels",
]

MASK = "mask"
"""Name of the channel that holds the mask; it is always the last."""

TABLE_COLUMNS = ("scan_id", "patient_id", "site", "split")
"""Columns of every table, before `has_<channel>`, labels and covariates."""

UNKNOWN_LABEL = -1
"""Class number of a scan whose label is unknown."""


@final
@dataclass(frozen=True)
class ImageSet:
    """Scans on one grid; selections share the files."""

    channels: tuple[str, ...]
    grid: tuple[int, ...]
    table: pd.DataFrame
    """One row per scan, every cell a string; index 0 to n - 1."""
    files: tuple[Path, ...]
    """The array of each row."""

    def __len__(self) -> int:
        """Return the number of scans."""
        return len(self.files)

    @cached_property
    def presence(self) -> Bool[Tensor, "n c"]:
        """True where a scan has the channel."""
        flags = [
            (self.table[f"{PRESENCE}{channel}"] == "true").to_numpy() for channel in self.channels
        ]
        return torch.from_numpy(np.stack(flags, axis=1))

    @property
    def sequences(self) -> tuple[str, ...]:
        """The channels that are images, in order: all but the mask."""
        return tuple(channel for channel in self.channels if channel != MASK)

    def labels(self, label: str, classes: Sequence[str]) -> Int[Tensor, " n"]:
        """Return class numbers of a label column, `UNKNOWN_LABEL` where the cell is empty.

        The classes of findings are whole patterns here; see `findings` for each alone.
        """
        numbers = {name: number for number, name in enumerate(classes)} | {"": UNKNOWN_LABEL}
        cells = self.table[label]
        if are_side_by_side(label):
            # A pattern that is not told of is nobody's, as an unknown label is.
            cells = cells.where(cells.isin(list(classes)), "")
        return torch.tensor([numbers[cell] for cell in cells], dtype=torch.long)

    def findings(self, names: Sequence[str]) -> Int[Tensor, "n k"]:
        """Return 1 where a scan has a finding, 0 where not, `UNKNOWN_LABEL` where unknown."""
        return torch.from_numpy(read_patterns(self.table[FINDINGS], names))

    def select(self, keep: Iterable[bool]) -> "ImageSet":
        """Return the scans for which `keep` is true, in order."""
        flags = np.fromiter(keep, dtype=bool, count=len(self))
        return ImageSet(
            self.channels,
            self.grid,
            self.table[flags].reset_index(drop=True),
            tuple(file for file, kept in zip(self.files, flags, strict=True) if kept),
        )

    def in_split(self, split: str) -> "ImageSet":
        """Return the scans of one split: train, validation or test."""
        return self.select(self.table["split"] == split)

    def labelled(self, label: str) -> "ImageSet":
        """Return the scans whose label is known."""
        return self.select(self.table[label] != "")

    def load(self, indices: Sequence[int] | Int[Tensor, " m"]) -> Float[Tensor, "m c ..."]:
        """Read some scans from disk, as float32."""
        arrays = [np.load(self.files[int(index)], allow_pickle=False) for index in indices]
        if not arrays:
            return torch.zeros((0, len(self.channels), *self.grid))
        return torch.from_numpy(np.stack(arrays)).float()


def read_images(folder: Path) -> ImageSet:
    """Open an image set; arrays are read when asked for.

    Raises:
        MissingInputError: If the folder is no image set, or an array of its table is missing.
    """
    if not (folder / "images.json").exists():
        raise MissingInputError(f"{folder} holds no image set (images.json); run `dvc repro`.")
    about = read_json(folder / "images.json")
    table = pd.read_csv(folder / "table.csv", dtype=str, keep_default_na=False)
    files = tuple(folder / "voxels" / f"{scan}.npy" for scan in table["scan_id"])
    missing = [file for file in files if not file.exists()]
    if missing:
        raise MissingInputError(
            f"{len(missing)} of {len(files)} arrays of {folder} are missing, first {missing[0]}; "
            "run `dvc repro`."
        )
    return ImageSet(tuple(about["channels"]), tuple(about["grid"]), table, files)


def write_voxels(folder: Path, scan_id: str, voxels: Float[np.ndarray, "c ..."]) -> None:
    """Write one scan's array into an image set, whole."""
    with replacing(folder / "voxels" / f"{scan_id}.npy") as temporary, temporary.open("wb") as file:
        np.save(file, voxels.astype(np.float16), allow_pickle=False)


def write_index(
    folder: Path,
    *,
    channels: Sequence[str],
    grid: Sequence[int],
    rows: Sequence[Mapping[str, str]],
    about: Mapping[str, Any],
) -> None:
    """Complete an image set: its table, and `images.json` last, which makes it readable.

    Args:
        folder: The image set, whose arrays are written already.
        channels: Channel names in order.
        grid: Voxels per axis.
        rows: Table rows in order, every value a string; all with the same keys.
        about: What else to keep in images.json, e.g. voxel size and sources.
    """
    sweep(folder)
    table = pd.DataFrame(list(rows), dtype=str)
    write_text(folder / "table.csv", table.to_csv(index=False, lineterminator="\n"))
    write_json(folder / "images.json", {**about, "channels": list(channels), "grid": list(grid)})


def crop(
    images: Float[Tensor, "n c ..."], corners: Int[Tensor, "n axes"], grid: Sequence[int]
) -> Float[Tensor, "n c ..."]:
    """Cut a piece of the size of `grid` out of each scan, from a corner of its own."""
    return torch.stack(
        [
            scan[(slice(None), *(slice(c, c + g) for c, g in zip(corner, grid, strict=True)))]
            for scan, corner in zip(images, corners.tolist(), strict=True)
        ]
    )


def pool(sets: Sequence[ImageSet]) -> ImageSet:
    """Return the scans of several sets of one grid as one set, in the order given."""
    first = sets[0]
    assert all((s.channels, s.grid) == (first.channels, first.grid) for s in sets)  # noqa: S101
    return ImageSet(
        first.channels,
        first.grid,
        pd.concat([s.table for s in sets], ignore_index=True).fillna(""),
        tuple(file for s in sets for file in s.files),
    )
