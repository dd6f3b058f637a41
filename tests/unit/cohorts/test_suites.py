"""The suites in docs/suites are the default study's rules, and great-expectations reads them."""

import json
import warnings
from pathlib import Path

import pandas as pd
import pytest

from sitesynth.cohorts.suites import LAYERS, write_suites
from sitesynth.settings import load_settings


ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("site", ["alder", "dogwood"])
def test_the_suites_that_are_kept_are_those_of_the_default_study(site: str, tmp_path: Path) -> None:
    """Else: `python -m sitesynth.cohorts.suites --site NAME --out docs/suites`."""
    write_suites(tmp_path, load_settings(ROOT / "params.yaml"), site=site)

    for layer in LAYERS:
        kept = ROOT / "docs" / "suites" / site / f"{layer}.json"
        assert (tmp_path / site / f"{layer}.json").read_text() == kept.read_text()


def test_every_layer_has_rules_of_its_own() -> None:
    """What is asked of a header is not asked of voxels."""
    rules = {
        layer: [
            one["meta"]["rule"]
            for one in json.loads((ROOT / f"docs/suites/alder/{layer}.json").read_text())[
                "expectations"
            ]
        ]
        for layer in LAYERS
    }

    assert "Every scan has a patient" in rules["table"]
    assert "No voxel edge is shorter than 0.2 mm" in rules["headers"]
    assert "Every mask has something inside" in rules["voxels"]
    assert len(rules["cohort"]) == 1
    everything = [rule for layer in LAYERS for rule in rules[layer]]
    assert len(everything) == len(set(everything))


@pytest.mark.slow  # great-expectations takes seconds to import
def test_great_expectations_runs_a_suite_that_was_kept() -> None:
    """One file of three has an edge of 30 mm, and one lies nowhere that is known."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations as gx  # noqa: PLC0415

        suite = gx.ExpectationSuite(
            **json.loads((ROOT / "docs/suites/alder/headers.json").read_text())
        )
        context = gx.get_context(mode="ephemeral")
        asset = context.data_sources.add_pandas("files").add_dataframe_asset("files")
        table = pd.DataFrame(
            {
                "smallest_edge_mm": [1.0, 1.0, 1.0],
                "largest_edge_mm": [1.0, 30.0, 1.0],
                "orientation": ["RAS", "LPS", "R"],
                "shape": ["4 x 4 x 4"] * 3,
                "reference_shape": ["4 x 4 x 4"] * 3,
                "affine_offset_mm": [0.0, 0.0, 0.0],
            }
        )
        batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": table})
        found = batch.validate(suite)
    failed = {
        (one.expectation_config.meta or {})["rule"]
        for one in found.results
        if one.expectation_config is not None and not one.success
    }

    assert failed == {
        "No voxel edge is longer than 10 mm",
        "The orientation of every volume is known",
    }
