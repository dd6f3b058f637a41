"""The patients of the phantom's hospitals, their scans, and the tables that list them.

A patient is a function of (seed, site, number): more patients, more sites or another scanner leave
every other draw as it was. What a scanner adds (bias field, noise) is drawn apart from the anatomy,
so the same patient can be scanned twice.
"""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, final

import numpy as np

from sitesynth.phantom.anatomy import draw_head, place, tissue_shares
from sitesynth.phantom.attributes import (
    ATTRIBUTES,
    IDH_OF_TYPE,
    TUMOUR_TYPES,
    class_means,
    look_of,
)
from sitesynth.phantom.fields import draw_field
from sitesynth.phantom.scanner import (
    SEQUENCES,
    WHITE_MATTER_UNITS,
    acquire,
    affine_of,
    grid_axes,
    oriented,
    signal_of,
)
from sitesynth.phantom.tumour import draw_tumour, paint, push
from sitesynth.seeds import numpy_generator
from sitesynth.settings import PhantomSettings, PhantomSiteSettings
from sitesynth.volumes import Volume, write_nifti


__all__ = ["Patient", "draw_patients", "render_patient", "write_site"]

# Mean and standard deviation of the age at diagnosis in years, rounded from the series that the
# WHO classification of 2021 cites: wild-type glioblastoma is a disease of the elderly.
AGE_YEARS: Final = {
    "glioblastoma": (62.0, 10.0),
    "astrocytoma": (39.0, 10.0),
    "oligodendroglioma": (44.0, 10.0),
}
YOUNGEST, OLDEST = 18.0, 89.0

GOLDEN_SHARE: Final = 0.6180339887498949
"""Steps of this share spread points over [0, 1) more evenly than independent draws."""

BIAS_LENGTH_MM: Final = 70.0


@final
@dataclass(frozen=True, slots=True)
class Patient:
    """One patient of one site, before any image is made."""

    patient_id: str
    tumour_type: str
    idh: str
    age: int
    sex: str
    attributes: tuple[float, ...]
    """Latent values z, in the order of `sitesynth.phantom.attributes.ATTRIBUTES`."""

    missing: str | None
    """The sequence that was not acquired."""


def draw_patients(site: str, settings: PhantomSettings, *, seed: int) -> list[Patient]:
    """Draw the patients of one site.

    Tumour types follow a low-discrepancy sequence with a random start: each patient's type has the
    stated probabilities, and so does nearly every stretch of patients, which makes the site's
    prevalence a known quantity and not one more draw.

    Args:
        site: A key of `settings.sites`.
        settings: The consortium.
        seed: The study's seed.

    Returns:
        As many patients as the site has, numbered from 001.
    """
    site_settings = settings.sites[site]
    start = numpy_generator(seed, "phantom", site, "types").random()
    patients = []
    for number in range(1, site_settings.num_patients + 1):
        share = (start + number * GOLDEN_SHARE) % 1.0
        tumour_type = _type_at(share, site_settings.mutant_fraction, settings.astrocytoma_fraction)
        patient_id = f"{site}-{number:03d}"
        rng = numpy_generator(seed, "phantom", patient_id, "patient")
        means = class_means(settings.separation)[TUMOUR_TYPES.index(tumour_type)]
        values = means + rng.standard_normal(len(ATTRIBUTES))
        mean_age, spread = AGE_YEARS[tumour_type]
        age = mean_age + site_settings.mean_age_shift + spread * rng.standard_normal()
        sex = "F" if rng.random() < 0.5 else "M"  # noqa: PLR2004
        lacks_one = rng.random() < site_settings.missing_fraction
        candidate = SEQUENCES[int(rng.integers(len(SEQUENCES)))]
        patients.append(
            Patient(
                patient_id=patient_id,
                tumour_type=tumour_type,
                idh=IDH_OF_TYPE[tumour_type],
                age=round(min(max(age, YOUNGEST), OLDEST)),
                sex=sex,
                attributes=tuple(float(value) for value in values),
                missing=candidate if lacks_one else None,
            )
        )
    return patients


def render_patient(patient: Patient, site: PhantomSiteSettings, *, seed: int) -> dict[str, Volume]:
    """Scan one patient with one site's scanner.

    Args:
        patient: Who is scanned.
        site: The scanner; the patient may come from elsewhere.
        seed: The study's seed.

    Returns:
        A volume for each sequence that is not missing, then `mask`: whole numbers as float32, in
        the orientation and at the spacing of the site's files. White matter is near
        `WHITE_MATTER_UNITS`; the mask is 0 or 1, and never empty.
    """
    rng = numpy_generator(seed, "phantom", patient.patient_id, "anatomy")
    head = draw_head(rng=rng)
    look = look_of(np.array(patient.attributes))
    tumour = draw_tumour(look, head, rng=rng)

    axes = grid_axes(site.spacing_mm)
    placed = place(head, axes)
    pushed = push(tumour, placed)
    tissues = tissue_shares(head, placed, pushed)
    painted = paint(tumour, placed, pushed, tissues)
    signal = signal_of(tissues, painted, look)

    affine = affine_of(axes, site.orientation)
    volumes = {}
    for sequence, ideal in zip(SEQUENCES, signal, strict=True):
        if sequence == patient.missing:
            continue
        scanner_rng = numpy_generator(seed, "phantom", patient.patient_id, "scanner", sequence)
        image = acquire(
            ideal,
            axes,
            contrast=site.contrast,
            bias=draw_field(BIAS_LENGTH_MM, rng=scanner_rng),
            bias_field=site.bias_field,
            blur_mm=site.blur_mm,
            noise=site.noise,
            rng=scanner_rng,
        )
        image *= WHITE_MATTER_UNITS
        volumes[sequence] = Volume(oriented(np.rint(image), site.orientation), affine)
    mask = np.zeros(tissues.shape[1:], dtype=np.float32)
    mask[painted.box] = painted.mask
    volumes["mask"] = Volume(oriented(mask, site.orientation), affine)
    return volumes


def write_site(
    site: str,
    settings: PhantomSettings,
    folder: Path,
    *,
    seed: int,
    on_scan: Callable[[str], None],
) -> list[dict[str, str]]:
    """Write the scans of one site, `scans/<scan_id>_<sequence>.nii.gz` and `_mask.nii.gz`.

    Each file is whole or absent, and a second call writes the same bytes, so a call that was killed
    is repeated.

    Args:
        site: A key of `settings.sites`.
        settings: The consortium.
        folder: Where `scans/` is made.
        seed: The study's seed.
        on_scan: Told the id of each scan that has been written.

    Returns:
        The rows of the site's cohort table, with paths relative to `folder`; an absent sequence
        and the split are "".
    """
    site_settings = settings.sites[site]
    patients = draw_patients(site, settings, seed=seed)
    write = partial(_write_scan, site=site_settings, folder=folder, seed=seed)
    rows = []
    # Each patient has seeds of their own, so it does not matter who renders whom.
    with ProcessPoolExecutor() as workers:
        for patient, paths in zip(patients, workers.map(write, patients), strict=True):
            on_scan(patient.patient_id)
            rows.append(
                {
                    "patient_id": patient.patient_id,
                    "scan_id": patient.patient_id,
                    "site": site,
                    "split": "",
                    "idh": patient.idh,
                    "tumour_type": patient.tumour_type,
                    "age": str(patient.age),
                    "sex": patient.sex,
                    "scanner": site_settings.scanner,
                    "field_strength_t": str(site_settings.field_strength_t),
                    **paths,
                }
            )
    return rows


def _write_scan(
    patient: Patient, *, site: PhantomSiteSettings, folder: Path, seed: int
) -> dict[str, str]:
    """Write one patient's scan; return the path of each file, "" for an absent sequence."""
    paths = dict.fromkeys((*SEQUENCES, "mask"), "")
    for name, volume in render_patient(patient, site, seed=seed).items():
        paths[name] = f"scans/{patient.patient_id}_{name}.nii.gz"
        dtype = np.uint8 if name == "mask" else np.int16
        write_nifti(folder / paths[name], volume, dtype=dtype)
    return paths


def _type_at(share: float, mutant_fraction: float, astrocytoma_fraction: float) -> str:
    """Cut [0, 1) into the tumour types' shares, and name the one at `share`."""
    if share < mutant_fraction * astrocytoma_fraction:
        return "astrocytoma"
    if share < mutant_fraction:
        return "oligodendroglioma"
    return "glioblastoma"
