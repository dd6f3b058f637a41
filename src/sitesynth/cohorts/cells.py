"""What one cell of a canonical table may say.

Each function returns what is wrong with a cell and what to do about it, or "" if nothing is. An
empty cell is unknown, which is fine wherever a rule does not say otherwise.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath


__all__ = [
    "NUMBERS",
    "SEXES",
    "SPLITS",
    "fault_of_code",
    "fault_of_control_characters",
    "fault_of_id",
    "fault_of_number",
    "fault_of_path",
    "fault_of_scan_id",
    "fault_of_split",
]

NUMBERS = {"age": (0.0, 120.0, "years"), "field_strength_t": (0.01, 25.0, "tesla")}
"""Covariates that are numbers: their plausible range and unit."""

SEXES = ("F", "M")

SPLITS = ("train", "validation", "test")

MAX_ID_CHARS = 150
"""A scan's id becomes a file name, which file systems limit to 255 bytes."""

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_SAFE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def fault_of_control_characters(cell: str) -> str:
    """Refuse line breaks and the like, which hide in quoted cells of spreadsheets."""
    if any(ord(character) < ord(" ") or character == "\x7f" for character in cell):
        return "holds a line break or another control character; remove it"
    return ""


def fault_of_id(cell: str) -> str:
    """Refuse an empty patient_id or site: a row without one cannot be put on either side."""
    return "" if cell else "must not be empty; give every row its own"


def fault_of_scan_id(cell: str) -> str:
    """Refuse a scan_id that could not be a file name on every machine."""
    if not cell:
        return "must not be empty; give scan_id or patient_id"
    if not _SAFE_NAME.fullmatch(cell) or len(cell) > MAX_ID_CHARS:
        return (
            f"must be letters, digits, '.', '_' or '-', not begin with '.', and be at most "
            f"{MAX_ID_CHARS} long, because it names files; rename the scan"
        )
    return ""


def fault_of_split(cell: str, *, is_external: bool) -> str:
    """Refuse a split of another name, and any but test at an external site."""
    if is_external and cell not in {"", "test"}:
        return (
            "is refused at an external site, which is all test; map its split to '' in "
            "cohort.codes.split, or make the site a training site"
        )
    return fault_of_code("split", cell, SPLITS)


def fault_of_code(name: str, cell: str, allowed: Sequence[str]) -> str:
    """Refuse a value that is neither empty nor one of ours."""
    if not cell or cell in allowed:
        return ""
    return (
        f"must be one of {list(allowed)}, or empty for unknown; correct it, or map it in "
        f"cohort.codes.{name}"
    )


def fault_of_number(name: str, cell: str) -> str:
    """Refuse what is no plain decimal number, or not in the plausible range of `NUMBERS`."""
    low, high, unit = NUMBERS[name]
    if not cell or (_NUMBER.fullmatch(cell) and low <= float(cell) <= high):
        return ""
    return (
        f"must be a number of {unit} from {low:g} to {high:g} with a decimal point, or empty for "
        "unknown; correct the table"
    )


def fault_of_path(cell: str, root: Path) -> str:
    """Refuse a path that is absolute, leaves `root`, or has no file at its end.

    A link inside `root` may point anywhere: that is how large data sets are laid out.
    """
    if not cell:
        return ""
    if _URL.match(cell) or cell.startswith("~") or PureWindowsPath(cell).anchor:
        return f"must be a path relative to the table's folder {root}; make it relative"
    if Path(os.path.normpath(cell)).parts[:1] == (os.pardir,):
        return (
            f"leaves the table's folder {root}; paths must stay inside it, so move the table "
            "above its files"
        )
    return _fault_of_file(cell, root)


def _fault_of_file(cell: str, root: Path) -> str:
    """Refuse a path without a file that may be read at its end."""
    try:
        is_there, is_file = (root / cell).exists(), (root / cell).is_file()
    except OSError as error:
        return f"cannot be looked at in {root} ({error.strerror}); correct the path or its folder"
    if not is_there:
        hint = " (write / instead of \\)" if "\\" in cell else ""
        return f"does not exist in {root}{hint}; correct the path, or leave the cell empty"
    if not is_file:
        return f"is not a file in {root}; name one image file"
    if not os.access(root / cell, os.R_OK):
        return f"may not be read in {root}; correct its permissions"
    return ""
