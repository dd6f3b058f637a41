"""Tables of the page, as data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final


__all__ = ["Cell", "Table", "column", "head", "number", "text"]


@final
@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: what it says, smaller print under it, and how many rows and columns it spans."""

    text: str
    kind: Literal["head", "column", "text", "number"]
    note: str = ""
    rows: int = 1
    columns: int = 1


@final
@dataclass(frozen=True, slots=True)
class Table:
    """A table of the page."""

    title: str
    header: Sequence[Sequence[Cell]]
    rows: Sequence[Sequence[Cell]]
    note: str
    """What a reader needs to know to read it."""

    kind = "table"


def head(says: str, *, note: str = "", rows: int = 1, columns: int = 1) -> Cell:
    """Return a cell that names a row or a column."""
    return Cell(says, "head", note, rows, columns)


def column(says: str, *, note: str = "", columns: int = 1) -> Cell:
    """Return a cell that names a column of numbers."""
    return Cell(says, "column", note, 1, columns)


def text(says: str, *, note: str = "", rows: int = 1) -> Cell:
    """Return a cell of words."""
    return Cell(says, "text", note, rows)


def number(says: str, *, note: str = "", rows: int = 1) -> Cell:
    """Return a cell whose digits line up with those above and below."""
    return Cell(says, "number", note, rows)
