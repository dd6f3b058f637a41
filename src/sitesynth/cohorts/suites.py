"""The rules of a check as great-expectations' own suites: a JSON file for each layer.

    table     cells of the cohort's table
    headers   what files say of their voxels: edges, orientation, shapes, places
    voxels    what files hold
    cohort    numbers of patients

    python -m sitesynth.cohorts.suites --site alder --out docs/suites

writes those of a site of params.yaml. The default study's are kept in docs/suites, so that a rule
that changes is a line that changes, and can be run by whoever has great-expectations and a table.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from sitesynth.cohorts.acquired import Acquired
from sitesynth.cohorts.checks import build_suite
from sitesynth.cohorts.expectations import Expectation
from sitesynth.cohorts.tables import BRAIN_MASK, MASK
from sitesynth.settings import Settings, load_settings
from sitesynth.storage import write_json


__all__ = ["LAYERS", "layer_of", "suites_of", "write_suites"]

LAYERS: Final = ("table", "headers", "voxels", "cohort")

OF_HEADERS: Final = frozenset(
    {
        "affine_offset_mm",
        "largest_edge_mm",
        "num_channels",
        "orientation",
        "reference_shape",
        "shape",
        "smallest_edge_mm",
    }
)
"""What a header says, of what is measured of a file."""


def layer_of(expectation: Expectation) -> str:
    """Return the layer that a rule is about."""
    match expectation.subject:
        case "scans":
            return "table"
        case "groups":
            return "cohort"
        case _:
            return "headers" if OF_HEADERS.issuperset(expectation.columns) else "voxels"


def suites_of(rules: Sequence[Expectation]) -> dict[str, dict[str, Any]]:
    """Return each layer's rules as `great_expectations.ExpectationSuite` takes them."""
    return {
        layer: {
            "name": layer,
            "expectations": [
                {
                    "type": _snake(rule.kind),
                    "kwargs": {name: _plain(value) for name, value in rule.kwargs.items()},
                    "meta": {"rule": rule.rule, "step": rule.step},
                }
                for rule in rules
                if layer_of(rule) == layer
            ],
        }
        for layer in LAYERS
    }


def write_suites(folder: Path, settings: Settings, *, site: str) -> None:
    """Write the suites of one site of a study: what its scans must be, whatever they are."""
    cohort = settings.cohort
    files = [*cohort.sequences]
    files += [BRAIN_MASK] if cohort.has_brain_mask else []
    files += [MASK] if cohort.has_mask else []
    found = Acquired(
        site,
        "training" if site in settings.sites.training else "external",
        Path(),
        pd.DataFrame(columns=files),
    )
    suites = suites_of(build_suite(found, cohort=cohort, check=settings.check))
    for layer, suite in suites.items():
        write_json(folder / site / f"{layer}.json", suite)


def _snake(kind: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", kind).lower()


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value


def main() -> None:
    """Write the suites of a site of the study in params.yaml."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--site", required=True)
    parser.add_argument("--out", type=Path, required=True, help="a folder; one of the site is made")
    arguments = parser.parse_args()
    settings = load_settings(arguments.params, site=arguments.site)
    write_suites(arguments.out, settings, site=arguments.site)


if __name__ == "__main__":
    main()
