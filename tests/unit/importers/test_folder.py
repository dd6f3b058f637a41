"""Folders whose paths follow a pattern."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sitesynth.errors import CohortError
from sitesynth.importers.drafts import Draft
from sitesynth.importers.folder import import_folder, pattern_of
from sitesynth.importers.general import Meaning
from sitesynth.progress import show_progress
from tests.unit.importers.archives import write_scan, write_table
from tests.unit.importers.drafted import by_patient, reasons, values


MEANING = Meaning({"idh": ("wildtype", "mutant")}, ("age", "sex"), {}, {}, "")


def ours(
    source: Path,
    *tables: Path,
    meaning: Meaning = MEANING,
    patterns: tuple[str, ...] = ("{patient_id}/{sequence}.nii.gz",),
    sequences: Mapping[str, str] | None = None,
    mask: str | None = "seg",
) -> Draft:
    return import_folder(
        source,
        tables,
        meaning,
        patterns=patterns,
        sequences={"t1c": "post", "flair": "flair"} if sequences is None else sequences,
        mask=mask,
        progress=show_progress,
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Write three patients: one whole, one without mask and FLAIR, one with an extra file."""
    for patient, kinds in (("A", "post flair seg"), ("B", "post"), ("C", "post flair seg adc")):
        for kind in kinds.split():
            write_scan(
                tmp_path / "scans" / patient / f"{kind}.nii.gz", labels=(1,) * (kind == "seg")
            )
    return tmp_path / "scans"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    header = "patient_id|site|idh|age|sex"
    rows = ["A|n|wildtype|61|Male", "B|n|NA||f", "C|s|mutant|33|F", "D|s|mutant|44|F"]
    return write_table(tmp_path / "labels.csv", header, rows)


def test_files_and_labels_are_joined_by_patient(source: Path, table: Path) -> None:
    draft = ours(source, table)

    assert values(draft, "idh", "age", "sex") == {
        "A": ("wildtype", "61", "M"),
        "B": ("", "", "F"),
        "C": ("mutant", "33", "F"),
    }
    assert {patient: sorted(scan.files) for patient, scan in by_patient(draft).items()} == {
        "A": ["flair", "mask", "t1c"],
        "B": ["t1c"],
        "C": ["flair", "mask", "t1c"],
    }
    assert draft.sites == {"n": 2, "s": 1}
    assert reasons(draft) == {"D": "no images"}


def test_other_columns_and_codes_are_mapped(source: Path, tmp_path: Path) -> None:
    """An exact code counts before one with a *; nothing after = is unknown."""
    rows = ["A|North (A)|WT", "B|North (B)|mut R132H", "C|South|mut ?"]
    table = write_table(tmp_path / "labels.csv", "id|hospital|diagnosis", rows)
    codes = {
        "idh": {"WT": "wildtype", "mut*": "mutant", "mut ?": ""},
        "site": {"North (*)": "north"},
    }
    columns = {"patient_id": "id", "site": "hospital", "idh": "diagnosis"}

    draft = ours(
        source, table, meaning=replace(MEANING, covariates=(), columns=columns, codes=codes)
    )

    assert values(draft, "idh") == {"A": ("wildtype",), "B": ("mutant",), "C": ("",)}
    assert {p: scan.site for p, scan in by_patient(draft).items()} == {
        "A": "north",
        "B": "north",
        "C": "South",
    }


def test_values_that_are_no_class_are_all_named(source: Path, tmp_path: Path) -> None:
    rows = ["A|n|WT", "B|the south|mutated", "C|n|WT"]
    table = write_table(tmp_path / "labels.csv", "patient_id|site|idh", rows)

    with pytest.raises(
        CohortError, match=r"(?s)idh: 'WT', 'mutated'; .*site: 'the south'; .*--code"
    ):
        ours(source, table, meaning=replace(MEANING, covariates=()))


def test_the_path_may_tell_site_and_scan(tmp_path: Path) -> None:
    for path in ("north/A/1/post", "north/B/1/post", "south/C/1/post", "south/C/2/post"):
        write_scan(tmp_path / f"{path}.nii.gz")
    table = write_table(tmp_path / "l.csv", "patient_id|idh", [f"{p}|mutant" for p in "ABC"])

    draft = ours(
        tmp_path,
        table,
        meaning=replace(MEANING, covariates=()),
        patterns=("{site}/{patient_id}/{scan_id}/{sequence}.nii.gz",),
        mask=None,
    )

    assert draft.sites == {"north": 2, "south": 1}
    assert reasons(draft) == {"2": "second scan"}


def test_two_files_for_one_sequence_leave_the_patient_out(source: Path, table: Path) -> None:
    write_scan(source / "A" / "again" / "post.nii.gz")

    draft = ours(source, table, patterns=("{patient_id}/**/{sequence}.nii.gz",))

    assert reasons(draft)["A"] == "several files for one sequence"
    assert [*by_patient(draft)] == ["B", "C"]


def test_of_two_patterns_the_first_wins(source: Path, table: Path) -> None:
    """As for corrected masks, which only some patients have."""
    write_scan(source / "A" / "seg_corrected.nii.gz", labels=(1, 1))

    draft = ours(
        source,
        table,
        patterns=("{patient_id}/{sequence}_corrected.nii.gz", "{patient_id}/{sequence}.nii.gz"),
    )

    masks = {p: s.files["mask"].name for p, s in by_patient(draft).items() if "mask" in s.files}
    assert masks == {"A": "seg_corrected.nii.gz", "C": "seg.nii.gz"}


@pytest.mark.parametrize(
    ("pattern", "path", "patient"),
    [
        ("{patient_id}/{sequence}.nii.gz", "P1/t1.nii.gz", "P1"),
        ("{patient_id}/{patient_id}_{sequence}.nii.gz", "P_1/P_1_t1.nii.gz", "P_1"),
        ("{patient_id}/{patient_id}_{sequence}.nii.gz", "P1/P2_t1.nii.gz", None),
        ("**/{patient_id}_{sequence}.nii.gz", "P1_t1.nii.gz", "P1"),
        ("**/{patient_id}_{sequence}.nii.gz", "a/b/P1_t1.nii.gz", "P1"),
        ("*/{patient_id}_{sequence}.nii.gz", "a/b/P1_t1.nii.gz", None),
        ("{patient_id}/{sequence}.nii.gz", "P1/t1_nii_gz", None),
        ("{patient_id}/{sequence}.nii.gz", "P1/t1c.nii.gz", None),
    ],
)
def test_a_pattern_means_what_the_help_says(pattern: str, path: str, patient: str | None) -> None:
    match = pattern_of(pattern, sequence="t1").search(path)
    assert (None if match is None else match["patient_id"]) == patient


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patterns": ("{sequence}.nii.gz",)}, r"must have a \{patient_id\}"),
        ({"patterns": ("{patient_id}/{day}/{sequence}.nii",)}, r"has \{day\}, which is none of"),
        ({"patterns": ("{patient_id}/x.nii.gz",)}, r"has no \{sequence\}, so it cannot tell"),
        ({"patterns": ("{patient_id}.{sequence}",)}, "none of the 8 files"),
        ({"sequences": {"t1": "T1w"}, "mask": None}, "one of T1w; the first file is A/flair"),
        ({"meaning": replace(MEANING, codes={"sexx": {"a": "b"}})}, r"\['sexx'\] are mapped, but"),
        ({"meaning": replace(MEANING, covariates=("scanner",))}, "column for scanner: 'scanner'"),
        ({"meaning": replace(MEANING, site="a b")}, "site: 'a b'; must be a word"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    source: Path, table: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(CohortError, match=message):
        ours(source, table, **options)


def test_labels_need_a_table_and_patients_a_hospital(source: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "l.csv", "patient_id|idh", ["A|mutant"])
    plain = replace(MEANING, covariates=())

    with pytest.raises(CohortError, match=r"idh, site must come from a table.*--site"):
        ours(source, meaning=plain)
    with pytest.raises(CohortError, match="no label table has a column for site: 'site'"):
        ours(source, table, meaning=plain)
    assert ours(source, table, meaning=replace(plain, site="here")).sites == {"here": 1}
