"""What every public layout refuses."""

from pathlib import Path

import pytest

from sitesynth.errors import CohortError, MissingInputError
from sitesynth.importers.catalogue import LAYOUTS
from tests.unit.importers.archives import ucsf_pdgm, utsw_glioma, write_scan, write_table
from tests.unit.importers.drafted import imported, reasons


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_folder_of_another_layout_is_refused(name: str, tmp_path: Path) -> None:
    write_scan(tmp_path / "P001" / "t1.nii.gz")

    with pytest.raises(CohortError, match=f"does not look like {name}: none of its 1 files"):
        imported(name, tmp_path, [])


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "egd"])
def test_a_layout_without_labels_of_its_own_asks_for_a_table(name: str, tmp_path: Path) -> None:
    write_scan(tmp_path / LAYOUTS[name].looks_like)

    with pytest.raises(CohortError, match="keeps its labels in a table; name it with --labels"):
        imported(name, tmp_path, [])


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_empty_folder_and_an_absent_table_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_scan(tmp_path / "full" / LAYOUTS[name].looks_like)

    with pytest.raises(CohortError, match="holds no file"):
        imported(name, tmp_path / "empty", [])
    with pytest.raises(MissingInputError, match=r"none\.csv does not exist; correct --labels"):
        imported(name, tmp_path / "full", [tmp_path / "none.csv"])


def test_a_table_without_a_column_says_which_and_what_it_has(tmp_path: Path) -> None:
    source, _ = ucsf_pdgm(tmp_path)
    table = write_table(tmp_path / "short.csv", "ID|Sex", ["UCSF-PDGM-004|M"])

    with pytest.raises(CohortError, match=r"no label table has a column for idh: 'IDH'; .*'Sex'\]"):
        imported("ucsf-pdgm", source, [table])


def test_a_table_without_ids_is_refused(tmp_path: Path) -> None:
    source, _ = ucsf_pdgm(tmp_path)
    table = write_table(tmp_path / "other.csv", "name|IDH", ["x|wildtype"])

    with pytest.raises(CohortError, match="has no column of ids, 'ID'"):
        imported("ucsf-pdgm", source, [table])


def test_an_id_of_another_archive_in_the_table_is_reported(tmp_path: Path) -> None:
    source, table = utsw_glioma(tmp_path)
    with table.open("a", newline="") as file:
        file.write("\t".join(["TCGA-02-0006", "Male", "70", *["NA"] * 10]) + "\r\n")

    assert reasons(imported("utsw-glioma", source, [table]))["TCGA-02-0006"] == (
        "value not understood"
    )


def test_a_damaged_file_leaves_its_patient_out(tmp_path: Path) -> None:
    source, table = utsw_glioma(tmp_path)
    damaged = next(source.glob("BT0001/brain_t1.nii.gz"))
    damaged.write_bytes(damaged.read_bytes()[:20])

    draft = imported("utsw-glioma", source, [table])

    assert reasons(draft)["BT0001"] == "unreadable file"
    assert "brain_t1.nii.gz" in next(o.detail for o in draft.left_out if o.patient_id == "BT0001")


def test_if_nobody_is_left_the_reasons_are_told(tmp_path: Path) -> None:
    source, table = utsw_glioma(tmp_path)
    for path in source.glob("BT*/brain_t1.nii.gz"):
        path.write_bytes(b"")

    with pytest.raises(CohortError, match=r"no scan that can go in; 5 .*\n  BT0001: unreadable"):
        imported("utsw-glioma", source, [table])
