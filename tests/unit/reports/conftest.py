"""One fabricated study for all tests of the page: making it takes a second."""

from typing import TYPE_CHECKING

import pytest

from tests.unit.reports.fake_study import fake_study, write_fake_results


if TYPE_CHECKING:
    from sitesynth.reports.study import Results, Study


@pytest.fixture(scope="session")
def study() -> "Study":
    """Return a study of three training and two external sites."""
    return fake_study(grid=(8, 8, 6), is_phantom=True)


@pytest.fixture(scope="session")
def results(study: "Study", tmp_path_factory: pytest.TempPathFactory) -> "Results":
    """Return everything that its stages found."""
    return write_fake_results(tmp_path_factory.mktemp("study"), study, num_patients=60)
