"""Fixtures of every test: named randomness, one CPU thread."""

import gc
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from sitesynth import seeds


if TYPE_CHECKING:
    import torch

# Before torch is imported: the order of floating-point sums depends on the number of threads, and
# several test processes share few cores.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

# Read when the packages are imported; a test looks nothing up and tells nobody.
os.environ["DO_NOT_TRACK"] = "true"
os.environ["GX_ANALYTICS_ENABLED"] = "false"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

# Whoever draws a figure in a test has no screen.
os.environ["MPLBACKEND"] = "Agg"

# No recorder and no warm process outlives the tests.
os.environ["SITESYNTH_RECORDER"] = "off"
os.environ["SITESYNTH_WARM"] = "off"


def pytest_collection_finish() -> None:
    """Let the garbage collector look no more at what was imported: a tenth of the tests' time."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _own_mlruns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep this tree's mlruns out of reach of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SITESYNTH_MLRUNS", str(tmp_path_factory.mktemp("mlruns-of-nobody")))
        yield


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> "torch.Generator":
    """Return a generator of the test's own, the same in every run and in any order."""
    return seeds.generator(0, request.node.nodeid)


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Offer one thread, and three, and put back what was offered before."""
    import torch  # noqa: PLC0415 (not every test needs it)

    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)
