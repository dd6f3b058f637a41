"""Patients stay on their side of each wall, in the shares that were asked for."""

from collections.abc import Mapping

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sitesynth.cohorts.splits import Splits, draw_validation, make_splits
from sitesynth.errors import CohortError, LeakageError
from sitesynth.settings import SiteSettings, SplitSettings


CLASSES = ("wildtype", "mutant")
SITES = SiteSettings(
    all=("alder", "birch", "cedar"), training=("alder", "birch"), external=("cedar",)
)


def table_of(site: str, counts: Mapping[str, int], *, num_scans: int = 1) -> pd.DataFrame:
    """Return a site's table with a number of patients of each class."""
    rows = [
        {
            "patient_id": f"{site}-{label}-{patient}",
            "scan_id": f"{site}-{label}-{patient}-{scan}",
            "site": site,
            "split": "",
            "idh": label,
            "sha256_t1": f"bytes of {site}-{label}-{patient}-{scan}",
            "sha256_mask": "one atlas",
        }
        for label, count in counts.items()
        for patient in range(count)
        for scan in range(num_scans)
    ]
    return pd.DataFrame(rows, dtype=str)


def tables_of(**counts: Mapping[str, int]) -> dict[str, pd.DataFrame]:
    ten = {"wildtype": 10, "mutant": 10}
    return {site: table_of(site, counts.get(site, ten)) for site in SITES.all}


def split_up(
    tables: Mapping[str, pd.DataFrame],
    *,
    sites: SiteSettings = SITES,
    validation_fraction: float = 0.2,
    seed: int = 1,
    digests: Mapping[str, Mapping[str, Mapping[str, str]]] | None = None,
) -> Splits:
    return make_splits(
        tables,
        digests or {site: {} for site in tables},
        sites=sites,
        label="idh",
        classes=CLASSES,
        split=SplitSettings(validation_fraction=validation_fraction),
        seed=seed,
    )


class TestDrawing:
    """Splits that the table does not give."""

    @settings(max_examples=25, deadline=None, derandomize=True)
    @given(
        counts=st.fixed_dictionaries(
            {"wildtype": st.integers(2, 30), "mutant": st.integers(2, 30), "": st.integers(0, 9)}
        ),
        num_scans=st.integers(1, 3),
        validation_fraction=st.floats(0.05, 0.9),
        seed=st.integers(0, 99),
    )
    def test_no_patient_is_in_two_splits_and_each_class_is_divided_alike(
        self, counts: dict[str, int], num_scans: int, validation_fraction: float, seed: int
    ) -> None:
        """Within half a patient of the share, except that neither side is left empty."""
        sites = SiteSettings(all=("alder", "cedar"), training=("alder",), external=("cedar",))
        tables = {
            "alder": table_of("alder", counts, num_scans=num_scans),
            "cedar": table_of("cedar", {"mutant": 1}),
        }

        made = split_up(tables, sites=sites, validation_fraction=validation_fraction, seed=seed)

        alder = made.tables["alder"].merge(tables["alder"][["scan_id", "idh"]], on="scan_id")
        assert len(alder) == len(tables["alder"])
        assert len(alder[["patient_id", "split"]].drop_duplicates()) == sum(counts.values())
        for label, count in counts.items():
            patients = alder[alder["idh"] == label].drop_duplicates("patient_id")
            held_out = int((patients["split"] == "validation").sum())
            least, most = (1, count - 1) if count > 1 else (0, 0)
            wanted = min(max(count * validation_fraction, least), most)
            assert abs(held_out - wanted) <= 0.5

    def test_two_of_ten_are_held_out_at_a_fifth(self) -> None:
        made = split_up(tables_of())

        assert made.frozen["counts"]["alder"] == {
            "train": {"wildtype": 8, "mutant": 8, "unknown": 0},
            "validation": {"wildtype": 2, "mutant": 2, "unknown": 0},
            "test": {"wildtype": 0, "mutant": 0, "unknown": 0},
        }

    def test_external_sites_are_all_test(self) -> None:
        assert set(split_up(tables_of()).tables["cedar"]["split"]) == {"test"}

    def test_another_site_changes_nothing(self) -> None:
        fewer = SiteSettings(all=("alder", "cedar"), training=("alder",), external=("cedar",))
        tables = tables_of()

        alone = split_up({site: tables[site] for site in fewer.all}, sites=fewer)

        assert alone.tables["alder"].equals(split_up(tables).tables["alder"])

    def test_the_order_of_rows_changes_nothing(self) -> None:
        tables = tables_of()
        turned = {site: table.iloc[::-1].reset_index(drop=True) for site, table in tables.items()}

        one, other = split_up(tables), split_up(turned)

        assert one.frozen == other.frozen
        assert all(one.tables[site].equals(other.tables[site]) for site in SITES.all)

    def test_another_patient_moves_at_most_one(self) -> None:
        """A draw belongs to a patient, so a newcomer can only push one of them over the line."""
        patients = [f"p{number}" for number in range(20)]

        def held_out(of: list[str]) -> set[str]:
            return draw_validation(
                of, incomplete=patients[:6], validation_fraction=0.25, seed=1, site="alder"
            )

        before, after = held_out(patients), held_out([*patients, "new"])

        assert len(before) == 5
        assert len(before - after) <= 1

    @pytest.mark.parametrize(
        ("num_lacking", "held_out_lacking"), [(0, 0), (1, 0), (2, 1), (3, 1), (10, 3), (22, 7)]
    )
    def test_patients_who_lack_a_file_are_shared_out(
        self, num_lacking: int, held_out_lacking: int
    ) -> None:
        """Seven of 22 are held out whoever lacks what, and their share of those who do."""
        for seed in range(5):
            tables = tables_of(alder={"wildtype": 4, "mutant": 22})
            alder = tables["alder"]
            mutants = alder.index[alder["idh"] == "mutant"]
            alder["sha256_t1c"] = "t1c, " + alder["sha256_t1"]
            alder.loc[mutants[:num_lacking], "sha256_t1c"] = ""

            made = split_up(tables, validation_fraction=0.3, seed=seed).tables["alder"]

            held_out = made[made["split"] == "validation"].merge(alder, on="scan_id")
            of_mutants = held_out[held_out["idh"] == "mutant"]
            assert len(of_mutants) == 7
            assert int((of_mutants["sha256_t1c"] == "").sum()) == held_out_lacking

    def test_another_seed_draws_others(self) -> None:
        tables = tables_of()

        drawn = {tuple(split_up(tables, seed=seed).tables["alder"]["split"]) for seed in range(4)}

        assert len(drawn) > 1

    def test_a_class_that_cannot_be_held_out_is_named(self) -> None:
        message = "site 'birch': no patient with idh = 'mutant' in the validation split"

        with pytest.raises(CohortError, match=message):
            split_up(tables_of(birch={"wildtype": 10, "mutant": 1}))

    def test_one_class_only_is_named(self) -> None:
        message = "site 'birch': no patient with idh = 'mutant' in the train split"

        with pytest.raises(CohortError, match=message):
            split_up(tables_of(birch={"wildtype": 10}))

    def test_holding_out_nobody_is_refused(self) -> None:
        with pytest.raises(CohortError, match=r"Raise split\.validation_fraction"):
            split_up(tables_of(), validation_fraction=0.0)


class TestGiven:
    """Splits that the table gives."""

    def test_they_are_kept_and_test_is_kept_aside(self) -> None:
        tables = tables_of()
        wanted = ["train"] * 6 + ["validation"] * 3 + ["test"]
        tables["alder"]["split"] = wanted * 2

        made = split_up(tables)

        found = made.tables["alder"].set_index("scan_id")["split"]
        given = tables["alder"].set_index("scan_id")["split"]
        assert found.sort_index().equals(given.sort_index())
        assert made.frozen["counts"]["alder"]["test"] == {
            "wildtype": 1,
            "mutant": 1,
            "unknown": 0,
        }

    def test_some_without_a_split_are_refused(self) -> None:
        tables = tables_of()
        tables["alder"].loc[:3, "split"] = "train"

        with pytest.raises(CohortError, match=r"gives a split to 4 scans and none to 16.*Give all"):
            split_up(tables)

    def test_no_validation_is_refused(self) -> None:
        tables = tables_of()
        tables["alder"]["split"] = "train"

        with pytest.raises(CohortError, match="in the validation split"):
            split_up(tables)


class TestWalls:
    """What would be on both sides is named with both rows."""

    def test_a_patient_at_two_sites(self) -> None:
        tables = tables_of()
        tables["cedar"].loc[0, "patient_id"] = "alder-mutant-3"
        message = (
            "patient 'alder-mutant-3' is at two sites: scan 'alder-mutant-3-0' at alder and scan "
            "'cedar-wildtype-0-0' at cedar"
        )

        with pytest.raises(LeakageError, match=message):
            split_up(tables)

    def test_a_patient_in_two_splits(self) -> None:
        tables = tables_of()
        tables["alder"]["split"] = (["train"] * 5 + ["validation"] * 5) * 2
        tables["alder"].loc[9, "patient_id"] = "alder-wildtype-0"

        with pytest.raises(LeakageError, match="'alder-wildtype-0' of site alder is in two splits"):
            split_up(tables)

    @pytest.mark.parametrize("there", ["alder", "cedar"])
    def test_the_same_file_under_two_names(self, there: str) -> None:
        tables = tables_of()
        tables[there].loc[7, "sha256_t1"] = tables["alder"]["sha256_t1"][2]
        message = f"t1 of scan 'alder-wildtype-2-0' at alder and t1 of scan '{there}-wildtype-7-0'"

        with pytest.raises(LeakageError, match=message):
            split_up(tables)

    def test_the_same_voxels_in_different_files(self) -> None:
        """Written again with another compression, the bytes differ and the voxels do not."""
        digests = {
            "alder": {"alder-mutant-0-0": {"t1": "same"}},
            "birch": {},
            "cedar": {"cedar-mutant-4-0": {"t1": "same"}},
        }

        with pytest.raises(LeakageError, match=r"1 leaks.*\n.*'alder-mutant-0-0' at alder"):
            split_up(tables_of(), digests=digests)

    def test_masks_may_be_equal(self) -> None:
        """Every row of these tables has the same mask."""
        assert split_up(tables_of())


class TestFrozen:
    """The digest of the test set changes when the test set does, and only then."""

    def test_it_ignores_training_sites_and_the_seed(self) -> None:
        larger = tables_of(alder={"wildtype": 12, "mutant": 9})

        one = split_up(tables_of(), seed=1).frozen["test_sha256"]

        assert one == split_up(larger, seed=2).frozen["test_sha256"]

    @pytest.mark.parametrize("column", ["patient_id", "scan_id", "idh", "sha256_t1", "sha256_mask"])
    def test_it_feels_every_external_scan(self, column: str) -> None:
        tables = tables_of()
        before = split_up(tables).frozen["test_sha256"]
        tables["cedar"].loc[19, column] = "other"

        assert split_up(tables).frozen["test_sha256"] != before
