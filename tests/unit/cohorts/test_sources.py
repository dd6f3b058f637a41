"""Other people's tables arrive as they are, or not at all."""

from pathlib import Path

import pandas as pd
import pytest

from sitesynth.cohorts.sources import read_source
from sitesynth.errors import CohortError, MissingInputError


def written(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


class TestReading:
    """What can be read is read the same from every format."""

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("t.csv", "id,age\n007,61\n010,\n"),
            ("t.csv", "id;age\n007;61\n010;\n"),
            ("t.tsv", "id\tage\n007\t61\n010\t\n"),
            ("t.csv", "\ufeffid,age\r\n007,61\r\n010,\r\n"),
            ("t.csv", " id , age\n 007 ,61 \n\n010,  \n,\n"),
            ("t.csv", '"id","age"\n"007","61"\n"010",""\n'),
        ],
        ids=["comma", "semicolon", "tab", "byte-order mark and CRLF", "blanks", "quoted"],
    )
    def test_a_delimiter_or_a_blank_changes_no_cell(
        self, tmp_path: Path, name: str, content: str
    ) -> None:
        """Leading zeros stay: an id is not a number."""
        source = read_source(written(tmp_path, content, name))

        assert source.header == ("id", "age")
        assert [row.cells for row in source.rows] == [("007", "61"), ("010", "")]

    def test_parquet_reads_as_the_same_strings(self, tmp_path: Path) -> None:
        path = tmp_path / "t.parquet"
        pd.DataFrame({"id": ["007", "010"], "age": [61, None], "n": [3, 4]}).to_parquet(path)

        source = read_source(path)

        assert source.header == ("id", "age", "n")
        assert [row.cells for row in source.rows] == [("007", "61.0", "3"), ("010", "", "4")]

    def test_rows_are_numbered_as_in_the_file(self, tmp_path: Path) -> None:
        """Empty lines and line breaks in cells count, as they do in an editor."""
        source = read_source(written(tmp_path, 'id,note\na,"two\nlines"\n\nb,\n'))

        assert [row.number for row in source.rows] == [2, 5]


class TestRefusing:
    """What cannot be read says where and why."""

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("", "is empty: it has neither a header nor a row"),
            ("\n\n", "is empty: it has neither a header nor a row"),
            ("id,age\n", "is empty: it has a header, but no row of scans"),
            ("id,age\na,1\nb\n", "row 3, has 1 cells, but the header has 2"),
            ("id,age,id\na,1,b\n", "has 2 columns named 'id'"),
            ('id,age\n"a,1\n', "row 2, is not valid CSV"),
            ("id,name\na,M\xfcller\n".encode("latin-1"), "row 2, is not UTF-8 text .byte 0xfc"),
            ("id,age\na,1\n".encode("utf-16"), "row 1, is not UTF-8 text"),
            ("id,age\na,1\n".encode("utf-16-le"), "row 1, holds a NUL character"),
            (b"PK\x03\x04\xff\xfe", "is not UTF-8 text"),
        ],
    )
    def test_an_unreadable_table_is_named_with_its_row(
        self, tmp_path: Path, content: str | bytes, message: str
    ) -> None:
        with pytest.raises(CohortError, match=message) as error:
            read_source(written(tmp_path, content))

        assert "t.csv" in str(error.value)

    def test_a_missing_table_says_which_knob_names_it(self, tmp_path: Path) -> None:
        with pytest.raises(MissingInputError, match=r"t\.csv does not exist; cohort\.source"):
            read_source(tmp_path / "t.csv")

    def test_a_folder_is_no_table(self, tmp_path: Path) -> None:
        with pytest.raises(CohortError, match="is not a file"):
            read_source(tmp_path)

    def test_a_spreadsheet_is_to_be_saved_as_csv(self, tmp_path: Path) -> None:
        with pytest.raises(CohortError, match=r"ends in '\.xlsx'.*save it as CSV"):
            read_source(written(tmp_path, "x", "t.xlsx"))

    def test_a_damaged_parquet_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(CohortError, match=r"t\.parquet cannot be read as Parquet"):
            read_source(written(tmp_path, "id,age\n", "t.parquet"))
