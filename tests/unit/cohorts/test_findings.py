"""Findings told side by side, from the table to who is split where."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from sitesynth.cohorts.splits import make_splits
from sitesynth.cohorts.tables import read_cohort
from sitesynth.errors import CohortError
from sitesynth.settings import FINDINGS, CohortSettings, SiteSettings, SplitSettings


Rows = list[dict[str, str]]
Write = Callable[[Rows], Path]

NAMES = ("edema", "mass")
SITES = SiteSettings(all=("alder", "elm"), training=("alder",), external=("elm",))


@pytest.fixture
def cohort(cohort: CohortSettings) -> CohortSettings:
    labels = dict.fromkeys(NAMES, ("no", "yes")) | {FINDINGS: NAMES}
    codes = {name: {"0": "no", "1": "yes"} for name in NAMES}
    return cohort.model_copy(update={"labels": labels, "codes": codes})


@pytest.fixture
def rows(rows: Rows) -> Rows:
    told = [("1", "0"), ("0", "0"), ("1", "1"), ("", "1"), ("", ""), ("0", "1")]
    return [
        row | dict(zip(NAMES, cells, strict=True)) for row, cells in zip(rows, told, strict=True)
    ]


def test_the_pattern_is_made_of_the_columns(
    rows: Rows, write_table: Write, cohort: CohortSettings, sites: SiteSettings
) -> None:
    found = read_cohort(write_table(rows), cohort=cohort, sites=sites).table

    assert found[FINDINGS].tolist() == ["edema", "none", "edema+mass", "?edema+mass", "", "mass"]
    assert list(found.columns).index(FINDINGS) == list(found.columns).index("mass") + 1


def test_scans_of_a_patient_may_know_different_findings(
    rows: Rows, write_table: Write, cohort: CohortSettings, sites: SiteSettings
) -> None:
    """What one scan leaves open is no contradiction; two answers are."""
    rows[3]["patient_id"] = rows[2]["patient_id"]
    found = read_cohort(write_table(rows), cohort=cohort, sites=sites).table
    rows[3]["edema"] = "0"

    assert set(found[found["site"] == "birch"][FINDINGS]) == {"edema+mass", "?edema+mass"}
    with pytest.raises(CohortError, match="has edema 'yes' and 'no'"):
        read_cohort(write_table(rows), cohort=cohort, sites=sites)


def test_a_column_of_findings_cannot_be_mapped(
    rows: Rows, write_table: Write, cohort: CohortSettings, sites: SiteSettings
) -> None:
    mapped = cohort.model_copy(update={"columns": {FINDINGS: "Finding Labels"}})

    with pytest.raises(CohortError, match="maps 'findings', which is no column"):
        read_cohort(write_table(rows), cohort=mapped, sites=sites)


def table_of(site: str, **patients: int) -> pd.DataFrame:
    """Return so many patients of each pattern, spelled with _ for +."""
    return pd.DataFrame(
        [
            {
                "patient_id": f"{site}-{name}-{number}",
                "scan_id": f"{site}-{name}-{number}",
                "site": site,
                "split": "",
                FINDINGS: name.replace("_", "+"),
                "sha256_xray": f"{site}-{name}-{number}",
            }
            for name, count in patients.items()
            for number in range(count)
        ],
        dtype=str,
    )


def split_up(training: pd.DataFrame) -> pd.DataFrame:
    made = make_splits(
        {"alder": training, "elm": table_of("elm", none=3, edema=1)},
        {"alder": {}, "elm": {}},
        sites=SITES,
        label=FINDINGS,
        classes=NAMES,
        split=SplitSettings(validation_fraction=0.25),
        seed=1,
    )
    counts = made.frozen["counts"]["elm"]["test"]
    assert counts == {"edema": 1, "mass": 0, "unknown": 0}
    return made.tables["alder"].merge(training.drop(columns=["split", "patient_id"]), on="scan_id")


def test_the_rarest_finding_is_split_in_its_own_share() -> None:
    """Mass is had by 8 in two patterns of 4: a quarter of 8 is 2, of those with edema alone 5."""
    split = split_up(table_of("alder", none=20, edema=20, edema_mass=4, mass=4))
    held_out = split[split["split"] == "validation"][FINDINGS]

    assert held_out.str.contains("mass").sum() == 2
    assert (held_out == "edema").sum() == 5
    assert (held_out == "none").sum() == 5


def test_a_site_where_all_to_learn_from_have_a_finding_cannot_train() -> None:
    with pytest.raises(CohortError, match="site 'alder': no patient without edema in the train"):
        split_up(table_of("alder", edema=10, edema_mass=10))


def test_one_patient_with_a_finding_is_not_enough_to_choose_by_but_to_learn_from() -> None:
    split = split_up(table_of("alder", none=10, edema=10, mass=1))

    assert split[split[FINDINGS] == "mass"]["split"].tolist() == ["train"]
