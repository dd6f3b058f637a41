"""Findings in one cell: what it says, what may leave a site, and how it is shared out."""

import pandas as pd
import pytest

from sitesynth import patterns
from sitesynth.errors import CohortError
from sitesynth.settings import FINDINGS


NAMES = ("edema", "effusion", "mass")
LABELS = dict.fromkeys(NAMES, ("no", "yes")) | {FINDINGS: NAMES}


@pytest.mark.parametrize(
    ("cells", "pattern", "flags"),
    [
        (("no", "no", "no"), "none", [0, 0, 0]),
        (("yes", "no", "yes"), "edema+mass", [1, 0, 1]),
        (("yes", "", "no"), "edema+?effusion", [1, -1, 0]),
        (("no", "", "no"), "?effusion", [0, -1, 0]),
        (("", "", ""), "", [-1, -1, -1]),
    ],
)
def test_a_pattern_says_what_the_labels_say(
    cells: tuple[str, ...], pattern: str, flags: list[int]
) -> None:
    told = patterns.compose(dict(zip(NAMES, cells, strict=True)), LABELS)

    assert told == pattern
    assert patterns.read_patterns([told], NAMES).tolist() == [flags]
    assert patterns.is_complete(told) == (-1 not in flags)


def test_a_finding_that_is_part_of_anothers_name_is_another() -> None:
    assert patterns.read_patterns(["edema-old"], ("edema", "edema-old")).tolist() == [[0, 1]]


def test_who_has_a_finding_is_counted_once_for_each() -> None:
    cells = pd.Series(["edema+mass", "mass", "none", "?mass", ""])

    assert patterns.count_classes(cells, FINDINGS, NAMES) == {
        "edema": 1, "effusion": 0, "mass": 2, "unknown": 2
    }  # fmt: skip
    assert patterns.count_classes(pd.Series(["a", "b", ""]), "idh", ("a", "b")) == {
        "a": 1, "b": 1, "unknown": 1
    }  # fmt: skip


def test_a_patient_belongs_to_the_rarest_finding_of_any_scan() -> None:
    frequency = {"edema": 9, "effusion": 3, "mass": 3}

    assert patterns.rarest(["edema", "edema+mass"], frequency) == "mass"
    assert patterns.rarest(["effusion+mass"], frequency) == "effusion"
    assert patterns.rarest(["none", ""], frequency) == "none"
    assert patterns.rarest([""], frequency) == ""


def table(**patients: int) -> pd.DataFrame:
    """Return a scan of each of so many patients by pattern, spelled with _ for +."""
    rows = [
        {"patient_id": f"{name}-{number}", FINDINGS: name.replace("_", "+")}
        for name, count in patients.items()
        for number in range(count)
    ]
    return pd.DataFrame(rows)


def test_patterns_of_four_patients_are_not_told() -> None:
    told = patterns.tell_patterns(table(none=7, edema=5, edema_mass=4), site="north")

    assert told == {"none": 7, "edema": 5}


def test_many_scans_of_few_patients_are_not_told() -> None:
    once = table(edema=4)

    with pytest.raises(CohortError, match="site 'north': no combination of findings has 5"):
        patterns.tell_patterns(pd.concat([once, once, once]), site="north")


def test_shares_add_up_and_the_largest_remainders_are_served_first() -> None:
    assert patterns.apportion([5, 3, 2], 10) == [5, 3, 2]
    assert patterns.apportion([1, 1, 1], 10) == [4, 3, 3]
    assert patterns.apportion([6, 3, 1], 4) == [2, 1, 1]


def test_every_beginning_lies_evenly() -> None:
    order = patterns.spread_evenly(100)

    assert sorted(order) == list(range(100))
    for taken in (10, 30, 50):
        assert abs(sum(place < 50 for place in order[:taken]) - taken / 2) <= 2
