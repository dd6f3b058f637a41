"""Covariates as numbers, what may be told of a site's, and what the hub draws from that."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from sitesynth.errors import CohortError, SitesynthError
from sitesynth.generators.covariates import Covariates, Moments, NumberCovariate
from sitesynth.generators.descriptions import describe_covariates
from sitesynth.generators.draws import check_asked, draw_covariates


CLASSES = ("wildtype", "mutant")
COVARIATES = Covariates.model_validate(
    {
        "columns": [
            {"kind": "number", "name": "age", "mean": 50.0, "std": 10.0, "bounds": [0.0, 120.0]},
            {"kind": "category", "name": "sex", "categories": ["F", "M"]},
        ],
        "cells": [
            [
                {"patients": 30, "told": [{"mean": 60.0, "std": 5.0}, "F"]},
                {"patients": 10, "told": [None, "M"]},
            ],
            [],
        ],
    }
)
"""Three of four wild types are women of 60; of mutants nothing is told."""


def table_of(rows: Sequence[tuple[str, str, str, str]]) -> pd.DataFrame:
    """Return a table of patients: label, age, sex, scanner."""
    table = pd.DataFrame(list(rows), columns=["idh", "age", "sex", "scanner"], dtype=str)
    return table.assign(patient_id=[f"p{number}" for number in range(len(table))])


def describe(table: pd.DataFrame, *names: str) -> Covariates:
    return describe_covariates(
        table, names, label="idh", classes=CLASSES, site="alder", bounds={"age": (0.0, 120.0)}
    )


class TestEncode:
    def test_numbers_in_standard_deviations_categories_by_place(self) -> None:
        """65 is 1.5 standard deviations of 10 above 50; M is the second category."""
        values = COVARIATES.encode_table(pd.DataFrame({"age": ["65", ""], "sex": ["M", "F"]}))

        assert values[0].tolist() == [1.5, 1.0]
        assert values[1, 0].isnan()
        assert values[1, 1] == 0

    def test_what_the_generator_does_not_know_is_unknown(self) -> None:
        """A scan of a scanner from another site is no error: its scanner is not known here."""
        assert all(math.isnan(v) for v in COVARIATES.encode({"age": "nan", "sex": "X"}))

    def test_a_column_per_number_and_per_category(self) -> None:
        nan = float("nan")
        spread = COVARIATES.spread_out(torch.tensor([[1.5, 1.0], [nan, nan]]))

        assert spread[0].tolist() == [1.5, 0.0, 1.0]
        assert spread[1].isnan().all()

    def test_expected_is_the_mean_over_cells(self) -> None:
        """Known ages are 60, one deviation up; 30 of 40 are F; an untold class is like all."""
        told = torch.tensor([[1.0, 0.75, 0.25]] * 3)

        torch.testing.assert_close(COVARIATES.expected(), told)


class TestDescribe:
    def test_moments_are_of_the_class_and_rounded(self) -> None:
        """Ages 40 to 49 and 60 to 69: means 44.5 and 64.5, to the next 2; spread 2.9, to 2 or 4."""
        rows = [("mutant", str(40 + n), "F", "") for n in range(10)]
        rows += [("wildtype", str(60 + n), "F", "") for n in range(10)]
        found = describe(table_of(rows), "age")

        (age,) = found.columns
        assert age == NumberCovariate(
            kind="number", name="age", mean=54.0, std=10.0, bounds=(0.0, 120.0)
        )
        (wildtype,), (mutant,) = found.cells
        assert wildtype.told == (Moments(mean=64.0, std=2.0),)
        assert mutant.told == (Moments(mean=44.0, std=2.0),)
        assert wildtype.patients == mutant.patients == 10

    def test_few_numbers_are_categories_however_they_are_written(self) -> None:
        """1.5 T and 3 T are two magnets, and 3 is 3.0."""
        rows = [("mutant", "", "", word) for word in ["3", "3.0", "1.5"] * 5]

        (scanner,) = describe(table_of(rows), "scanner").columns
        assert scanner.model_dump()["categories"] == ("1.5", "3")

    def test_a_category_of_fewer_than_five_patients_is_nowhere(self) -> None:
        """Four patients of one scanner: neither its name nor a cell of it is told."""
        rows = [("mutant", "", "", "common")] * 9 + [("mutant", "", "", "rare")] * 4
        found = describe(table_of(rows), "scanner")

        assert "rare" not in found.model_dump_json()
        assert [cell.patients for cell in found.cells[1]] == [9]
        assert math.isnan(found.encode({"scanner": "rare"})[0])

    def test_a_small_cell_gives_up_its_last_category_first(self) -> None:
        """Men on A (2) and on B (4) become six men on some scanner; women on A stay."""
        rows = [("mutant", "", "F", "A")] * 7
        rows += [("mutant", "", "M", "A")] * 2 + [("mutant", "", "M", "B")] * 4
        rows += [("wildtype", "", "F", "B")] * 5
        found = describe(table_of(rows), "sex", "scanner")

        told = {cell.told: cell.patients for cell in found.cells[1]}
        assert told == {("F", "A"): 7, ("M", None): 6}

    def test_who_is_left_alone_is_not_told_of(self) -> None:
        """One man among women: all of him is withheld, and his age enters no cell."""
        rows = [("mutant", str(30 + n), "F", "") for n in range(20)]
        rows += [("mutant", "90", "M", "")] + [("wildtype", str(50 + n), "M", "") for n in range(9)]
        found = describe(table_of(rows), "age", "sex")

        assert sum(cell.patients for cell in found.cells[1]) == 20
        (cell,) = found.cells[1]
        assert cell.told[0] == Moments(mean=40.0, std=6.0)

    def test_rounding_hides_one_patient_in_the_difference_of_two_tables(self) -> None:
        """Whoever subtracts the cells from the site learns nothing of the one between them.

        The one is 30, 60 or 90 years old; what is left for him by the totals is not his age.
        """
        others = [("mutant", str(20 + 2 * n), "F", "") for n in range(30)]
        guesses = []
        for age in (30, 60, 90):
            found = describe(table_of([*others, ("mutant", str(age), "", "")]), "age", "sex")
            (cell,), (column, _) = found.cells[1], found.columns
            assert isinstance(column, NumberCovariate)
            assert isinstance(cell.told[0], Moments)
            guesses.append(31 * column.mean - 30 * cell.told[0].mean)

        assert max(abs(guess - age) for guess, age in zip(guesses, (30, 60, 90), strict=True)) > 15

    def test_a_patient_of_several_scans_counts_once(self) -> None:
        """Five scans of one patient are not five patients."""
        table = table_of([("mutant", "", "F", "A")] * 5 + [("mutant", "", "M", "A")] * 5)
        table.loc[:4, "patient_id"] = "one"

        (sex,) = describe(table, "sex").columns
        assert sex.model_dump()["categories"] == ("M",)

    def test_a_covariate_that_nobody_knows_is_an_error(self) -> None:
        with pytest.raises(CohortError, match=r"names age, but it is unknown for all 3 training"):
            describe(table_of([("mutant", "", "F", "A")] * 3), "age")

    def test_a_covariate_of_single_patients_is_an_error(self) -> None:
        rows = [("mutant", "", "", scanner) for scanner in "ABC"]
        with pytest.raises(CohortError, match=r"none of its values is of 5 or more of the 3 train"):
            describe(table_of(rows), "scanner")


def drawn(asked: dict[str, str], count: int, *, number: int = 0) -> list[dict[str, str]]:
    return [
        draw_covariates(
            COVARIATES, asked, number=number, index=i, seed=3, site="alder", name=CLASSES[number]
        )
        for i in range(count)
    ]


class TestDraw:
    @pytest.mark.parametrize("count", [4, 10, 40, 100])
    def test_any_number_of_scans_has_the_mix_of_the_site(self, count: int) -> None:
        """Three quarters women, to within two scans, and not only on average."""
        counts = Counter(words["sex"] for words in drawn({}, count))

        assert abs(counts["F"] - 0.75 * count) <= 2

    def test_numbers_have_the_moments_of_their_cell(self) -> None:
        """Normal with mean 60 and deviation 5, cut at two deviations, where it keeps 0.88 of it."""
        ages = np.array([float(w["age"]) for w in drawn({}, 2000) if w["sex"] == "F"])

        assert abs(ages.mean() - 60) < 0.5
        assert abs(ages.std() - 5 * 0.88) < 0.2
        assert ages.min() >= 50
        assert ages.max() <= 70

    def test_what_is_not_told_is_unknown(self) -> None:
        """The ages of men here, and everything of mutants."""
        assert {w["age"] for w in drawn({}, 40) if w["sex"] == "M"} == {""}
        assert drawn({}, 2, number=1) == [{"age": "", "sex": ""}] * 2

    def test_what_is_asked_for_is_had_and_narrows_the_rest(self) -> None:
        """Women have an age here and men have none; who asks for women gets ages."""
        women, old = drawn({"sex": "F"}, 20), drawn({"age": "77"}, 20)

        assert all(w["sex"] == "F" and w["age"] for w in women)
        assert {w["age"] for w in old} == {"77"}
        assert {w["sex"] for w in old} == {"F", "M"}

    def test_a_scan_is_the_same_among_others(self) -> None:
        assert drawn({}, 9)[7] == drawn({}, 20)[7]


class TestAsk:
    def test_words_become_the_generators_own(self) -> None:
        """Empty is unknown."""
        asked = check_asked(COVARIATES, {"age": "61.5", "sex": ""}, site="alder")

        assert asked == {"age": "61.5", "sex": ""}

    @pytest.mark.parametrize(
        ("asked", "message"),
        [
            ({"height": "1"}, r"alder knows the covariates \['age', 'sex'\], not 'height'"),
            ({"sex": "X"}, r"knows sex as one of \['F', 'M'\], not 'X'; values of fewer than 5"),
            ({"age": "81"}, r"age around 50 .*deviation 10.* from 20 to 80, not '81'"),
            ({"age": "old"}, r"takes a number from 20 to 80, not 'old'"),
            ({"age": "nan"}, r"takes a number from 20 to 80, not 'nan'"),
        ],
    )
    def test_what_was_not_learned_is_refused(self, asked: dict[str, str], message: str) -> None:
        with pytest.raises(SitesynthError, match=message):
            check_asked(COVARIATES, asked, site="alder")

    def test_a_generator_without_covariates_knows_none(self) -> None:
        with pytest.raises(SitesynthError, match=r"knows the covariates \[\], not 'age'"):
            check_asked(None, {"age": "60"}, site="alder")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": []}, "at least 1 item"),
        ({"cells": []}, "at least 1 item"),
        ({"cells": [[{"patients": 4, "told": [None, "F"]}]]}, "greater than or equal to 5"),
        ({"cells": [[{"patients": 5, "told": ["F"]}]]}, "has 1 values for 2 covariates"),
        ({"cells": [[{"patients": 5, "told": ["F", "F"]}]]}, "age must not be 'F'"),
        ({"cells": [[{"patients": 5, "told": [None, "X"]}]]}, "sex must not be 'X'"),
        (
            {"cells": [[{"patients": 5, "told": [{"mean": 1e300, "std": 1.0}, "F"]}]]},
            "less than or equal to",
        ),
    ],
)
def test_a_description_that_contradicts_itself_is_refused(
    change: dict[str, object], message: str
) -> None:
    """It may come from a stranger."""
    with pytest.raises(ValidationError, match=message):
        Covariates.model_validate(COVARIATES.model_dump(mode="json") | change)
