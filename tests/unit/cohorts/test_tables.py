"""The data contract, broken in one place at a time."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sitesynth.cohorts.tables import read_cohort
from sitesynth.errors import CohortError, LeakageError
from sitesynth.settings import CohortSettings, SiteSettings


Rows = list[dict[str, str]]
Write = Callable[[Rows], Path]


class TestMapping:
    """Other people's names and codes become ours."""

    def test_a_table_in_our_words_is_taken_as_it_is(
        self, rows: Rows, write_table: Write, cohort: CohortSettings, sites: SiteSettings
    ) -> None:
        found = read_cohort(write_table(rows), cohort=cohort, sites=sites)

        assert found.table.to_dict("records") == rows
        assert found.left_out == {}

    def test_the_order_of_rows_and_columns_does_not_matter(
        self, rows: Rows, write_table: Write, cohort: CohortSettings, sites: SiteSettings
    ) -> None:
        one = read_cohort(write_table(rows), cohort=cohort, sites=sites)
        turned = [dict(reversed(row.items())) for row in reversed(rows)]
        other = read_cohort(write_table(turned), cohort=cohort, sites=sites)

        assert one.table.equals(other.table)

    def test_names_and_codes_are_translated(
        self, rows: Rows, write_table: Write, cohort: CohortSettings, sites: SiteSettings
    ) -> None:
        theirs = [
            {
                "Subject": row["patient_id"],
                "Hospital": row["site"].upper(),
                "IDH status": {"wildtype": "WT", "mutant": "1"}[row["idh"]],
                **{name: row[name] for name in ("age", "t1", "flair", "mask")},
                "sex": "female",
                "unused": "x",
            }
            for row in rows
        ]
        mapped = cohort.model_copy(
            update={
                "columns": {"patient_id": "Subject", "site": "Hospital", "idh": "IDH status"},
                "codes": {
                    "site": {site.upper(): site for site in sites.all},
                    "idh": {"WT": "wildtype", "1": "mutant"},
                    "sex": {"female": "F"},
                },
            }
        )

        found = read_cohort(write_table(theirs), cohort=mapped, sites=sites)

        assert found.table.to_dict("records") == rows

    def test_a_code_can_say_unknown(
        self, rows: Rows, write_table: Write, cohort: CohortSettings, sites: SiteSettings
    ) -> None:
        rows[0]["idh"] = "not tested"
        mapped = cohort.model_copy(update={"codes": {"idh": {"not tested": ""}}})

        found = read_cohort(write_table(rows), cohort=mapped, sites=sites)

        assert found.table["idh"][0] == ""

    def test_other_sites_are_counted_and_not_judged(
        self, rows: Rows, write_table: Write, cohort: CohortSettings, sites: SiteSettings
    ) -> None:
        rows += [rows[0] | {"site": "zelkova", "age": "old"}] * 2

        found = read_cohort(write_table(rows), cohort=cohort, sites=sites)

        assert found.left_out == {"zelkova": 2}
        assert len(found.table) == 6

    def test_one_image_column_stands_for_all_sequences(
        self, rows: Rows, write_table: Write, cohort: CohortSettings, sites: SiteSettings
    ) -> None:
        theirs = [
            {name: cell for name, cell in row.items() if name not in {"t1", "flair"}}
            | {"image": row["t1"]}
            for row in rows
        ]

        found = read_cohort(write_table(theirs), cohort=cohort, sites=sites)

        assert list(found.table.columns)[-2:] == ["image", "mask"]

    def test_a_scan_can_be_named_by_its_file(
        self, rows: Rows, write_table: Write, cohort: CohortSettings, sites: SiteSettings
    ) -> None:
        mapped = cohort.model_copy(update={"columns": {"scan_id": "t1"}})

        found = read_cohort(write_table(rows), cohort=mapped, sites=sites)

        assert found.table["scan_id"][0] == "alder-001_t1"

    def test_a_column_that_is_not_ours_cannot_be_mapped(
        self, rows: Rows, write_table: Write, cohort: CohortSettings, sites: SiteSettings
    ) -> None:
        mapped = cohort.model_copy(update={"columns": {"patient": "Subject"}})

        with pytest.raises(CohortError, match=r"cohort\.columns .* maps 'patient', which is no"):
            read_cohort(write_table(rows), cohort=mapped, sites=sites)

    def test_image_and_sequences_cannot_both_be_mapped(
        self, rows: Rows, write_table: Write, cohort: CohortSettings, sites: SiteSettings
    ) -> None:
        mapped = cohort.model_copy(update={"columns": {"image": "t1", "t1": "t1"}})

        with pytest.raises(CohortError, match=r"maps both 'image' and \['t1'\]"):
            read_cohort(write_table(rows), cohort=mapped, sites=sites)


@pytest.mark.parametrize(
    ("row", "column", "value", "message"),
    [
        (0, "idh", "Mutant", r"row 2, column 'idh': 'Mutant' must be one of \['wildtype', 'mut"),
        (1, "split", "val", r"row 3, column 'split': 'val' must be one of .*cohort\.codes\.split"),
        (4, "split", "train", r"row 6, column 'split': 'train' is refused at an external site"),
        (2, "age", "abc", r"row 4, column 'age': 'abc' must be a number of years from 0 to 120"),
        (2, "age", "-3", r"row 4, column 'age': '-3' must be a number"),
        (2, "sex", "f", r"row 4, column 'sex': 'f' must be one of \['F', 'M'\]"),
        (3, "scan_id", "a/b", r"row 5, column 'scan_id': 'a/b' must be letters"),
        (3, "patient_id", "", r"row 5, column 'patient_id': '' must not be empty"),
        (3, "site", "", r"row 5, column 'site': '' must not be empty"),
        (5, "t1", "gone.nii.gz", r"row 7, column 't1': 'gone.nii.gz' does not exist in "),
        (5, "mask", "/m.nii.gz", r"row 7, column 'mask': '/m.nii.gz' must be a path relative"),
        (5, "mask", "../m.nii", r"row 7, column 'mask': '../m.nii' leaves the table's folder"),
        (5, "flair", "a\nb.nii", r"row 7, column 'flair': 'a\\nb.nii' holds a line break"),
    ],
)
def test_a_bad_cell_is_named_with_row_value_and_rule(
    rows: Rows,
    write_table: Write,
    cohort: CohortSettings,
    sites: SiteSettings,
    row: int,
    column: str,
    value: str,
    message: str,
) -> None:
    rows[row][column] = value

    with pytest.raises(CohortError, match=message) as error:
        read_cohort(write_table(rows), cohort=cohort, sites=sites)

    assert "scans.csv" in str(error.value)


def test_a_missing_column_is_named_with_those_that_are_there(
    rows: Rows, write_table: Write, cohort: CohortSettings, sites: SiteSettings
) -> None:
    for row in rows:
        del row["sex"]

    with pytest.raises(CohortError, match=r"no column 'sex', .*'age', 't1'.*cohort\.columns\.sex"):
        read_cohort(write_table(rows), cohort=cohort, sites=sites)


def test_a_scan_without_any_sequence_is_refused(
    rows: Rows, write_table: Write, cohort: CohortSettings, sites: SiteSettings
) -> None:
    rows[1] |= {"t1": "", "flair": ""}

    with pytest.raises(CohortError, match="row 3, scan 'alder-002': no sequence at all"):
        read_cohort(write_table(rows), cohort=cohort, sites=sites)


def test_a_scan_may_lack_one_sequence_and_its_mask(
    rows: Rows, write_table: Write, cohort: CohortSettings, sites: SiteSettings
) -> None:
    rows[1] |= {"t1": "", "mask": ""}

    found = read_cohort(write_table(rows), cohort=cohort, sites=sites)

    assert found.table["t1"][1] == ""


def test_a_scan_that_is_there_twice_is_named_with_both_rows(
    rows: Rows, write_table: Write, cohort: CohortSettings, sites: SiteSettings
) -> None:
    rows.insert(3, dict(rows[0]))

    with pytest.raises(CohortError, match="rows 2 and 5: both have the scan_id 'alder-001'"):
        read_cohort(write_table(rows), cohort=cohort, sites=sites)


def test_a_site_without_a_row_is_named_with_those_that_are_there(
    rows: Rows, write_table: Write, cohort: CohortSettings, sites: SiteSettings
) -> None:
    """The same message for a site that params.yaml invents, and one that has lost its rows."""
    with pytest.raises(CohortError, match=r"no row for site 'birch'.*\['alder', 'cedar'\]"):
        read_cohort(write_table(rows[:2] + rows[4:]), cohort=cohort, sites=sites)


def test_a_patient_at_two_sites_is_a_leak_that_names_both_rows(
    rows: Rows, write_table: Write, cohort: CohortSettings, sites: SiteSettings
) -> None:
    rows[4]["patient_id"] = "alder-001"

    with pytest.raises(LeakageError, match="rows 2 and 6: patient 'alder-001' has site 'alder'"):
        read_cohort(write_table(rows), cohort=cohort, sites=sites)


def test_a_patient_in_two_splits_is_a_leak_that_names_both_rows(
    rows: Rows, write_table: Write, cohort: CohortSettings, sites: SiteSettings
) -> None:
    rows[0]["split"] = "train"
    rows[1] |= {"patient_id": "alder-001", "split": "validation", "idh": "wildtype"}

    with pytest.raises(LeakageError, match="rows 2 and 3: patient 'alder-001' has split 'train'"):
        read_cohort(write_table(rows), cohort=cohort, sites=sites)


def test_a_patient_with_two_labels_is_refused(
    rows: Rows, write_table: Write, cohort: CohortSettings, sites: SiteSettings
) -> None:
    rows[1]["patient_id"] = "alder-001"

    with pytest.raises(CohortError, match="rows 2 and 3: patient 'alder-001' has idh 'wildtype'"):
        read_cohort(write_table(rows), cohort=cohort, sites=sites)


def test_a_file_of_two_scans_is_a_leak_that_names_both_rows(
    rows: Rows, write_table: Write, cohort: CohortSettings, sites: SiteSettings
) -> None:
    """However the path is written."""
    rows[3]["flair"] = f"./{rows[0]['t1']}"

    with pytest.raises(LeakageError, match="rows 2 and 5: scans 'alder-001' and 'birch-002' both"):
        read_cohort(write_table(rows), cohort=cohort, sites=sites)


def test_a_file_named_for_two_sequences_is_refused(
    rows: Rows, write_table: Write, cohort: CohortSettings, sites: SiteSettings
) -> None:
    rows[0]["flair"] = rows[0]["t1"]

    with pytest.raises(CohortError, match=r"row 2, scan 'alder-001': \['t1', 'flair'\] name the"):
        read_cohort(write_table(rows), cohort=cohort, sites=sites)


def test_many_problems_make_one_error_that_lists_the_first(
    rows: Rows, write_table: Write, cohort: CohortSettings, sites: SiteSettings
) -> None:
    for row in rows:
        row["age"] = "old"

    with pytest.raises(CohortError, match=r"(?s)has 6 problems:\n  row 2.*\n  and 1 more") as error:
        read_cohort(write_table(rows), cohort=cohort, sites=sites)

    assert str(error.value).count("'old'") == 5


def test_a_brain_mask_may_serve_all_scans_but_none_may_lack_it(
    rows: Rows, write_table: Write, cohort: CohortSettings, sites: SiteSettings
) -> None:
    """An atlas's brain is one file; a scan that was not stripped would stand out."""
    stripped = cohort.model_copy(update={"has_brain_mask": True})
    shared = [row | {"brain_mask": rows[0]["mask"]} for row in rows]
    shared[0]["mask"] = ""
    found = read_cohort(write_table(shared), cohort=stripped, sites=sites)
    assert list(found.table.columns[-2:]) == ["brain_mask", "mask"]

    shared[1]["brain_mask"] = ""
    with pytest.raises(
        CohortError,
        match=r"row 3, column 'brain_mask': '' must not be empty: cohort\.has_brain_mask",
    ):
        read_cohort(write_table(shared), cohort=stripped, sites=sites)
