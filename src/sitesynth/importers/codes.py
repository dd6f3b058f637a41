"""Other people's codes, in our words; and the tumour type that they amount to.

A code that is not understood is never guessed at: `CodeError` says which, and its patient is left
out with that reason.
"""

import re
from collections.abc import Mapping

from sitesynth.cohorts import cells
from sitesynth.errors import CohortError


__all__ = [
    "CODELETION",
    "GLIOMA_COVARIATES",
    "GLIOMA_LABELS",
    "IDH",
    "SEX",
    "CodeError",
    "ContradictionError",
    "code_of",
    "field_strength_of",
    "grade_of",
    "number_of",
    "tumour_type_of",
    "without_unknown",
]

GLIOMA_LABELS = {
    "idh": ("wildtype", "mutant"),
    "codeletion_1p19q": ("intact", "codeleted"),
    "grade": ("2", "3", "4"),
    "tumour_type": ("glioblastoma", "astrocytoma", "oligodendroglioma"),
}
"""What the public glioma sets are imported with, and the order of the classes."""

GLIOMA_COVARIATES = ("age", "sex", "scanner", "field_strength_t")

UNKNOWN = frozenset(
    [
        "",
        "unknown",
        "na",
        "n/a",
        "nan",
        "none",
        "null",
        "not available",
        "not reported",
        "not applicable",
        "not tested",
        "nos/nec",
        "nos",
        "indeterminate",
        "undetermined",
        "missing",
        "-",
        "--",
        "?",
        "[not available]",
    ]
)
"""What tables write where they know nothing, in lower case."""

SEX = {"m": "M", "male": "M", "f": "F", "female": "F"}

IDH = {
    **dict.fromkeys(("wildtype", "wild type", "wild-type", "wt"), "wildtype"),
    **dict.fromkeys(("mutant", "mutated", "mut"), "mutant"),
}

CODELETION = {
    **dict.fromkeys(
        (
            "intact",
            "retained",
            "non-codel",
            "noncodel",
            "non-codeleted",
            "non codeleted",
            "not codeleted",
            "no codeletion",
            "no",
        ),
        "intact",
    ),
    **dict.fromkeys(
        (
            "codel",
            "codeleted",
            "co-deleted",
            "codeletion",
            "co-deletion",
            "relative co-deletion",
            "yes",
        ),
        "codeleted",
    ),
}

_GRADE = re.compile(r"(?:who\s*)?(?:cns\s*)?(?:grade\s*|g\s*)?(2|3|4|ii|iii|iv)(?:\.0)?")
_ROMAN = {"ii": "2", "iii": "3", "iv": "4"}
_TESLA = re.compile(r"(-?\d+(?:\.\d+)?)\s*(?:t|tesla)?")


class CodeError(CohortError):
    """A value that is none of the codes of its column."""


class ContradictionError(CodeError):
    """Two values of one patient that cannot both be true."""


def without_unknown(text: str) -> str:
    """Return a cell, or "" if it says that nothing is known."""
    return "" if text.strip().lower() in UNKNOWN else text.strip()


def code_of(name: str, text: str, codes: Mapping[str, str]) -> str:
    """Translate a cell; case and surrounding blanks do not matter.

    Raises:
        CodeError: If it is neither unknown nor one of `codes`.
    """
    known = without_unknown(text)
    if not known:
        return ""
    if known.lower() not in codes:
        raise CodeError(f"{name} {text!r} is none of {sorted(codes)}")
    return codes[known.lower()]


def grade_of(text: str) -> str:
    """Return a WHO grade from 2 to 4 in Arabic; a diffuse glioma of adults has no other.

    Raises:
        CodeError: If it is neither unknown nor such a grade.
    """
    known = without_unknown(text).lower()
    match = _GRADE.fullmatch(known)
    if known and match is None:
        raise CodeError(f"grade {text!r} is none of 2, 3, 4")
    return "" if match is None else _ROMAN.get(match[1], match[1])


def number_of(name: str, text: str) -> str:
    """Return a covariate that is a number in its plausible range.

    Raises:
        CodeError: If it is neither unknown nor such a number.
    """
    known = without_unknown(text)
    if cells.fault_of_number(name, known):
        low, high, unit = cells.NUMBERS[name]
        raise CodeError(f"{name} {text!r} is no number of {unit} from {low:g} to {high:g}")
    return known


def field_strength_of(text: str) -> str:
    """Return tesla from `3`, `1.5 T` and the like; 0 and below stand for unknown.

    Raises:
        CodeError: If it is neither unknown nor a plausible field strength.
    """
    known = without_unknown(text).lower()
    match = _TESLA.fullmatch(known)
    if known and match is None:
        raise CodeError(f"field_strength_t {text!r} is no number of tesla")
    if match is None or float(match[1]) <= 0:
        return ""
    return number_of("field_strength_t", f"{float(match[1]):g}")


def tumour_type_of(idh: str, codeletion: str, grade: str) -> str:
    """Return the type that IDH, 1p/19q and grade amount to (WHO 2021), or "" if they do not.

    A mutant of grade 4 is an astrocytoma without a look at 1p/19q: oligodendrogliomas are of grade
    2 or 3. A wild type is a glioblastoma at any grade, as in the study that this one follows; see
    ADR 30 for what that costs.
    """
    if idh == "wildtype":
        return "glioblastoma"
    if idh == "mutant" and codeletion == "codeleted":
        return "oligodendroglioma"
    if idh == "mutant" and (codeletion == "intact" or grade == "4"):
        return "astrocytoma"
    return ""
