"""What an audit of a generator looks at: a site's real scans, and scans drawn for the audit.

Each scan is read or drawn once, described, and let go; what is kept of it is small whatever the
grid: its features, and a thumbnail. So an audit's memory grows with the number of scans, not with
their voxels.

The audit draws its own synthetic scans: as many of each class as the training set has, so that a
difference in class mix is not taken for one in quality, and with noise that no released scan uses.
Each gets the covariates of its training scan: that is what someone after a patient would ask for.

Axes: n = scans, c = channels, d = features, then the grid.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import Final, final

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sitesynth.errors import CohortError
from sitesynth.features import Extractor, extractor_for
from sitesynth.generators.covariates import values_of
from sitesynth.generators.generator import Generator, latent_shape
from sitesynth.images import UNKNOWN_LABEL, ImageSet
from sitesynth.sampling import Solver, draw_noise, sample_images
from sitesynth.settings import SamplingSettings


__all__ = [
    "Described",
    "Observer",
    "describe_real",
    "describe_synthetic",
    "shrink",
]

Observer = Callable[[int, np.ndarray], None]
"""Is shown a scan, which is let go afterwards, and its number."""

THUMBNAIL_VOXELS: Final = 32
"""Most voxels of a thumbnail along an axis."""


@final
@dataclass(frozen=True)
class Described:
    """What is kept of some scans."""

    features: Float[np.ndarray, "n d"]
    """NaN where a channel is missing."""

    thumbnails: Float[np.ndarray, "n c ..."]
    """Scans averaged over blocks of voxels; zeros where a channel is missing."""

    presence: Bool[np.ndarray, "n c"]

    patients: tuple[str, ...]
    """Whose each scan is; each synthetic scan is its own."""

    def __len__(self) -> int:
        """Return the number of scans."""
        return len(self.patients)


def describe_real(
    images: ImageSet, *, observe: Observer = lambda number, voxels: None
) -> Described:
    """Describe real scans, one at a time.

    Args:
        images: The scans.
        observe: Shown each scan with its number, from 0.

    Raises:
        CohortError: If there is none: an audit without training or held-out scans says nothing.
    """
    if not len(images):
        raise CohortError(
            "an audit compares training with held-out scans of a site, but one of the splits is "
            "empty. Set split.validation_fraction above 0, or give the table's split column "
            "validation scans."
        )
    scans = (np.asarray(images.load([index])[0]) for index in range(len(images)))
    patients = tuple(str(patient) for patient in images.table["patient_id"])
    extractor = extractor_for(images.channels, len(images.grid))
    return _describe(scans, extractor, np.asarray(images.presence), patients, observe)


def describe_synthetic(
    generator: Generator,
    training: ImageSet,
    *,
    samples_per_scan: int,
    sampling: SamplingSettings,
    seed: int,
    purpose: str,
    observe: Observer = lambda number, voxels: None,
) -> Described:
    """Draw scans from a generator and describe them.

    Args:
        generator: The generator that is audited.
        training: Its training scans, whose classes and covariates the synthetic ones get.
        samples_per_scan: Synthetic scans per training scan.
        sampling: How the hub will draw.
        seed: Root seed of the study.
        purpose: Names the noise, e.g. `privacy`.
        observe: Shown each scan with its number, from 0.

    Returns:
        Block after block of `len(training)` scans, each in the order of the training scans: number
        i has the class and the covariates of training scan i modulo `len(training)`.
    """
    config = generator.config
    labels = training.labels(config.label, config.classes).tolist() * samples_per_scan
    values = values_of(config.covariates, training.table)
    shape = latent_shape(config)
    size, solver = sampling.batch_size, Solver.of(sampling)

    def draw() -> Iterator[np.ndarray]:
        for start in range(0, len(labels), size):
            # A last, smaller batch is padded: sums must not depend on how many scans are wanted.
            wanted = labels[start : start + size]
            numbers = range(start, start + size)
            noise = draw_noise(
                numbers,
                shape,
                solver=solver,
                seed=seed,
                site=config.site,
                name=f"audit of {purpose}",
            )
            images = sample_images(
                generator,
                noise,
                wanted + [UNKNOWN_LABEL] * (size - len(wanted)),
                covariates=None if values is None else _taken(values, start, size),
                solver=solver,
            )
            yield from np.asarray(images[: len(wanted)])

    presence = np.ones((len(labels), len(config.channels)), dtype=bool)
    names = tuple(f"synthetic {number}" for number in range(len(labels)))
    extractor = extractor_for(config.channels, len(config.grid))
    return _describe(draw(), extractor, presence, names, observe)


def shrink(voxels: Float[np.ndarray, "c ..."], *, most: int) -> Float[np.ndarray, "c ..."]:
    """Average over equal blocks of voxels, so that no axis has more than `most`.

    The blocks are as long along each axis, as far as the axis goes. What does not fill a block is
    cut off, on both sides.
    """
    longest = max(1, ceil(max(voxels.shape[1:]) / most))
    for axis in range(1, voxels.ndim):
        block = min(longest, voxels.shape[axis])
        kept = voxels.shape[axis] // block
        start = (voxels.shape[axis] - kept * block) // 2
        cut = voxels.take(range(start, start + kept * block), axis=axis)
        split = (*cut.shape[:axis], kept, block, *cut.shape[axis + 1 :])
        voxels = cut.reshape(split).mean(axis=axis + 1)
    return voxels


def _taken(values: Float[Tensor, "n v"], start: int, size: int) -> Float[Tensor, "size v"]:
    """Return `size` rows from `start` on of rows that repeat without end."""
    return values[torch.arange(start, start + size) % len(values)]


def _describe(
    scans: Iterator[np.ndarray],
    extractor: Extractor,
    presence: np.ndarray,
    patients: tuple[str, ...],
    observe: Observer,
) -> Described:
    features, thumbnails = [], []
    for number, (voxels, present) in enumerate(zip(scans, presence, strict=True)):
        features.append(extractor.extract(voxels, present))
        thumbnails.append(shrink(voxels, most=THUMBNAIL_VOXELS))
        observe(number, voxels)
    return Described(np.stack(features), np.stack(thumbnails), presence, patients)
