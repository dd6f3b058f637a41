"""Every rule of a cell, on values that keep it and values that do not."""

from pathlib import Path

import pytest

from sitesynth.cohorts import cells


@pytest.mark.parametrize("cell", ["", "0", "61", "61.5", "+61", "1.2e1", "120"])
def test_an_age_is_a_number_of_years_or_unknown(cell: str) -> None:
    assert not cells.fault_of_number("age", cell)


@pytest.mark.parametrize(
    "cell",
    [
        "-1",
        "121",
        "61y",
        "61,5",
        "1960-01-01",
        "nan",
        "inf",
        "1_0",
        "\u0666\u0661",
        "0x1f",
        "1e999",
    ],
)
def test_what_only_looks_like_an_age_is_refused(cell: str) -> None:
    """Python would take `1_0`, `nan` and Arabic digits for numbers."""
    assert "from 0 to 120" in cells.fault_of_number("age", cell)


@pytest.mark.parametrize("cell", ["a", "TCGA-DU-7294", "s_1.2", "007"])
def test_a_plain_scan_id_is_a_file_name(cell: str) -> None:
    assert not cells.fault_of_scan_id(cell)


@pytest.mark.parametrize("cell", ["a/b", "..", ".a", "a b", "a\n", "\u00e9", "a" * 151, "a:b"])
def test_an_unsafe_scan_id_is_refused(cell: str) -> None:
    assert "names files" in cells.fault_of_scan_id(cell)


@pytest.mark.parametrize("cell", ["a\nb", "a\tb", "\x7f", "\x00"])
def test_control_characters_are_refused(cell: str) -> None:
    assert "control character" in cells.fault_of_control_characters(cell)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("/etc/passwd", "relative"),
        ("C:\\scans\\a.nii", "relative"),
        ("\\\\server\\a.nii", "relative"),
        ("~/a.nii", "relative"),
        ("https://example.org/a.nii", "relative"),
        ("../a.nii", "leaves"),
        ("sub/../../a.nii", "leaves"),
        ("..", "leaves"),
        ("b.nii", "does not exist"),
        ("sub\\a.nii", "write / instead"),
        ("sub", "is not a file"),
        ("loop", "does not exist"),
    ],
)
def test_a_path_stays_in_its_folder_and_ends_at_a_file(
    tmp_path: Path, cell: str, message: str
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "loop").symlink_to("loop")

    assert message in cells.fault_of_path(cell, tmp_path)


@pytest.mark.parametrize("cell", ["", "a.nii", "./a.nii", "sub/../a.nii", "link.nii"])
def test_a_file_in_the_folder_is_found(tmp_path: Path, cell: str) -> None:
    """A link is a file: that is how large data sets are laid out."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.nii").touch()
    (tmp_path / "link.nii").symlink_to("a.nii")

    assert not cells.fault_of_path(cell, tmp_path)


def test_an_external_site_is_all_test() -> None:
    assert not cells.fault_of_split("test", is_external=True)
    assert not cells.fault_of_split("", is_external=True)
    assert "external site, which is all test" in cells.fault_of_split("train", is_external=True)
    assert not cells.fault_of_split("train", is_external=False)
    assert "cohort.codes.split" in cells.fault_of_split("val", is_external=False)
