"""Other people's tables, read as they are: every cell a string, every row with its place.

Nothing is guessed about a cell. `007` stays `007`, and a blank cell is the empty string; what a
column means is `sitesynth.cohorts.tables`' business.
"""

import csv
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from sitesynth.errors import CohortError, MissingInputError


__all__ = ["Row", "Source", "read_source"]

DELIMITERS = (",", ";", "\t")

TEXT_SUFFIXES = (".csv", ".tsv", ".txt")

MAX_CELL_CHARS = 1_000_000
"""A longer cell means a quotation mark that is never closed, not a value."""


@final
@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table."""

    number: int
    """Row in the file, as a spreadsheet shows it: the header is row 1."""

    cells: tuple[str, ...]
    """One per column, without surrounding blanks."""


@final
@dataclass(frozen=True, slots=True)
class Source:
    """A table as its author wrote it."""

    name: str
    """What messages call it."""

    header: tuple[str, ...]
    rows: tuple[Row, ...]


def read_source(table: Path) -> Source:
    """Read a CSV (comma, semicolon or tab), TSV or Parquet table.

    Rows without any value, as spreadsheets leave at the end, are skipped.

    Raises:
        MissingInputError: If there is no such file.
        CohortError: If it is no table: another format or encoding, a row of another length than
            the header, a column named twice or not at all, or no row.
    """
    if not table.exists():
        raise MissingInputError(
            f"the cohort's table {table} does not exist; cohort.source and cohort.table in "
            "params.yaml say where it is."
        )
    if not table.is_file():
        raise CohortError(
            f"the cohort's table {table} is not a file; cohort.table in params.yaml must name a "
            "CSV, TSV or Parquet file."
        )
    suffix = table.suffix.lower()
    if suffix in TEXT_SUFFIXES:
        source = _read_text(table)
    elif suffix == ".parquet":
        source = _read_parquet(table)
    else:
        raise CohortError(
            f"the cohort's table {table} ends in '{table.suffix}', but must be .csv, .tsv or "
            ".parquet; save it as CSV in UTF-8."
        )
    _check_header(source)
    if not source.rows:
        raise CohortError(
            f"the table {source.name} is empty: it has a header, but no row of scans."
        )
    return source


def _read_text(table: Path) -> Source:
    text = _decoded(table)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter_of(text), strict=True)
    header: tuple[str, ...] = ()
    rows = []
    number = 1
    try:
        for record in reader:
            cells = tuple(cell.strip() for cell in record)
            if any(cells) and not header:
                header = cells
            elif any(cells):
                rows.append(_checked_length(table, Row(number, cells), header))
            number = reader.line_num + 1
    except csv.Error as error:
        raise CohortError(
            f"the table {table}, row {number}, is not valid CSV ({error}); save it again as CSV."
        ) from error
    if not header:
        raise CohortError(f"the table {table} is empty: it has neither a header nor a row.")
    return Source(str(table), header, tuple(rows))


def _decoded(table: Path) -> str:
    """Return the text of a file that must be UTF-8, with or without a byte-order mark."""
    try:
        raw = table.read_bytes()
    except OSError as error:
        raise CohortError(
            f"the table {table} cannot be read ({error.strerror}); correct its permissions."
        ) from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = raw[: error.start].count(b"\n") + 1
        raise CohortError(
            f"the table {table}, row {row}, is not UTF-8 text (byte 0x{raw[error.start]:02x} at "
            f"{error.start}); save it as CSV in UTF-8."
        ) from error
    if "\0" in text:
        row = text[: text.index("\0")].count("\n") + 1
        raise CohortError(
            f"the table {table}, row {row}, holds a NUL character, so it is not UTF-8 text; save "
            "it as CSV in UTF-8."
        )
    return text


def _delimiter_of(text: str) -> str:
    """Return the delimiter that divides the first line into the most cells."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    return max(DELIMITERS, key=lambda mark: len(next(csv.reader([first], delimiter=mark), [])))


def _checked_length(table: Path, row: Row, header: tuple[str, ...]) -> Row:
    if len(row.cells) != len(header):
        raise CohortError(
            f"the table {table}, row {row.number}, has {len(row.cells)} cells, but the header has "
            f"{len(header)}; a cell that holds the delimiter must be in quotation marks."
        )
    return row


def _read_parquet(table: Path) -> Source:
    # pyarrow takes half a second to import, and most tables are CSV.
    import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415
    import pyarrow.parquet as pq  # type: ignore[import-untyped]  # noqa: PLC0415

    try:
        content = pq.read_table(table)
    except (pa.ArrowException, OSError) as error:
        raise CohortError(
            f"the table {table} cannot be read as Parquet ({error}); write it again."
        ) from error
    columns = [[_text_of(value) for value in column.to_pylist()] for column in content.columns]
    rows = [Row(number, cells) for number, cells in enumerate(zip(*columns, strict=True), start=2)]
    header = tuple(str(name).strip() for name in content.column_names)
    return Source(str(table), header, tuple(row for row in rows if any(row.cells)))


def _text_of(value: Any) -> str:
    return "" if value is None or value != value else str(value).strip()  # noqa: PLR0124 (NaN)


def _check_header(source: Source) -> None:
    for name, count in Counter(source.header).items():
        if count > 1 and name:
            raise CohortError(
                f"the table {source.name} has {count} columns named '{name}'; name each column "
                "once."
            )
