"""The section about the number of synthetic scans says what was measured, and for what."""

from dataclasses import replace

from sitesynth.reports.page import Gallery
from sitesynth.reports.study import Results
from sitesynth.reports.supplementation_section import supplementation_sections
from sitesynth.reports.tables import Table
from sitesynth.supplementation.findings import describe_nothing


def test_every_point_is_in_the_table_with_its_interval(results: Results) -> None:
    """Twice the 20 real scans of 6 cells are 240."""
    (section,) = supplementation_sections(results)
    (table,) = (block for block in section.blocks if isinstance(block, Table))

    assert [[cell.text for cell in row] for row in table.rows] == [
        ["real and synthetic, 0 %", "0", "0.800", "reference", "0.014"],
        ["real and synthetic, 200 %", "240", "0.850", "+0.050", "0.014"],
        ["synthetic alone, 200 %", "240", "0.750", "\N{MINUS SIGN}0.050", "0.014"],
    ]
    assert table.rows[1][2].note == "0.790 to 0.890"
    assert "Real scans: 120" in table.note


def test_the_picture_says_its_numbers_and_the_lead_that_nothing_is_chosen(
    results: Results,
) -> None:
    (section,) = supplementation_sections(results)
    (gallery,) = (block for block in section.blocks if isinstance(block, Gallery))

    assert "200 % real and synthetic 0.850; 200 % synthetic alone 0.750" in gallery.figures[0].alt
    assert "mean of 2 trainings" in section.lead
    assert "chooses nothing" in section.lead


def test_a_study_that_did_not_ask_has_no_section(results: Results) -> None:
    assert not supplementation_sections(replace(results, supplementation=describe_nothing()))
