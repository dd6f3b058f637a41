"""Tables of what left the sites."""

from typing import TYPE_CHECKING

from sitesynth.reports.exchange_tables import exchange_table, registry_table, scale_table


if TYPE_CHECKING:
    from sitesynth.reports.study import Results


def test_the_ledger_is_shown_in_units_a_reader_knows(results: "Results") -> None:
    """2 x 12 rounds x 3 sites x 412 345 bytes are 29.7 MB; what was not measured is a dash."""
    rows = {
        row[0].text: [cell.text for cell in row[1:]]
        for row in exchange_table(results.exchange).rows
    }

    assert rows["Rounds"] == ["12", "1"]
    assert rows["Bytes sent"] == ["29.7 MB", "29.6 MB"]
    assert rows["Wall-clock time"] == ["61.2 s", "2.4 min"]
    assert rows["Accelerator time"] == ["–", "–"]


def test_what_hid_updates_is_told_below_the_table(results: "Results") -> None:
    """Nothing, in a study without; encryption, length and noise with their numbers."""
    assert "not encrypted toward the hub, and not clipped" in exchange_table(results.exchange).note
    federated = results.exchange["federated"]
    hidden = {"encryption": "bfv", "clip_norm": 0.5, "noise_multiplier": 2.0, "epsilon": None}
    told = exchange_table({**results.exchange, "federated": {**federated, "privacy": hidden}})

    assert "encrypted toward the hub (bfv), clipped to a length of 0.5, with noise" in told.note
    assert "2 times that; no epsilon is claimed" in told.note


def test_the_scale_of_the_paper_is_computed(results: "Results") -> None:
    """100 rounds of 2 x 3 x 45.56 MB are 27.3 GB; three generators of 749.6 MB are 2.2 GB."""
    table = scale_table(results.exchange["paper_scale"])
    (row,) = table.rows

    assert [cell.text for cell in row] == ["3", "100", "27.3 GB", "2.2 GB", "8.2"]
    assert table.note.startswith("Computed, not measured: three training sites and 100 rounds")


def test_a_refused_gate_is_shown_with_its_value() -> None:
    """And a passed one is only counted."""
    gates = [
        {"rule": "the interval lies above 0.5", "value": [0.41234, 0.9], "passed": False},
        {"rule": "the strategy is a candidate", "value": "federated", "passed": True},
    ]
    entry = {"model": "classifier-idh", "version": 3, "alias": None, "gates": gates}
    table = registry_table({"models": [{**entry, "strategy": "federated"}]})
    (row,) = table.rows

    assert row[0].note == "version 3"
    assert row[2].text == "–"
    assert row[3].text == "1 of 2 passed"
    assert row[3].note == "the interval lies above 0.5: 0.412 to 0.900"
