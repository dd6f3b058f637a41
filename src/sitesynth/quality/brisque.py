"""BRISQUE (Mittal et al., 2012): how unlike a natural photograph the texture of images is.

An image minus its local mean, over its local spread, is nearly Gaussian in a photograph, and so are
products of neighbours; 18 parameters of their distributions at each of two scales go into a support
vector regression. The regression is that of the authors' release (LIVE); others circulate whose
scores do not compare, so its name and digest belong to every score. 0 is best and about 100 worst,
for photographs. Scans are none: compare with real scans of the same grid, and never with 0.

The background decides a score where it is let in: one grey level of noise in the air moved that of
a brain by 30 (docs/adr/0022). So only pixels whose window lies in the mask count, and the slices of
a stack are pooled: a hospital's grids are smaller than photographs. One image with a full mask gets
the published score.

Axes: s = slices, h, w = rows and columns, v = support vectors.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from typing import Final, final

import numpy as np
from jaxtyping import Bool, Float
from safetensors.numpy import load_file
from scipy import ndimage, special

from sitesynth.storage import digest_of_file


__all__ = ["MODEL_NAME", "brisque", "features", "model_digest", "normalize", "within"]

MODEL_NAME: Final = "LIVE release of 2011"
MODEL_FILE: Final = "brisque_live.safetensors"
GAMMA: Final = 0.05
"""Width of the regression's kernel, and below its offset: with the vectors, what libsvm keeps."""
OFFSET: Final = 153.591

NUM_SCALES: Final = 2
WINDOW_RADIUS: Final = 3
WINDOW_SIGMA: Final = 7 / 6
SHIFTS: Final = ((0, 1), (1, 0), (1, 1), (-1, 1))

ROUNDING: Final = 1e-9
"""Below this a coefficient is the rounding of a flat region, whose sign would count."""

MIN_PIXELS: Final = 64
"""With fewer in the mask there is no distribution to describe."""

Stack = Float[np.ndarray, "s h w"]
Mask = Bool[np.ndarray, "s h w"]


def brisque(stack: Stack, mask: Mask) -> float | None:
    """Return the score of a stack of slices; None if too little of it is in the mask.

    Args:
        stack: Grey levels, 0 to 255.
        mask: What is looked at.
    """
    described = features(stack, mask)
    if described is None:
        return None
    model = _model()
    scaled = 2 * (described - model.low) / (model.high - model.low) - 1
    kernel = np.exp(-GAMMA * ((model.vectors - scaled) ** 2).sum(axis=1))
    return float(model.coefficients @ kernel + OFFSET)


def features(stack: Stack, mask: Mask) -> Float[np.ndarray, " 36"] | None:
    """Return what the score is made from; None if a scale has too few pixels in the mask."""
    found = []
    for scale in range(NUM_SCALES):
        if scale:
            stack, mask = _halved(stack), _halved_mask(mask)
        if mask.sum() < MIN_PIXELS or (usable := within(mask)).sum() < MIN_PIXELS:
            return None
        normalized = normalize(stack, border="constant")
        found += _generalized_gaussian(normalized[usable])
        for shift in SHIFTS:
            shifted = np.roll(normalized, shift, axis=(1, 2))
            both = usable & np.roll(usable, shift, axis=(1, 2))
            found += _asymmetric_gaussian((normalized * shifted)[both])
    return np.array(found)


def normalize(stack: Stack, *, border: str) -> Stack:
    """Subtract from each pixel its local mean, and divide by its local spread plus one level."""
    mean, square = ndimage.gaussian_filter(
        np.stack([stack, stack**2]),
        (0, 0, WINDOW_SIGMA, WINDOW_SIGMA),
        radius=(0, 0, WINDOW_RADIUS, WINDOW_RADIUS),
        mode=border,
    )
    spread = np.sqrt(np.abs(square - mean**2))
    normalized: np.ndarray = (stack - mean) / (spread + 1)
    normalized[np.abs(normalized) < ROUNDING] = 0.0
    return normalized


def within(mask: Mask) -> Mask:
    """Return the pixels whose whole window is in the mask, as far as the image goes."""
    size = 2 * WINDOW_RADIUS + 1
    inside: np.ndarray = ndimage.minimum_filter(mask, (1, size, size), mode="nearest")
    return inside


def model_digest() -> str:
    """Return the SHA-256 of the regression."""
    with as_file(files("sitesynth.quality") / MODEL_FILE) as path:
        return digest_of_file(path)


@final
@dataclass(frozen=True, slots=True)
class _Model:
    vectors: Float[np.ndarray, "v 36"]
    coefficients: Float[np.ndarray, " v"]
    low: Float[np.ndarray, " 36"]
    """Range that each feature had among the photographs; scaled to [-1, 1]."""
    high: Float[np.ndarray, " 36"]


@cache
def _model() -> _Model:
    with as_file(files("sitesynth.quality") / MODEL_FILE) as path:
        arrays = {name: array.astype(np.float64) for name, array in load_file(path).items()}
    return _Model(**arrays)


SHAPES: Final = np.arange(0.2, 10.0005, 0.001)
RATIOS: Final = special.gamma(2 / SHAPES) ** 2 / (
    special.gamma(1 / SHAPES) * special.gamma(3 / SHAPES)
)
"""Squared mean of magnitudes over the mean square, of a generalized Gaussian of each shape."""


def _generalized_gaussian(values: np.ndarray) -> list[float]:
    """Return shape and variance, by moments."""
    square = float(np.square(values).mean())
    magnitude = float(np.abs(values).mean())
    if square == 0:
        return [float(SHAPES[0]), 0.0]
    return [_shape(magnitude**2 / square), square]


def _shape(ratio: float) -> float:
    """Return the shape of a ratio, which grows with it; to 0.001, like the release."""
    above = int(np.clip(np.searchsorted(RATIOS, ratio), 1, len(RATIOS) - 1))
    nearest = above - int(ratio - RATIOS[above - 1] < RATIOS[above] - ratio)
    return float(SHAPES[nearest])


def _asymmetric_gaussian(values: np.ndarray) -> list[float]:
    """Return shape, mean, and the variances left and right of 0, by moments."""
    below, above = values[values < 0], values[values > 0]
    left = float(np.sqrt(np.square(below).mean())) if len(below) else 0.0
    right = float(np.sqrt(np.square(above).mean())) if len(above) else 0.0
    if left == 0 or right == 0:
        return [float(SHAPES[0]), 0.0, left**2, right**2]
    skew = left / right
    ratio = float(np.abs(values).mean()) ** 2 / float(np.square(values).mean())
    ratio *= (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shape = _shape(ratio)
    one, two, three = special.gamma(np.array([1, 2, 3]) / shape)
    mean = (right - left) * two / one * np.sqrt(one / three)
    return [shape, float(mean), left**2, right**2]


def _halved(stack: np.ndarray) -> np.ndarray:
    """Shrink each slice to half its size, by the bicubic kernel with which the model was trained.

    The kernel of Keys (1981) stretched to two pixels a step, mirrored at the borders.
    """
    rows, columns = (_halving(size) for size in stack.shape[1:])
    halved: np.ndarray = rows @ stack @ columns.T
    return halved


def _halved_mask(mask: np.ndarray) -> np.ndarray:
    """Return the halved slices' pixels in which nothing from outside the mask has a part."""
    rows, columns = (np.abs(_halving(size)) for size in mask.shape[1:])
    inside: np.ndarray = rows @ (~mask).astype(np.float64) @ columns.T == 0
    return inside


@cache
def _halving(size: int) -> Float[np.ndarray, "half size"]:
    half = -(-size // 2)
    matrix = np.zeros((half, size))
    for row in range(half):
        centre = 2 * row + 0.5
        taps = np.arange(int(np.floor(centre)) - 3, int(np.floor(centre)) + 5)
        weights = _cubic((centre - taps) / 2)
        mirrored = np.concatenate([np.arange(size), np.arange(size)[::-1]])[taps % (2 * size)]
        np.add.at(matrix[row], mirrored, weights / weights.sum())
    return matrix


def _cubic(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    values: np.ndarray = np.where(x <= 1, near, np.where(x <= 2, far, 0.0))  # noqa: PLR2004
    return values
