"""Bringing a generator's samples to the sharpness and the grey levels of its training scans.

What a small flow draws is too soft, and too grey in its darkest and brightest parts: both are what
an average over too few scans does to edges. Two steps undo as much of that as statistics of all
scans together can, for each sequence alone. First its spatial frequencies are amplified, band by
band, to the power that they have in the training scans, up to a limit: what is amplified beyond it
shows the blocks of the latent grid. Then its grey levels are mapped to theirs, quantile by quantile
(Nyúl and Udupa, 1999, map so between scans).

Nothing is added to a sample but what it has too little of, and no noise. What a bundle tells so are
averages over all training scans: some ninety numbers a sequence.

Axes: n = scans, s = sequences, then the grid.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Self, final

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field, model_validator

from sitesynth.errors import TrainingError
from sitesynth.images import ImageSet
from sitesynth.settings import CorrectionSettings, Section
from sitesynth.storage import read_json, write_json


__all__ = ["SequenceCorrection", "correct", "fit_correction", "read_correction", "write_correction"]

NUM_BANDS: Final = 13
BANDS_PER_CYCLE: Final = 20
"""Bands are a twentieth of a cycle per voxel wide; the last one holds all beyond 0.6."""

NUM_LEVELS: Final = 41
MAX_SHOWN: Final = 2**22
"""Voxels of a sequence that its grey levels are taken from; of more, every so many-th."""

DIGITS: Final = 4

Level = Annotated[float, Field(ge=0.0, le=1.0)]
Gain = Annotated[float, Field(gt=0.0, le=16.0)]


@final
class SequenceCorrection(Section):
    """What is done to one sequence of every sample."""

    gains: Annotated[
        tuple[Gain, ...], Field(strict=False, min_length=NUM_BANDS, max_length=NUM_BANDS)
    ]
    """By which each band of spatial frequencies is multiplied; the mean stays."""
    drawn: Annotated[tuple[Level, ...], Field(strict=False, min_length=2, max_length=NUM_LEVELS)]
    """Grey levels after that, each higher than the one before."""
    real: Annotated[tuple[Level, ...], Field(strict=False, min_length=2, max_length=NUM_LEVELS)]
    """What each becomes; in between linearly, beyond the ends as at the ends."""

    @model_validator(mode="after")
    def _levels_rise(self) -> Self:
        if len(self.drawn) != len(self.real):
            raise ValueError(f"{len(self.drawn)} levels become {len(self.real)}")
        steps = zip(self.drawn, self.drawn[1:], self.real, self.real[1:], strict=False)
        if any(high <= low or then < now for low, high, now, then in steps):
            raise ValueError("drawn levels must rise, and real ones must not fall")
        return self


def fit_correction(
    drawn: Float[np.ndarray, "n s ..."],
    scans: ImageSet,
    settings: CorrectionSettings,
) -> tuple[SequenceCorrection, ...]:
    """Find what brings samples nearer to training scans.

    Args:
        drawn: Samples, as the networks alone draw them; more channels than sequences are let be.
        scans: The training scans, read one at a time.
        settings: The `sampling.correction` section.

    Returns:
        One correction per sequence. A sequence that no training scan has stays as it is.

    Raises:
        TrainingError: If all voxels drawn of a sequence are alike.
    """
    grid = scans.grid
    bands = bands_of(grid)
    powers = np.zeros((len(scans.sequences), NUM_BANDS))
    levels: list[list[np.ndarray]] = [[] for _ in scans.sequences]
    stride = max(1, len(scans) * int(np.prod(grid)) // MAX_SHOWN)
    for number, present in enumerate(scans.presence.tolist()):
        voxels = scans.load([number])[0].numpy()
        for sequence in range(len(scans.sequences)):
            if present[sequence]:
                powers[sequence] += power_of(voxels[sequence], bands)
                levels[sequence].append(voxels[sequence].reshape(-1)[::stride])
    told = []
    for sequence, name in enumerate(scans.sequences):
        if not levels[sequence]:
            told.append(SequenceCorrection(gains=(1.0,) * NUM_BANDS, drawn=(0, 1), real=(0, 1)))
            continue
        samples = drawn[:, sequence]
        wanted = powers[sequence] / len(levels[sequence])
        given = np.mean([power_of(sample, bands) for sample in samples], axis=0)
        if not given.any():
            raise TrainingError(
                f"all voxels that the generator of {scans.table['site'].iloc[0]} draws of {name} "
                "are alike. Train it for more steps, or set sampling.correction to null."
            )
        # A small grid has bands without any frequency.
        ratio = np.sqrt(np.divide(wanted, given, out=np.ones(NUM_BANDS), where=given > 0))
        gains = np.round(np.clip(ratio, 1 / settings.max_gain, settings.max_gain), DIGITS)
        sharp = sharpened(samples, gains, bands)
        told.append(_matched(gains, sharp, np.concatenate(levels[sequence])))
    return tuple(told)


def correct(
    images: Float[np.ndarray, "n c ..."], corrections: Sequence[SequenceCorrection]
) -> Float[np.ndarray, "n c ..."]:
    """Return samples whose first channels, the sequences, are corrected.

    Args:
        images: Samples in [0, 1].
        corrections: One per sequence.
    """
    bands = bands_of(images.shape[2:])
    corrected = images.copy()
    for number, told in enumerate(corrections):
        sharp = sharpened(images[:, number], np.asarray(told.gains), bands)
        corrected[:, number] = np.interp(sharp, told.drawn, told.real)
    return corrected


def bands_of(grid: Sequence[int]) -> Int[np.ndarray, "..."]:
    """Return the band of each spatial frequency of a grid, by its length in cycles per voxel."""
    axes = np.meshgrid(*(np.fft.fftfreq(size) for size in grid), indexing="ij")
    lengths = np.sqrt(sum(axis**2 for axis in axes))
    return np.asarray(np.minimum((lengths * BANDS_PER_CYCLE).astype(int), NUM_BANDS - 1))


def power_of(
    voxels: Float[np.ndarray, "..."], bands: Int[np.ndarray, "..."]
) -> Float[np.ndarray, " b"]:
    """Return the mean power of each band, the mean of the voxels left out."""
    power = np.abs(np.fft.fftn(voxels - voxels.mean())) ** 2
    sums = np.bincount(bands.ravel(), weights=power.ravel(), minlength=NUM_BANDS)
    return np.asarray(sums / np.maximum(np.bincount(bands.ravel(), minlength=NUM_BANDS), 1))


def sharpened(
    samples: Float[np.ndarray, "n ..."],
    gains: Float[np.ndarray, " b"],
    bands: Int[np.ndarray, "..."],
) -> Float[np.ndarray, "n ..."]:
    """Return samples of one sequence with each band multiplied by its gain, in [0, 1]."""
    factors = gains[bands]
    factors[(0,) * factors.ndim] = 1.0
    axes = tuple(range(1, samples.ndim))
    spectra = np.fft.fftn(samples, axes=axes) * factors
    return np.asarray(np.fft.ifftn(spectra, axes=axes).real.clip(0.0, 1.0))


def _matched(gains: np.ndarray, sharp: np.ndarray, real: np.ndarray) -> SequenceCorrection:
    """Match the quantiles of sharpened samples and of scans; equal levels count once."""
    shares = np.linspace(0.0, 1.0, NUM_LEVELS)
    stride = max(1, sharp.size // MAX_SHOWN)
    levels, first = np.unique(
        np.round(np.quantile(sharp.reshape(-1)[::stride], shares), DIGITS), return_index=True
    )
    wanted = np.round(np.quantile(real, shares), DIGITS)[first]
    return SequenceCorrection(
        gains=tuple(gains.tolist()), drawn=tuple(levels.tolist()), real=tuple(wanted.tolist())
    )


def write_correction(file: Path, found: Sequence[SequenceCorrection] | None) -> None:
    """Write a site's correction, or that it has none."""
    told = None if found is None else [each.model_dump(mode="json") for each in found]
    write_json(file, {"correction": told})


def read_correction(file: Path) -> tuple[SequenceCorrection, ...] | None:
    """Read what `write_correction` has written."""
    told = read_json(file)["correction"]
    return None if told is None else tuple(map(SequenceCorrection.model_validate, told))
