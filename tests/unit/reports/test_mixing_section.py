"""The section about the mix says what was taken, and does not oversell it."""

from dataclasses import replace

from sitesynth.reports.mixing_section import mixing_section
from sitesynth.reports.page import Gallery
from sitesynth.reports.study import Results, Study
from sitesynth.reports.tables import Table


def gallery(study: Study, results: Results) -> Gallery:
    (found,) = (b for b in mixing_section(study, results).blocks if isinstance(b, Gallery))
    return found


def tables(study: Study, results: Results) -> list[list[list[str]]]:
    """Return the cells of every table of the section."""
    return [
        [[cell.text for cell in row] for row in block.rows]
        for block in mixing_section(study, results).blocks
        if isinstance(block, Table)
    ]


def untried(results: Results) -> Results:
    """Return the same study without a search."""
    equal = results.mixing["mixes"]["equal"]
    mixing = {
        **results.mixing,
        "trials": [],
        "finalists": [],
        "mixes": {"equal": equal, "proportional": equal, "tuned": equal},
        "objective": {"scans": {}},
    }
    return replace(results, mixing=mixing)


def test_every_count_is_in_the_table(study: Study, results: Results) -> None:
    """By site and class: drawn, equal, proportional, tuned; and their sums."""
    mix, _ = tables(study, results)

    assert mix[0] == ["alder, wildtype", "60", "60", "60", "51"]
    assert mix[5] == ["cedar, mutant", "60", "60", "60", "7"]
    assert mix[-1] == ["all", "360", "360", "360", "205"]


def test_the_picture_of_the_mix_says_its_numbers(study: Study, results: Results) -> None:
    """A reader who cannot see it reads them."""
    picture, history, finalists = gallery(study, results).figures

    assert "cedar, wildtype: 3 of 60; cedar, mutant: 7 of 60" in picture.alt
    assert "7 complete trials from 0.550 to 0.480 at best, 1 pruned" in history.alt
    assert "trial 0 is the equal mix, trial 1 is the proportional mix" in history.caption
    assert "trial-3 0.497, 0.537, mean 0.517" in finalists.alt


def test_the_lead_tells_gain_and_where_it_was_measured(study: Study, results: Results) -> None:
    """Both losses, the number of trials, and that validation flatters."""
    lead = mixing_section(study, results).lead

    assert "8 mixes were tried" in lead
    assert "trial-3, has a mean loss of 0.517, the equal mix one of 0.561" in lead
    assert "flattering" in lead


def test_a_study_without_trials_says_so(study: Study, results: Results) -> None:
    """There is then no history to draw, and every site gave as much."""
    found = untried(results)

    assert mixing_section(study, found).lead.startswith("No mix was tried")
    assert len(gallery(study, found).figures) == 1
    assert tables(study, found)[1] == []
