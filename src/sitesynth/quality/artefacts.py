"""Scores of one fault each, without a reference: noise, blur, and the wrong grain.

BRISQUE and PIQE say that something is odd; these say what. Each pools the slices of a stack, and
counts only pixels whose whole window lies in the mask and in the image: nothing is made up beyond a
border.

- *noise level*, in grey levels: the spread of white noise that a filter would leave which takes out
  all that is straight (Immerkaer, 1996). Fine anatomy counts as noise, alike in all scans.
- *edge sharpness*, a ratio: the slope of the regression of gradients at a fine scale on those at a
  coarse one. Gradients at two scales tell how far an edge was blurred (Elder and Zucker, 1998; Zhuo
  and Sim, 2011, "Defocus map estimation from a single image"); in the regression strong edges
  decide. A slow ramp has 1, a step blurred by w pixels sqrt((2 w^2 + 3.92) / (2 w^2 + 2.45)), which
  is 1.26 at w = 0, and white noise 2.56. It knows no contrast.
- *fine power*, in decibels: the share of a slice's power above half the Nyquist frequency, which
  networks that enlarge get wrong (Durall et al., 2020, "Watch your up-convolution"), as the mean of
  periodograms of small overlapping patches (Welch, 1967).

None is better low or high: what counts is how far synthetic scans are from real ones of the same
grid.

Axes: s = slices, h, w = rows and columns.
"""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage


__all__ = ["ARTEFACTS", "edge_sharpness", "fine_power", "noise_level"]

Stack = Float[np.ndarray, "s h w"]
Mask = Bool[np.ndarray, "s h w"]

MIN_PIXELS: Final = 64
"""With fewer in the mask a score is mostly chance."""

LAPLACIANS: Final = np.array([[[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]]])
"""The difference of two Laplacians: no ramp and no straight edge along an axis passes it."""

FINE: Final = 0.7
COARSE: Final = 1.4
"""Spreads of the Gaussians under whose derivatives gradients are seen, in pixels."""

RADIUS: Final = 4
"""Of their windows, in pixels."""

PATCH: Final = 8
STEP: Final = 4
"""Size of a patch and how far the next one is, in pixels."""

HALF_NYQUIST: Final = 0.25
"""In cycles per pixel."""


def noise_level(stack: Stack, mask: Mask) -> float | None:
    """Return the standard deviation of noise, in the stack's unit; None if too little is seen."""
    usable = _within(mask, 1)
    if usable.sum() < MIN_PIXELS:
        return None
    left = np.abs(ndimage.convolve(stack, LAPLACIANS, mode="nearest")[usable])
    # The filter multiplies white noise's spread by 6, and a Gaussian's magnitude is
    # sqrt(2 / pi) of its spread on average.
    return float(np.sqrt(np.pi / 2) / 6 * left.mean())


def edge_sharpness(stack: Stack, mask: Mask) -> float | None:
    """Return how much steeper gradients are at a fine scale; None without any gradient."""
    usable = _within(mask, RADIUS)
    if usable.sum() < MIN_PIXELS:
        return None
    fine, coarse = (_gradients(stack, spread)[:, usable] for spread in (FINE, COARSE))
    energy = float((coarse**2).sum())
    return float((fine * coarse).sum()) / energy if energy > 0 else None


def fine_power(stack: Stack, mask: Mask) -> float | None:
    """Return the share of power above half Nyquist in decibels; None if no patch has any."""
    if min(stack.shape[1:]) < PATCH:
        return None
    windows = (PATCH, PATCH)
    patches, inside = (
        np.lib.stride_tricks.sliding_window_view(array, windows, axis=(1, 2))[:, ::STEP, ::STEP]
        for array in (stack, mask)
    )
    chosen = patches[inside.all(axis=(3, 4))]
    chosen = (chosen - chosen.mean(axis=(1, 2), keepdims=True)) * _window()
    power = (np.abs(np.fft.fft2(chosen)) ** 2).sum(axis=0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(PATCH), np.fft.fftfreq(PATCH)))
    whole, fine = power[frequency > 0].sum(), power[frequency > HALF_NYQUIST].sum()
    return float(10 * np.log10(fine / whole)) if fine > 0 else None


ARTEFACTS: Final[Mapping[str, Callable[[Stack, Mask], float | None]]] = {
    "noise_level": noise_level,
    "edge_sharpness": edge_sharpness,
    "fine_power": fine_power,
}


def _within(mask: Mask, radius: int) -> Mask:
    """Return the pixels whose whole window is in the mask and in the image."""
    size = 2 * radius + 1
    inside: np.ndarray = ndimage.minimum_filter(mask, (1, size, size), mode="constant", cval=0)
    return inside


def _gradients(stack: Stack, spread: float) -> Float[np.ndarray, "2 s h w"]:
    """Return derivatives down and across, under a Gaussian; those of a ramp are its slope."""
    found = [
        ndimage.gaussian_filter(
            stack, (0, spread, spread), order=order, radius=(0, RADIUS, RADIUS), mode="nearest"
        )
        for order in ((0, 1, 0), (0, 0, 1))
    ]
    # The window cuts the Gaussian off, and some of every slope with it.
    places = np.arange(-RADIUS, RADIUS + 1)
    weights = np.exp(-(places**2) / (2 * spread**2))
    slopes: np.ndarray = np.stack(found) * (spread**2 * weights.sum() / (places**2 @ weights))
    return slopes


def _window() -> Float[np.ndarray, "p p"]:
    """Return Hann's window: a patch's borders would pass for fine power."""
    along = np.sin(np.pi * (np.arange(PATCH) + 0.5) / PATCH) ** 2
    return np.outer(along, along)
