"""What an audit of a generator looks at: a site's real scans, and scans drawn for the audit.

Both are described one scan at a time, by `sitesynth.described`.

The audit draws its own synthetic scans: as many of each class as the training set has, so that a
difference in class mix is not taken for one in quality, and with noise that no released scan uses.
Each gets the covariates of its training scan: that is what someone after a patient would ask for.

Axes: v = covariates.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sitesynth.described import Described, Observer, describe
from sitesynth.features import extractor_for
from sitesynth.generators.covariates import values_of
from sitesynth.generators.generator import Generator, latent_shape
from sitesynth.images import UNKNOWN_LABEL, ImageSet
from sitesynth.sampling import Solver, draw_noise, sample_images
from sitesynth.settings import SamplingSettings
from sitesynth.threads import in_order


__all__ = ["describe_synthetic", "draw_like"]


def draw_like(
    generator: Generator,
    training: ImageSet,
    *,
    samples_per_scan: int,
    sampling: SamplingSettings,
    seed: int,
    purpose: str,
) -> Iterator[Float[np.ndarray, "c ..."]]:
    """Draw scans from a generator that have the classes and covariates of its training scans.

    Args:
        generator: The generator that is looked at.
        training: Its training scans, whose classes and covariates the synthetic ones get.
        samples_per_scan: Synthetic scans per training scan.
        sampling: How the hub will draw.
        seed: Root seed of the study.
        purpose: Names the noise, e.g. `privacy`.

    Yields:
        Block after block of `len(training)` scans, each in the order of the training scans: number
        i has the class and the covariates of training scan i modulo `len(training)`.
    """
    config = generator.config
    labels = training.labels(config.label, config.classes).tolist() * samples_per_scan
    values = values_of(config.covariates, training.table)
    shape = latent_shape(config)
    size, solver = sampling.batch_size, Solver.of(sampling)

    def drawn_from(start: int) -> Float[np.ndarray, "n c ..."]:
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
        return np.asarray(images[: len(wanted)])

    for images in in_order(drawn_from, range(0, len(labels), size)):
        yield from images


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
    """Draw scans from a generator and describe them; see `draw_like`.

    Args:
        generator: The generator that is audited.
        training: Its training scans.
        samples_per_scan: Synthetic scans per training scan.
        sampling: How the hub will draw.
        seed: Root seed of the study.
        purpose: Names the noise, e.g. `privacy`.
        observe: Shown each scan with its number, from 0.
    """
    drawn = draw_like(
        generator,
        training,
        samples_per_scan=samples_per_scan,
        sampling=sampling,
        seed=seed,
        purpose=purpose,
    )
    total, channels = len(training) * samples_per_scan, generator.config.channels
    presence = np.ones((total, len(channels)), dtype=bool)
    names = tuple(f"synthetic {number}" for number in range(total))
    extractor = extractor_for(channels, len(generator.config.grid))
    return describe(drawn, extractor, presence, names, observe)


def _taken(values: Float[Tensor, "n v"], start: int, size: int) -> Float[Tensor, "size v"]:
    """Return `size` rows from `start` on of rows that repeat without end."""
    return values[torch.arange(start, start + size) % len(values)]
