"""Patients, their scans and the table of a site."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sitesynth.phantom.attributes import ATTRIBUTES, TUMOUR_TYPES, class_means
from sitesynth.phantom.consortium import Patient, draw_patients, render_patient, write_site
from sitesynth.phantom.scanner import SEQUENCES, WHITE_MATTER_UNITS
from sitesynth.settings import PhantomSettings, PhantomSiteSettings
from sitesynth.storage import digest_of_file


def _resized(settings: PhantomSettings, **changes: float) -> PhantomSettings:
    """Return the same consortium with other knobs at its first site."""
    changed = settings.sites["ash"].model_copy(update=changes)
    return settings.model_copy(update={"sites": {**settings.sites, "ash": changed}})


@pytest.fixture
def patient(settings: PhantomSettings) -> Patient:
    """Return a patient who has every sequence, half way in every attribute."""
    first = draw_patients("ash", settings, seed=3)[0]
    middles = tuple(attribute.middle for attribute in ATTRIBUTES)
    return replace(first, missing=None, attributes=middles)


def test_a_patient_does_not_depend_on_how_many_there_are(settings: PhantomSettings) -> None:
    few = draw_patients("ash", _resized(settings, num_patients=5), seed=3)

    assert few == draw_patients("ash", settings, seed=3)[:5]
    assert few != draw_patients("ash", _resized(settings, num_patients=5), seed=4)


def test_patients_of_two_sites_are_different_people(settings: PhantomSettings) -> None:
    ash, beech = (draw_patients(name, settings, seed=3) for name in ("ash", "beech"))

    assert {p.patient_id for p in ash}.isdisjoint(p.patient_id for p in beech)
    assert {p.attributes for p in ash}.isdisjoint(p.attributes for p in beech)


@pytest.mark.parametrize(("name", "prevalence"), [("ash", 0.4), ("beech", 0.75)])
def test_a_site_has_its_prevalence_up_to_two_patients(
    settings: PhantomSettings, name: str, prevalence: float
) -> None:
    """The golden sequence fills an interval up to 2 of 40 points."""
    for seed in range(5):
        patients = draw_patients(name, settings, seed=seed)
        mutants = sum(patient.idh == "mutant" for patient in patients)
        assert abs(mutants - prevalence * len(patients)) <= 2


def test_attributes_have_their_class_means_and_unit_spread(settings: PhantomSettings) -> None:
    """Six hundred patients: the bounds are 4.5 standard errors."""
    patients = draw_patients("ash", _resized(settings, num_patients=600), seed=3)
    means = class_means(settings.separation)
    for index, tumour_type in enumerate(TUMOUR_TYPES):
        values = np.array([p.attributes for p in patients if p.tumour_type == tumour_type])
        np.testing.assert_allclose(values.mean(axis=0), means[index], atol=4.5 / len(values) ** 0.5)
        np.testing.assert_allclose(values.std(axis=0), 1.0, atol=4.5 / (2 * len(values)) ** 0.5)


def test_mutants_are_younger_and_a_site_shifts_every_age(settings: PhantomSettings) -> None:
    patients = draw_patients("ash", _resized(settings, num_patients=300), seed=3)
    older = draw_patients("ash", _resized(settings, num_patients=300, mean_age_shift=5.0), seed=3)
    ages = {
        idh: np.mean([p.age for p in patients if p.idh == idh]) for idh in ("mutant", "wildtype")
    }

    assert ages["wildtype"] - ages["mutant"] == pytest.approx(20.5, abs=4.0)
    shifts = Counter(o.age - p.age for o, p in zip(older, patients, strict=True))
    # Only who was, or becomes, too young or too old is moved by another number of years.
    assert shifts[5] > 280


def test_at_most_one_sequence_is_missing_and_as_often_as_stated(settings: PhantomSettings) -> None:
    patients = draw_patients("ash", _resized(settings, num_patients=400), seed=3)
    missing = Counter(patient.missing for patient in patients)

    assert set(missing) == {None, *SEQUENCES}
    # Half of 400, with a standard deviation of 10; an eighth, with 7.
    assert missing[None] == pytest.approx(200, abs=40)
    assert all(missing[sequence] == pytest.approx(50, abs=28) for sequence in SEQUENCES)


def test_a_missing_sequence_is_left_out_and_changes_no_other(
    patient: Patient, site: PhantomSiteSettings
) -> None:
    noisy = site.model_copy(update={"noise": 0.05})
    whole = render_patient(patient, noisy, seed=3)
    without = render_patient(replace(patient, missing="t1c"), noisy, seed=3)

    assert set(whole) - set(without) == {"t1c"}
    for name, volume in without.items():
        np.testing.assert_array_equal(volume.voxels, whole[name].voxels)


def test_white_matter_has_the_stated_signal_in_every_sequence(
    patient: Patient, site: PhantomSiteSettings
) -> None:
    """The most frequent value of an ideal head is that of pure white matter."""
    volumes = render_patient(patient, site, seed=3)
    for sequence in SEQUENCES:
        values = volumes[sequence].voxels[volumes[sequence].voxels > 0]
        # Muscle below the skull base is the rival, and never this bright.
        counts = Counter(values[values > 0.9 * WHITE_MATTER_UNITS].tolist())
        assert WHITE_MATTER_UNITS in [value for value, _ in counts.most_common(2)]


def test_orientation_is_how_a_file_lies_and_not_what_it_shows(
    patient: Patient, site: PhantomSiteSettings
) -> None:
    upright = render_patient(patient, site, seed=3)["t2"]
    turned = render_patient(patient, site.model_copy(update={"orientation": "LPS"}), seed=3)["t2"]

    assert turned.orientation == "LPS"
    np.testing.assert_array_equal(turned.voxels[::-1, ::-1], upright.voxels)


@pytest.mark.parametrize(
    ("attribute", "sequence", "sign"),
    [("enhancement", "t1c", 1), ("necrosis", "t1", -1), ("mismatch", "flair", -1)],
)
def test_an_attribute_moves_the_sequence_that_shows_it(
    patient: Patient, site: PhantomSiteSettings, attribute: str, sequence: str, sign: int
) -> None:
    """By more than 3 % of white matter, on average over core and oedema."""
    index = [a.name for a in ATTRIBUTES].index(attribute)
    seen = []
    for value in (-1.5, 1.5):
        values = list(patient.attributes)
        values[index] = value
        volumes = render_patient(replace(patient, attributes=tuple(values)), site, seed=3)
        seen.append(volumes[sequence].voxels[volumes["mask"].voxels > 0].mean())

    assert sign * (seen[1] - seen[0]) > 0.03 * WHITE_MATTER_UNITS


def test_every_patient_has_a_tumour_in_the_mask(
    settings: PhantomSettings, site: PhantomSiteSettings
) -> None:
    """A mask is never empty, and is 0 or 1."""
    for patient in draw_patients("ash", settings, seed=3)[:6]:
        mask = render_patient(patient, site, seed=3)["mask"].voxels
        assert set(np.unique(mask)) == {0.0, 1.0}


def test_a_second_call_writes_the_same_bytes_and_rows(
    settings: PhantomSettings, tmp_path: Path
) -> None:
    few = _resized(settings, num_patients=2, noise=0.05)
    told: list[str] = []
    rows = write_site("ash", few, tmp_path / "a", seed=3, on_scan=told.append)
    # As after a kill: one file is there already, with other content.
    (tmp_path / "b" / "scans").mkdir(parents=True)
    (tmp_path / "b" / rows[0]["mask"]).write_bytes(b"half")
    again = write_site("ash", few, tmp_path / "b", seed=3, on_scan=told.append)

    assert rows == again
    assert told == ["ash-001", "ash-002"] * 2
    files = sorted(path.name for path in (tmp_path / "a" / "scans").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "b" / "scans").iterdir())
    for name in files:
        digests = {digest_of_file(tmp_path / folder / "scans" / name) for folder in "ab"}
        assert len(digests) == 1


def test_a_row_names_the_files_that_exist(settings: PhantomSettings, tmp_path: Path) -> None:
    rows = write_site(
        "ash",
        _resized(settings, num_patients=3, missing_fraction=1.0),
        tmp_path,
        seed=3,
        on_scan=lambda scan_id: None,
    )

    for row in rows:
        assert [row[sequence] for sequence in SEQUENCES].count("") == 1
        named = [row[name] for name in (*SEQUENCES, "mask") if row[name]]
        assert all((tmp_path / path).is_file() for path in named)
        assert row["split"] == ""
        assert row["scanner"] == "Ideal"
    assert len(list((tmp_path / "scans").iterdir())) == 4 * len(rows)
