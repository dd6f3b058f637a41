"""great-expectations finds the rows that we find by hand."""

import numpy as np
import pandas as pd
import pytest

from sitesynth.cohorts.expectations import Expectation, judge


pytestmark = pytest.mark.slow  # great-expectations takes 5 s to import


def rule(kind: str, subject: str = "scans", **kwargs: object) -> Expectation:
    return Expectation(subject, "A rule", "do this", kind, kwargs)


def test_each_rule_finds_its_rows_and_passes_over_null() -> None:
    """Rows are numbered from 0, and outcomes come in the order of the suite."""
    suite = [
        rule("ExpectColumnValuesToBeBetween", column="age", min_value=0, max_value=120),
        rule("ExpectColumnValuesToBeUnique", column="scan_id"),
        rule("ExpectColumnValuesToBeNull", "files", column="error"),
        rule("ExpectColumnValuesToBeInSet", column="sex", value_set=["F", "M"]),
        rule("ExpectColumnValuesToNotBeNull", column="sex"),
        rule(
            "ExpectColumnPairValuesToBeEqual",
            "files",
            column_A="shape",
            column_B="reference_shape",
            ignore_row_if="either_value_is_missing",
        ),
        rule("ExpectColumnValuesToBeBetween", "files", column="contrast", min_value=0),
    ]
    tables = {
        "scans": pd.DataFrame(
            {
                "scan_id": ["a", "b", "a"],
                "age": [61.0, np.nan, 130.0],
                "sex": np.array(["F", None, "x"], dtype=object),
            }
        ),
        "files": pd.DataFrame(
            {
                "error": np.array([None, "truncated", None], dtype=object),
                "shape": np.array(["2 x 2", None, "3 x 3"], dtype=object),
                "reference_shape": ["2 x 2", "2 x 2", "2 x 2"],
                "contrast": [np.nan, np.nan, np.nan],
            }
        ),
    }

    outcomes = judge(suite, tables)

    assert [outcome.expectation for outcome in outcomes] == suite
    assert [outcome.rows for outcome in outcomes] == [(2,), (0, 2), (1,), (2,), (1,), (2,), ()]


def test_a_rule_that_cannot_be_evaluated_is_our_mistake() -> None:
    with pytest.raises(AssertionError, match="no_such_column"):
        judge(
            [rule("ExpectColumnValuesToBeUnique", column="no_such_column")],
            {"scans": pd.DataFrame({"scan_id": ["a"]})},
        )
