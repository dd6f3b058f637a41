"""Fixtures of every test: named randomness, one CPU thread."""

import os
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


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> "torch.Generator":
    """Return a generator of the test's own, the same in every run and in any order."""
    return seeds.generator(0, request.node.nodeid)
