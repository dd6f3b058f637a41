"""Tables about the data count what is there."""

from typing import TYPE_CHECKING

from sitesynth.reports.cohort_tables import (
    covariate_table,
    intensity_density,
    missing_table,
    patient_table,
)


if TYPE_CHECKING:
    from sitesynth.reports.study import Results, Study


def test_a_missing_sequence_is_counted_at_its_site(study: "Study", results: "Results") -> None:
    """Every fabricated site has eight scans, of which one lacks t1c."""
    table = missing_table(results.images, sequences=study.cohort.sequences)

    assert [cell.text for cell in table.rows[0]] == ["alder", "8", "–", "1", "–"]
    assert table.rows[0][3].note == "12.5 %"


def test_patients_stand_in_their_split_and_class(study: "Study", results: "Results") -> None:
    """23 and 21 to train, 6 and 5 to validate, none to test, and four synthetic of each class."""
    table = patient_table(
        results.frozen["counts"],
        results.synthetic,
        sites=study.sites,
        label="idh",
        classes=study.classes,
    )

    assert [cell.text for cell in table.rows[0]] == [
        "alder", "training", "23", "21", "6", "5", "–", "–", "4", "4",
    ]  # fmt: skip
    assert [cell.text for cell in table.rows[-1]][:2] == ["elm", "external"]


def test_unknown_labels_get_a_column_only_where_there_are_some(
    study: "Study", results: "Results"
) -> None:
    """Three splits, so three columns more."""
    counts = results.frozen["counts"]
    with_unknown = {
        site: {split: {**of_split, "unknown": 1} for split, of_split in of_site.items()}
        for site, of_site in counts.items()
    }
    known, unknown = (
        patient_table(c, results.synthetic, sites=study.sites, label="idh", classes=study.classes)
        for c in (counts, with_unknown)
    )

    assert len(unknown.rows[0]) == len(known.rows[0]) + 3


def test_sites_are_described_by_their_own_covariates(study: "Study", results: "Results") -> None:
    """Half mutants; ages as mean and spread; the one scanner by its name."""
    row = covariate_table(results.images, cohort=study.cohort, task=study.task).rows[0]

    assert [cell.text for cell in row][:2] == ["alder", "50.0 %"]
    assert " ± " in row[2].text
    assert row[3].text.startswith("F ")
    assert row[4].text == "Aquila"


def test_a_density_integrates_to_one(results: "Results") -> None:
    """Over [0, 1], in bins of equal width."""
    centres, density = intensity_density(results.images["elm"], sequence="flair", most=4)

    assert abs(density.mean() - 1) < 1e-9
    assert centres[0] > 0
    assert centres[-1] < 1
