"""Scans side by side, real or synthetic, at one window and with the mask's outline.

A sheet has a column per scan and a row per view: the axial slice with the largest mask area in
every sequence, then the sagittal and the coronal slice through the mask in the last sequence. A
two-dimensional scan is its own only slice.

Slices hang as `sitesynth.slices` says.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import final

import contourpy
import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from sitesynth.images import MASK, ImageSet
from sitesynth.slices import hang, slice_of


__all__ = ["Scan", "View", "draw_sheet", "most_pixels", "read_scans", "views_of"]

TILE, GAP, LABELS, TITLES = 100, 3, 24, 18
"""Of a sheet, in its own units; the page scales it."""

OUTLINE = "#ffb000"

PIXELS_PER_PAGE = 1_000_000
"""About what a page of two and a half megabytes can hold; tiles shrink when there are many."""

PLANES = ("sagittal", "coronal", "axial")
"""The plane across each axis of a volume."""

Voxels = Float[np.ndarray, "..."]


@final
@dataclass(frozen=True, slots=True)
class Scan:
    """One scan to show."""

    channels: tuple[str, ...]
    voxels: Float[np.ndarray, "c ..."]
    """In [0, 1]."""
    present: tuple[bool, ...]
    """Whether the scan has each channel."""

    @property
    def mask(self) -> Bool[np.ndarray, "..."]:
        """True inside the mask; nowhere if the scan has none."""
        if MASK in self.channels:
            inside: np.ndarray = self.voxels[self.channels.index(MASK)] > 0.5  # noqa: PLR2004
            return inside
        return np.zeros(self.voxels.shape[1:], dtype=bool)


@final
@dataclass(frozen=True, slots=True)
class View:
    """One row of a sheet: a channel, and the axis that its slices lie across; None in 2D."""

    channel: str
    axis: int | None

    @property
    def title(self) -> str:
        """What the row is called."""
        return self.channel if self.axis is None else f"{self.channel} {PLANES[self.axis]}"


def read_scans(images: ImageSet, *, most: int) -> list[Scan]:
    """Read the first few scans of an image set."""
    wanted = range(min(most, len(images)))
    voxels = images.load(wanted).numpy()
    return [
        Scan(images.channels, voxels[number], tuple(images.presence[number].tolist()))
        for number in wanted
    ]


def views_of(sequences: Sequence[str], *, num_axes: int) -> list[View]:
    """Return the rows of a sheet."""
    if num_axes == 2:  # noqa: PLR2004
        return [View(name, None) for name in sequences]
    return [*(View(name, 2) for name in sequences), View(sequences[-1], 0), View(sequences[-1], 1)]


def most_pixels(num_tiles: int) -> int:
    """Return the longest edge, in pixels, of tiles of which a page is to hold so many."""
    return int((PIXELS_PER_PAGE / max(1, num_tiles)) ** 0.5)


def draw_sheet(
    scans: Sequence[Scan],
    views: Sequence[View],
    *,
    spacing_mm: Sequence[float] | None,
    longest_px: int,
    titles: Sequence[str] = (),
) -> str:
    """Draw a sheet as SVG, in which each tile is a PNG and each outline a path.

    Args:
        scans: Columns, from left to right.
        views: Rows, from top to bottom.
        spacing_mm: Size of a voxel along each axis, which gives slices their proportions; None
            for voxels of equal edges.
        longest_px: Longest edge of a tile's PNG; larger slices are averaged down.
        titles: What stands above each column; nothing, if none is given.
    """
    head = TITLES if titles else 0
    width = LABELS + len(scans) * (TILE + GAP)
    height = head + len(views) * (TILE + GAP)
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="system-ui, sans-serif">'
    )
    parts = [opening]
    for column, title in enumerate(titles):
        middle = LABELS + column * (TILE + GAP) + TILE / 2
        parts.append(
            f'<text x="{middle}" y="13" text-anchor="middle" font-size="14" fill="#1c2530">'
            f"{escape(title)}</text>"
        )
    for row, view in enumerate(views):
        top = head + row * (TILE + GAP)
        parts.append(
            f'<text transform="translate(17 {top + TILE / 2}) rotate(-90)" text-anchor="middle" '
            f'font-size="14" fill="#1c2530">{escape(view.title)}</text>'
        )
        # The outline would hide what the sequences show, so each plane has it once.
        has_outline = view.axis is None or view.channel == views[-1].channel
        for column, scan in enumerate(scans):
            left = LABELS + column * (TILE + GAP)
            parts.append(f'<g transform="translate({left} {top})">')
            parts += _tile(scan, view, spacing_mm, longest_px, has_outline=has_outline)
            parts.append("</g>")
    return "".join([*parts, "</svg>"])


def _tile(
    scan: Scan,
    view: View,
    spacing_mm: Sequence[float] | None,
    longest_px: int,
    *,
    has_outline: bool,
) -> list[str]:
    """Draw one slice into a square of `TILE` units, centred, in its true proportions."""
    parts = [f'<rect width="{TILE}" height="{TILE}" fill="#000"/>']
    number = scan.channels.index(view.channel)
    if not scan.present[number]:
        middle = TILE / 2
        says = (
            f'<text x="{middle}" y="{middle + 5}" text-anchor="middle" font-size="15" '
            'fill="#5b6673">missing</text>'
        )
        return [f'<rect width="{TILE}" height="{TILE}" fill="#e9edf1"/>', says]
    voxels, mask = scan.voxels[number], scan.mask
    cut = slice_of(voxels, mask, axis=view.axis)
    gray = hang(voxels, axis=view.axis, cut=cut)
    inside = hang(mask.astype(float), axis=view.axis, cut=cut)
    edges = [1.0] * voxels.ndim if spacing_mm is None else list(spacing_mm)
    if view.axis is not None:
        edges.pop(view.axis)
    across, down = gray.shape[1] * edges[0], gray.shape[0] * edges[1]
    scale = TILE / max(across, down)
    size = across * scale, down * scale
    left, top = (TILE - size[0]) / 2, (TILE - size[1]) / 2
    parts.append(
        f'<image x="{left:.1f}" y="{top:.1f}" width="{size[0]:.1f}" height="{size[1]:.1f}" '
        f'preserveAspectRatio="none" href="{_png(gray, longest_px)}"/>'
    )
    if has_outline:
        path = _outline(inside, across=size[0], down=size[1])
        parts.append(
            f'<path transform="translate({left:.1f} {top:.1f})" d="{path}" fill="none" '
            f'stroke="{OUTLINE}" stroke-width="1.5"/>'
        )
    return parts


def _outline(inside: Float[np.ndarray, "rows columns"], *, across: float, down: float) -> str:
    """Return the boundary of a mask as an SVG path over a tile of the given size."""
    # One ring of zeros closes a contour that leaves the slice.
    padded = np.pad(inside, 1)
    rows, columns = inside.shape
    drawn = []
    for line in contourpy.contour_generator(z=padded).lines(0.5):
        points = (np.asarray(line) - 0.5) * [across / columns, down / rows]
        drawn.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points))
    return "".join(drawn)


def _png(gray: Float[np.ndarray, "rows columns"], longest_px: int) -> str:
    """Return a slice as a data URI; 0 is black and 1 is white in every picture of the page."""
    picture = Image.fromarray((np.clip(gray, 0, 1) * 255).round().astype(np.uint8))
    picture.thumbnail((longest_px, longest_px), Image.Resampling.BOX)
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
