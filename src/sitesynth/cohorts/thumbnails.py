"""Small pictures of a few scans, for the page of a check: who reads it should have seen some.

A volume shows the axial slice in which its scan's mask is largest, or the middle one; the patient's
right is on the reader's left, anterior on top. Scans that something was said of come first.
"""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float32
from PIL import Image

from sitesynth.cohorts.likeness import turned
from sitesynth.cohorts.tables import MASK, MASKS
from sitesynth.volumes import Volume, read_channels


__all__ = ["choose_scans", "draw_thumbnails"]

MAX_SCANS: Final = 12
"""Of a site; each takes the time to read its files again, and some kilobytes of the page."""

LONGEST_PX: Final = 96

WINDOW: Final = (1.0, 99.5)
"""Percentiles of a slice that become black and white."""

MIDDLE: Final = 0.5

NUM_AXES_3D: Final = 3


def choose_scans(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the scans of a check to show: set aside, unlike the others, and then by the table."""
    scans = {scan["scan_id"]: scan for scan in result["scans"]}
    named = [row["scan_id"] for row in (*result["quarantine"], *result["outliers"])]
    return [scans[name] for name in [*dict.fromkeys([*named, *scans])][:MAX_SCANS]]


def draw_thumbnails(result: Mapping[str, Any], *, root: Path) -> dict[tuple[str, str], str]:
    """Draw the files of the scans that `choose_scans` names, but those that could not be read.

    Args:
        result: What `check_site` returned.
        root: The folder that its paths are relative to.

    Returns:
        PNGs as data URIs, by scan and column; of a file of several channels, the first.
    """
    drawn = {}
    for scan in choose_scans(result):
        volumes = {
            column: read_channels(root / file["path"])[0]
            for column, file in scan["files"].items()
            if "error" not in file
        }
        height = _height_of(volumes.get(MASK))
        for column, volume in volumes.items():
            drawn[scan["scan_id"], column] = _draw(volume, height, is_mask=column in MASKS)
    return drawn


def _upright(volume: Volume) -> Float32[np.ndarray, "..."]:
    """Return voxels as `turned` does, or as they are if nobody knows how they lie."""
    voxels = turned(volume)
    return volume.voxels if voxels is None else voxels


def _height_of(mask: Volume | None) -> float:
    """Return where a mask is largest, as a share of the way from its lowest slice to its highest.

    A share, since the scan's other files may lie on grids of their own.
    """
    if mask is None or mask.voxels.ndim < NUM_AXES_3D or not (mask.voxels > 0).any():
        return MIDDLE
    areas = (_upright(mask) > 0).sum(axis=(0, 1))
    return (int(areas.argmax()) + MIDDLE) / len(areas)


def _draw(volume: Volume, height: float, *, is_mask: bool) -> str:
    voxels = np.nan_to_num(_upright(volume).astype(np.float64), posinf=0.0, neginf=0.0)
    edges: tuple[float, ...] = (1.0, 1.0)
    if voxels.ndim == NUM_AXES_3D:
        # The right of who is looked at from below lies on the left.
        voxels = voxels[::-1, :, int(height * voxels.shape[2])]
        edges = tuple(np.abs(volume.affine[:NUM_AXES_3D, :NUM_AXES_3D]).max(axis=1)[:2])
    low, high = (0.0, 1.0) if is_mask else np.percentile(voxels, WINDOW)
    shades = ((voxels - low) / max(high - low, np.finfo(np.float32).tiny)).clip(0.0, 1.0)
    picture = Image.fromarray(np.rint(255 * shades.T[::-1]).astype(np.uint8))
    lengths = [size * edge for size, edge in zip(voxels.shape, edges, strict=True)]
    scale = LONGEST_PX / max(lengths)
    width, depth = (max(1, round(scale * length)) for length in lengths)
    resampled = picture.resize((width, depth), Image.Resampling.BILINEAR)
    content = io.BytesIO()
    resampled.save(content, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
