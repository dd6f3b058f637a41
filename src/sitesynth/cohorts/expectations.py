"""Rules for tables, judged by great-expectations: its only doorway.

Rules go in and rows come out as plain data, so that a page, a JSON file and an error message can
say the same, and so that nothing of a run (ids, times) is in what is kept.
"""

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import pandas as pd


__all__ = ["Expectation", "Outcome", "judge"]


@final
@dataclass(frozen=True, slots=True)
class Expectation:
    """One rule, and great-expectations' name for it."""

    subject: str
    """Name of the table it is about."""
    rule: str
    """A sentence that a reader of the page agrees with or not."""
    step: str
    """What to do where it does not hold."""
    kind: str
    """A class of `great_expectations.expectations`."""
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """The columns that a failure shows."""
        return [
            self.kwargs[key] for key in ("column", "column_A", "column_B") if key in self.kwargs
        ]


@final
@dataclass(frozen=True, slots=True)
class Outcome:
    """Where a rule does not hold."""

    expectation: Expectation
    rows: tuple[int, ...]
    """Rows of the expectation's table, from 0."""


def judge(suite: Sequence[Expectation], tables: Mapping[str, pd.DataFrame]) -> list[Outcome]:
    """Find the rows for which each rule does not hold.

    Args:
        suite: Rules about `tables`.
        tables: By subject; a null cell is not judged, except by rules about null.

    Returns:
        One outcome per rule, in the order of the suite.
    """
    gx = _great_expectations()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_pandas("site")
    failing: dict[int, tuple[int, ...]] = {}
    for subject, table in tables.items():
        built = [
            getattr(gx.expectations, expectation.kind)(
                **expectation.kwargs, meta={"number": number}
            )
            for number, expectation in enumerate(suite)
            if expectation.subject == subject
        ]
        asset = source.add_dataframe_asset(subject)
        batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": table})
        # pandas warns its callers of changes that are great-expectations' to follow.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = batch.validate(
                gx.ExpectationSuite(name=subject, expectations=built),
                result_format={"result_format": "COMPLETE"},
            )
        for one in result.results:
            number = one.expectation_config.meta["number"]
            # A rule that great-expectations cannot evaluate is our mistake, not the cohort's.
            assert one.success or "unexpected_index_list" in one.result, one.exception_info  # noqa: S101
            failing[number] = () if one.success else tuple(one.result["unexpected_index_list"])
    return [Outcome(expectation, failing[number]) for number, expectation in enumerate(suite)]


def _great_expectations() -> Any:
    """Import great-expectations, which takes seconds, reports home, and warns of others."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations as gx  # noqa: PLC0415
    return gx
