"""Phantoms on a study's grid, to train an autoencoder on that every site can share (ADR 29).

Who they are and how they are scanned depends on the study's seed alone, so every site draws the
same ones, and no file has to travel. They are nobody's patients, and no site's scanner is copied:
each phantom has a scanner of its own, drawn from a range wider than a hospital's.
"""

import tempfile
from pathlib import Path
from typing import Final

import numpy as np

from sitesynth import seeds
from sitesynth.images import MASK, TABLE_COLUMNS, ImageSet, read_images, write_index, write_voxels
from sitesynth.phantom.consortium import draw_patients, render_patient
from sitesynth.preprocessing.scans import channels_of, preprocess_scan
from sitesynth.settings import (
    PRESENCE,
    CohortSettings,
    GridSettings,
    IntensitySettings,
    PhantomSettings,
    PhantomSiteSettings,
)
from sitesynth.tracking import OnStep
from sitesynth.volumes import write_nifti


__all__ = ["NOBODY", "draw_phantoms"]

NOBODY: Final = "phantom"
"""The site that phantoms belong to; names their randomness, and the shared autoencoder's."""

RANGES: Final = {
    "contrast": (0.7, 1.4),
    "bias_field": (0.0, 0.4),
    "noise": (0.02, 0.06),
    "blur_mm": (1.5, 4.0),
}
"""Of each phantom's scanner; see `PhantomSiteSettings`."""

SPACING_MM: Final = (2.5, 2.5, 4.0)
MUTANT_FRACTION: Final = 0.5
ASTROCYTOMA_FRACTION: Final = 0.6
SEPARATION: Final = 1.0


def draw_phantoms(
    folder: Path,
    *,
    num_phantoms: int,
    cohort: CohortSettings,
    grid: GridSettings,
    intensity: IntensitySettings,
    seed: int,
    on_scan: OnStep = lambda number, values: None,
) -> ImageSet:
    """Draw phantoms, scan them, and bring them to the study's grid, continuing where it stopped.

    Args:
        folder: The image set to write.
        num_phantoms: How many.
        cohort: The study's sequences, and whether it has masks; no phantom lacks one.
        grid: The grid that every scan is brought to.
        intensity: How intensities are brought to [0, 1].
        seed: Root seed of the study.
        on_scan: Told after each phantom how many there are.

    Returns:
        The phantoms, all in the training split.
    """
    channels = channels_of(cohort)
    usual = PhantomSiteSettings(
        num_patients=num_phantoms,
        mutant_fraction=MUTANT_FRACTION,
        mean_age_shift=0.0,
        **{name: float(np.mean(ends)) for name, ends in RANGES.items()},
        spacing_mm=SPACING_MM,
        orientation="RAS",
        scanner=NOBODY,
        field_strength_t=3.0,
        missing_fraction=0.0,
    )
    everyone = PhantomSettings(
        separation=SEPARATION, astrocytoma_fraction=ASTROCYTOMA_FRACTION, sites={NOBODY: usual}
    )
    rows = []
    for number, patient in enumerate(draw_patients(NOBODY, everyone, seed=seed), start=1):
        name = patient.patient_id
        if not (folder / "voxels" / f"{name}.npy").exists():
            rng = seeds.numpy_generator(seed, "phantom", name, "any scanner")
            drawn = {knob: float(rng.uniform(*ends)) for knob, ends in RANGES.items()}
            scanner = usual.model_copy(update=drawn)
            with tempfile.TemporaryDirectory() as scratch:
                paths = {}
                for channel, volume in render_patient(patient, scanner, seed=seed).items():
                    if channel in channels:
                        paths[channel] = Path(scratch) / f"{channel}.nii.gz"
                        dtype = np.uint8 if channel == MASK else np.int16
                        write_nifti(paths[channel], volume, dtype=dtype)
                voxels = preprocess_scan(
                    paths, channels=channels, grid=grid, intensity=intensity, mask_labels=None
                )
            write_voxels(folder, name, voxels)
        rows.append(
            dict(zip(TABLE_COLUMNS, (name, name, NOBODY, "train"), strict=True))
            | {f"{PRESENCE}{channel}": "true" for channel in channels}
        )
        on_scan(number, {})
    write_index(folder, channels=channels, grid=grid.shape, rows=rows, about={"site": NOBODY})
    return read_images(folder)
