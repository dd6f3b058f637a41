"""Codes of other people, in our words."""

import pytest

from sitesynth.importers.codes import (
    CODELETION,
    IDH,
    CodeError,
    code_of,
    field_strength_of,
    grade_of,
    number_of,
    tumour_type_of,
    without_unknown,
)


@pytest.mark.parametrize(
    "text", ["", "NA", "n/a", "Unknown", "NOS/NEC", "Not Available", "not reported"]
)
def test_words_for_unknown_are_empty(text: str) -> None:
    assert without_unknown(text) == ""
    assert code_of("idh", text, IDH) == ""
    assert grade_of(text) == ""
    assert number_of("age", text) == ""
    assert field_strength_of(text) == ""


@pytest.mark.parametrize(
    ("text", "grade"),
    [("4", "4"), ("4.0", "4"), ("IV", "4"), ("G3", "3"), ("Grade II", "2"), ("WHO grade 2", "2")],
)
def test_a_grade_is_read_however_it_is_written(text: str, grade: str) -> None:
    assert grade_of(text) == grade


@pytest.mark.parametrize("text", ["1", "5", "high", "3-4", "²"])
def test_a_grade_that_no_diffuse_glioma_has_is_refused(text: str) -> None:
    with pytest.raises(CodeError, match="is none of 2, 3, 4"):
        grade_of(text)


@pytest.mark.parametrize(
    ("text", "tesla"),
    [("3", "3"), ("3T", "3"), ("1.5 T", "1.5"), ("3.0 Tesla", "3"), ("0", ""), ("-1", "")],
)
def test_a_field_strength_is_read_in_tesla(text: str, tesla: str) -> None:
    assert field_strength_of(text) == tesla


@pytest.mark.parametrize("text", ["15000", "1,5", "high"])
def test_a_field_strength_that_is_none_is_refused(text: str) -> None:
    """15000 is a field in gauss."""
    with pytest.raises(CodeError, match="field_strength_t"):
        field_strength_of(text)


def test_a_code_of_no_meaning_is_refused_with_those_that_have_one() -> None:
    with pytest.raises(CodeError, match=r"codeletion 'perhaps' is none of \['co-deleted'"):
        code_of("codeletion", "perhaps", CODELETION)


@pytest.mark.parametrize(
    ("idh", "codeletion", "grade", "tumour_type"),
    [
        ("wildtype", "intact", "4", "glioblastoma"),
        ("wildtype", "", "", "glioblastoma"),
        ("mutant", "codeleted", "3", "oligodendroglioma"),
        ("mutant", "intact", "2", "astrocytoma"),
        ("mutant", "", "4", "astrocytoma"),
        ("mutant", "", "3", ""),
        ("mutant", "", "", ""),
        ("", "codeleted", "2", ""),
    ],
)
def test_the_tumour_type_follows_who_2021(
    idh: str, codeletion: str, grade: str, tumour_type: str
) -> None:
    """A mutant of grade 4 cannot be an oligodendroglioma; one of lower grade could be either."""
    assert tumour_type_of(idh, codeletion, grade) == tumour_type
