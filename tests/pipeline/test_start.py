"""How a stage starts: without a garbage collector while it imports, and with one while it works."""

import subprocess
import sys
from pathlib import Path


ROOT = Path(__file__).parents[2]


def collector_in(code: str) -> str:
    """Return what a new Python says of its collector."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_a_stage_imports_without_a_collector_and_works_with_one() -> None:
    """A stage that kept it off would keep every cycle of its training in memory."""
    said = collector_in(
        """
import gc, sys
sys.argv[0] = "-m"  # as Python calls itself until it has found the module of `python -m`
from pipelines import _stage
print(gc.isenabled(), gc.get_freeze_count())
_stage._run_stage = lambda run, argv: print(gc.isenabled(), gc.get_freeze_count() > 0)
_stage.main(lambda: None)
"""
    )

    assert said.splitlines() == ["False 0", "True True"]


def test_who_imports_a_stage_keeps_the_collector() -> None:
    """Tests and notebooks do."""
    assert collector_in("import gc, pipelines; print(gc.isenabled())").strip() == "True"
