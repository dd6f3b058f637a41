"""A wrong file of weights stops a study at its first stage after acquisition."""

from pathlib import Path
from typing import Any

import pytest

from pipelines import check
from sitesynth.errors import ExtractorError
from sitesynth.settings import load_settings
from sitesynth.tracking import Silent
from tests.unit.extractors.networks_for_tests import settings_for


pytestmark = pytest.mark.slow  # great-expectations takes 5 s to import

ROOT = Path(__file__).parents[2]


def arguments(folder: Path, site: str) -> dict[str, Any]:
    """Return a call of the stage for a site of which nothing was acquired."""
    settings = load_settings(ROOT / "params.yaml")
    return {
        "site": site,
        "acquired": folder / "nothing",
        "checks": folder / "checks.json",
        "page": folder / "page.html",
        "cohort": settings.cohort,
        "task": settings.task,
        "check": settings.check,
        "extractors": {"dino": settings_for(folder / "none.pt2", "program")},
        "tracked": Silent(),
    }


def test_a_site_looks_for_weights_first(tmp_path: Path) -> None:
    with pytest.raises(ExtractorError, match=r"none\.pt2, the weights of extractors\.dino"):
        check.run(**arguments(tmp_path, "alder"))
    assert list(tmp_path.iterdir()) == []
