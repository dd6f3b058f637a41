"""What a scanner makes of a head: signal, contrast, bias field, blur, noise, and a file's axes.

The signal of white matter is 1 in every sequence before the scanner acts, and stays 1 under any
contrast exponent, so that a site's noise is a share of it.

Axes: x right, y anterior, z superior; s sequences.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from jaxtyping import Float, Shaped
from scipy import ndimage

from sitesynth.phantom.anatomy import TISSUES
from sitesynth.phantom.attributes import Look
from sitesynth.phantom.fields import FIELD_OF_VIEW_MM, Axes, SmoothField
from sitesynth.phantom.tumour import COMPARTMENTS, Painted


__all__ = [
    "SEQUENCES",
    "WHITE_MATTER_UNITS",
    "acquire",
    "affine_of",
    "grid_axes",
    "oriented",
    "signal_of",
]

Grid = Float[np.ndarray, "x y z"]

SEQUENCES: Final = ("t1", "t1c", "t2", "flair")

WHITE_MATTER_UNITS: Final = 100.0
"""Signal of white matter in a file, whose voxels are whole numbers."""

FWHM_PER_SIGMA: Final = 2.354820045
"""Full width at half maximum of a Gaussian, in standard deviations: 2 sqrt(2 ln 2)."""

# By tissue: signal on t1, t1c, t2, flair, relative to white matter's. The order of the tissues
# within each sequence is that of clinical spin echo at 1.5 to 3 T.
TISSUE_SIGNAL: Final[Mapping[str, tuple[float, float, float, float]]] = {
    "scalp": (1.40, 1.45, 1.60, 1.40),
    "muscle": (0.60, 0.75, 0.65, 0.60),
    "skull": (0.15, 0.18, 0.15, 0.15),
    "fluid": (0.28, 0.28, 2.90, 0.25),
    "grey": (0.72, 0.75, 1.50, 1.30),
    "white": (1.00, 1.00, 1.00, 1.00),
    "nuclei": (0.82, 0.86, 1.30, 1.20),
    "vessel": (0.50, 2.00, 0.50, 0.40),
}
CORE_SIGNAL: Final = (0.68, 0.70, 2.15, 2.00)
NECROSIS_SIGNAL: Final = (0.32, 0.32, 2.80, 1.45)
OEDEMA_SIGNAL: Final = (0.74, 0.76, 1.95, 2.05)

MISMATCHED_FLAIR: Final = 0.45
"""Signal on flair of a core with full T2-FLAIR mismatch."""

MISMATCHED_T2: Final = 2.50
"""Its signal on t2: brighter than an ordinary core, and even."""

INNER_ENHANCEMENT: Final = 0.45
"""Enhancement inside the rim, as a share of the rim's."""

TEXTURE: Final = (-0.12, -0.15, 0.25, 0.25)
"""Relative change of the core's signal per standard deviation of texture, if heterogeneous."""


def grid_axes(spacing_mm: tuple[float, float, float]) -> Axes:
    """Place voxel centres over the field of view, symmetrically."""
    axes = []
    for (low, high), spacing in zip(FIELD_OF_VIEW_MM, spacing_mm, strict=True):
        count = max(2, int((high - low) / spacing))
        axes.append((low + high) / 2 + spacing * (np.arange(count) - (count - 1) / 2))
    return axes[0], axes[1], axes[2]


def signal_of(
    tissues: Float[np.ndarray, "tissue x y z"], painted: Painted, look: Look
) -> Float[np.ndarray, "s x y z"]:
    """Mix the signals of what is in each voxel, without any scanner's mark."""
    signal = _mixed(tissues, [TISSUE_SIGNAL[tissue] for tissue in TISSUES])
    compartments = _compartment_signals(look)
    inside = (slice(None), *painted.box)
    total = painted.shares.sum(axis=0)
    tumour = _mixed(painted.shares, [compartments[name] for name in COMPARTMENTS])
    core = total - painted.shares[COMPARTMENTS.index("oedema")]
    texture = np.clip(painted.texture, -2.0, 2.0) * core * look.heterogeneity
    for number, change in enumerate(TEXTURE):
        tumour[number] *= 1.0 + change * texture
    signal[inside] *= 1.0 - total
    signal[inside] += tumour
    return signal


def acquire(
    signal: Grid,
    axes: Axes,
    *,
    contrast: float,
    bias: SmoothField,
    bias_field: float,
    blur_mm: float,
    noise: float,
    rng: np.random.Generator,
) -> Grid:
    """Let a scanner act on one sequence, in the order of physics.

    Args:
        signal: The ideal image; white matter is 1.
        axes: The grid's coordinates in mm.
        contrast: Exponent of the signal; above 1 it spreads the tissues, and white stays 1.
        bias: Course of the coil's sensitivity.
        bias_field: Its peak-to-peak amplitude over the field of view, as a share of the signal.
        blur_mm: Full width at half maximum of the point spread.
        noise: Standard deviation in each of the two receiver channels, in units of white matter.
        rng: Source of the noise.

    Returns:
        Magnitudes: Rician where there is signal, Rayleigh in air (Gudbjartsson and Patz, 1995).
    """
    image = signal**contrast
    sensitivity = bias.on(axes)
    extent = sensitivity.max() - sensitivity.min()
    sensitivity -= sensitivity.min() + 0.5 * extent
    sensitivity *= bias_field / extent
    sensitivity += 1.0
    image *= sensitivity
    for axis, places in enumerate(axes):
        sigma = blur_mm / FWHM_PER_SIGMA / (places[1] - places[0])
        # Under a quarter of a voxel the kernel is a single weight.
        if sigma > 0.25:  # noqa: PLR2004
            image = ndimage.gaussian_filter1d(image, sigma, axis=axis, truncate=3.0)
    image += noise * rng.standard_normal(image.shape, dtype=np.float32)
    image *= image
    image += (noise * rng.standard_normal(image.shape, dtype=np.float32)) ** 2
    return np.sqrt(image, out=image)


def affine_of(axes: Axes, orientation: str) -> Float[np.ndarray, "4 4"]:
    """Build the affine, from voxel to RAS millimetres, of a file with these axis codes."""
    affine = np.eye(4)
    for axis, (places, code, positive) in enumerate(zip(axes, orientation, "RAS", strict=True)):
        step = places[1] - places[0]
        affine[axis, axis] = step if code == positive else -step
        affine[axis, 3] = places[0] if code == positive else places[-1]
    return affine


def oriented(voxels: Shaped[np.ndarray, "x y z"], orientation: str) -> Shaped[np.ndarray, "x y z"]:
    """Turn voxels on RAS axes into a file's order; a view, not a copy."""
    steps = [
        slice(None, None, 1 if code == positive else -1)
        for code, positive in zip(orientation, "RAS", strict=True)
    ]
    return voxels[tuple(steps)]


def _compartment_signals(look: Look) -> dict[str, tuple[float, float, float, float]]:
    """Signal of each compartment on t1, t1c, t2, flair."""
    t1, t1c, t2, flair = CORE_SIGNAL
    t2 += look.mismatch * (MISMATCHED_T2 - t2)
    dark = flair + look.mismatch * (MISMATCHED_FLAIR - flair)
    inner = t1c + INNER_ENHANCEMENT * look.enhancement
    necrosis = (*NECROSIS_SIGNAL[:3], NECROSIS_SIGNAL[3] * dark / flair)
    return {
        "rim": (t1, t1c + look.enhancement, t2, dark),
        "margin": (t1, t1c + look.enhancement, t2, flair),
        "core": (t1, inner, t2, dark),
        "necrosis": necrosis,
        "oedema": OEDEMA_SIGNAL,
    }


def _mixed(
    shares: Float[np.ndarray, "part x y z"], signals: Sequence[tuple[float, float, float, float]]
) -> Float[np.ndarray, "s x y z"]:
    """Sum the signals of the parts of each voxel."""
    images = np.zeros((len(SEQUENCES), *shares.shape[1:]), dtype=np.float32)
    part = np.empty(shares.shape[1:], dtype=np.float32)
    for share, by_sequence in zip(shares, signals, strict=True):
        for number, value in enumerate(by_sequence):
            images[number] += np.multiply(share, value, out=part)
    return images
