"""PIQE (Venkatanath et al., 2015): the share of lively blocks that look noisy or patched.

An image is normalized by its local mean and spread and cut into blocks. A block that varies is
active; it is noisy if its spread is large beside how its middle differs from its surround, and
patched if a stretch of its border does not vary. 0 is best, 100 worst, and 100 without an active
block. Constants and details are those of MATLAB's `piqe`.

As with BRISQUE, only what lies in the mask counts, and a stack's slices are pooled, so that a dozen
small slices give one score; one image with a full mask gets the published one.

Axes: s = slices, h, w = rows and columns, b = blocks.
"""

from typing import Final

import numpy as np
from jaxtyping import Bool, Float

from sitesynth.quality.brisque import normalize, within


__all__ = ["piqe"]

BLOCK: Final = 16
SEGMENT: Final = 6
"""Length of a stretch of border."""

ACTIVE_VARIANCE: Final = 0.1
FLAT_SPREAD: Final = 0.1

MIDDLE: Final = (7, 8)
"""Columns of a block's middle, and below of what is taken out for its surround. They differ by one:
so it is in MATLAB's, whose published scores hold it."""
REMOVED: Final = (7, 9)

STABILIZER: Final = 1.0


def piqe(stack: Float[np.ndarray, "s h w"], mask: Bool[np.ndarray, "s h w"]) -> float | None:
    """Return the score of a stack of slices; None if no block is in the mask.

    Args:
        stack: Intensities of at least 0; they are brought to 0 to 255 by the stack's largest.
        mask: What is looked at.
    """
    largest = float(stack.max(initial=0.0))
    if largest <= 0:
        return None
    padding = [(0, 0), *((0, -size % BLOCK) for size in stack.shape[1:])]
    levels = np.round(255 * np.pad(stack, padding, mode="symmetric") / largest)
    usable = _blocks(within(np.pad(mask, padding, mode="symmetric"))).all(axis=(1, 2))
    blocks = _blocks(normalize(levels, border="nearest"))[usable]
    if not len(blocks):
        return None
    variance = blocks.var(axis=(1, 2), ddof=1)
    is_active = variance > ACTIVE_VARIANCE
    blocks, variance = blocks[is_active], variance[is_active]
    distortion = _is_patched(blocks) * (1 - variance) + _is_noisy(blocks) * variance
    return float(100 * (distortion.sum() + STABILIZER) / (len(blocks) + STABILIZER))


def _blocks(stack: np.ndarray) -> Float[np.ndarray, "b 16 16"] | Bool[np.ndarray, "b 16 16"]:
    slices, rows, columns = stack.shape
    cut = stack.reshape(slices, rows // BLOCK, BLOCK, columns // BLOCK, BLOCK)
    return cut.swapaxes(2, 3).reshape(-1, BLOCK, BLOCK)


def _is_patched(blocks: Float[np.ndarray, "b 16 16"]) -> Bool[np.ndarray, " b"]:
    borders = np.stack([blocks[:, 0], blocks[:, -1], blocks[:, :, 0], blocks[:, :, -1]], axis=1)
    stretches = np.lib.stride_tricks.sliding_window_view(borders, SEGMENT, axis=2)
    flat: np.ndarray = (stretches.std(axis=3, ddof=1) < FLAT_SPREAD).any(axis=(1, 2))
    return flat


def _is_noisy(blocks: Float[np.ndarray, "b 16 16"]) -> Bool[np.ndarray, " b"]:
    spread = blocks.std(axis=(1, 2), ddof=1)
    middle = blocks[:, :, MIDDLE].std(axis=(1, 2), ddof=1)
    surround = np.delete(blocks, REMOVED, axis=2).std(axis=(1, 2), ddof=1)
    ratio = np.divide(middle, surround, out=np.zeros_like(middle), where=surround > 0)
    noisy: np.ndarray = spread > 2 * np.abs(spread - ratio) / np.maximum(spread, ratio)
    return noisy
