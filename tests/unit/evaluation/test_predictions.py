"""From scans to patients, and what is refused on the way."""

import math
from pathlib import Path

import numpy as np
import pytest

from sitesynth.errors import CohortError, MissingInputError
from sitesynth.evaluation.predictions import (
    check_same_patients,
    predictions_by_patient,
    read_evaluations,
    read_predictions,
)
from sitesynth.storage import write_json


def row(
    patient: str, site: str = "elm", *, scan: str = "", label: str = "1", p: str = "0.5"
) -> dict[str, str]:
    return {
        "patient_id": patient,
        "scan_id": scan or patient,
        "site": site,
        "label": label,
        "probability": p,
        "seed_0": p,
        "age": "",
    }


def test_the_scans_of_a_patient_become_one_row() -> None:
    """.2 and .6 average to .4; the other patient is as it was."""
    found = predictions_by_patient(
        [row("a", scan="a1", p="0.2"), row("b", p="0.9"), row("a", scan="a2", p="0.6")], named="t"
    )

    assert found.patients == ("a", "b")
    np.testing.assert_allclose(found.probabilities, [0.4, 0.9])
    np.testing.assert_allclose(found.by_seed, [[0.4, 0.9]])


def test_patients_told_the_same_are_tied_however_many_scans_they_have() -> None:
    """The sum of seven times 0.415888, divided by seven, is another number."""
    many = [row("a", scan=f"a{number}", p="0.415888") for number in range(7)]
    found = predictions_by_patient([*many, row("b", label="0", p="0.415888")], named="t")

    assert found.probabilities.tolist() == [0.415888, 0.415888]
    assert found.by_seed.tolist() == [[0.415888, 0.415888]]


def test_the_order_of_rows_does_not_matter() -> None:
    rows = [row("b"), row("a", "oak", label="0", p="0.1"), row("c", p="0.7")]
    there = predictions_by_patient(rows, named="t")
    back = predictions_by_patient(rows[::-1], named="t")

    assert there.patients == back.patients
    np.testing.assert_array_equal(there.probabilities, back.probabilities)


def test_the_tenth_seed_comes_after_the_second() -> None:
    first = row("a") | {f"seed_{number}": str(number / 20) for number in range(11)}
    found = predictions_by_patient([first], named="t")

    np.testing.assert_allclose(found.by_seed[:, 0], np.arange(11) / 20)


@pytest.mark.parametrize("cell", ["nan", "1.2", "-0.1", "", "high"])
def test_what_is_no_probability_is_refused_with_its_line(cell: str) -> None:
    with pytest.raises(CohortError, match=r"t, line 3: a probability must be .* got"):
        predictions_by_patient([row("a"), row("b", p=cell)], named="t")


def test_a_patient_with_two_labels_is_refused() -> None:
    with pytest.raises(CohortError, match="patient a is at site elm with label 0, and above"):
        predictions_by_patient([row("a"), row("a", scan="a2", label="0")], named="t")


def test_a_patient_at_two_sites_is_refused() -> None:
    with pytest.raises(CohortError, match="patient a is at site oak"):
        predictions_by_patient([row("a"), row("a", "oak", scan="a2")], named="t")


def test_a_scan_listed_twice_is_refused() -> None:
    with pytest.raises(CohortError, match="scan a is listed twice"):
        predictions_by_patient([row("a"), row("a")], named="t")


def test_an_unknown_label_is_refused() -> None:
    with pytest.raises(CohortError, match="label must be 0 or 1, got ''"):
        predictions_by_patient([row("a", label="")], named="t")


def test_a_table_without_rows_or_columns_is_refused() -> None:
    with pytest.raises(CohortError, match="has no row"):
        predictions_by_patient([], named="t")
    with pytest.raises(CohortError, match=r"lacks the columns \['scan_id'"):
        predictions_by_patient([{"patient_id": "a"}], named="t")


def test_strategies_tested_on_other_patients_are_refused() -> None:
    with pytest.raises(CohortError, match=r"x and y disagree on 2 of them \(b, c\)"):
        check_same_patients(
            {
                "x": predictions_by_patient([row("a"), row("b")], named="x"),
                "y": predictions_by_patient([row("a"), row("c")], named="y"),
            }
        )


def test_strategies_that_disagree_on_a_label_are_refused() -> None:
    with pytest.raises(CohortError, match="disagree on 1"):
        check_same_patients(
            {
                "x": predictions_by_patient([row("a"), row("b")], named="x"),
                "y": predictions_by_patient([row("a"), row("b", label="0")], named="y"),
            }
        )


class TestReading:
    """Files of the stage `evaluate`."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "centralized").mkdir()
        (tmp_path / "centralized/predictions.csv").write_text(
            "patient_id,scan_id,site,label,probability,seed_0\n007,s1,elm,1,0.25,0.25\n"
        )
        write_json(tmp_path / "centralized/metrics.json", {"threshold": 0.4, "test_sha256": "abc"})
        return tmp_path

    def test_leading_zeros_of_a_patient_stay(self, folder: Path) -> None:
        predictions, thresholds = read_evaluations(folder, ["centralized"], test_sha256="abc")

        assert predictions["centralized"].patients == ("007",)
        assert thresholds == {"centralized": 0.4}
        assert math.isclose(predictions["centralized"].probabilities[0], 0.25)

    def test_another_list_of_patients_is_refused(self, folder: Path) -> None:
        with pytest.raises(CohortError, match="the frozen one is xyz"):
            read_evaluations(folder, ["centralized"], test_sha256="xyz")

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(MissingInputError, match=r"nowhere\.csv does not exist"):
            read_predictions(tmp_path / "nowhere.csv")
