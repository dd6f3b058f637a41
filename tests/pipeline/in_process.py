"""A whole study in one process: the stages of dvc.yaml in its order, as DVC would call them.

Quicker than `dvc repro` by the start of some sixty processes, for tests of what a study finds and
not of when a stage reruns.
"""

import importlib
import re
import shlex
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipelines._stage import main


ROOT = Path(__file__).parents[2]
ASKED = re.compile(r"\$\{([^}]+)\}")


def run_study(folder: Path, params: Mapping[str, Any], patch: pytest.MonkeyPatch) -> Path:
    """Run every stage of a study in a folder, and return the folder.

    Args:
        folder: Where to write; made here.
        params: Content of params.yaml.
        patch: Changes the working directory, and where journals go, until a test's end.
    """
    folder.mkdir()
    (folder / "src").symlink_to(ROOT / "src")
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(dict(params), file)
    patch.chdir(folder)
    patch.setenv("SITESYNTH_MLRUNS", "mlruns")
    for command in commands(params):
        _, _, module, *argv = shlex.split(command)
        main(importlib.import_module(module).run, argv)
    return folder


def commands(params: Mapping[str, Any]) -> Iterator[str]:
    """Yield the commands of dvc.yaml in its order, one per item of a stage's matrix."""
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for stage in stages.values():
        matrix = {name: _look_up(params, where) for name, where in stage.get("matrix", {}).items()}
        for chosen in product(*matrix.values()):
            scope = {**params, "item": dict(zip(matrix, chosen, strict=True))}
            yield ASKED.sub(partial(_told, scope), stage["cmd"])


def _told(scope: Mapping[str, Any], asked: re.Match[str]) -> str:
    return str(_find(scope, asked[1]))


def _look_up(params: Mapping[str, Any], where: str) -> list[str]:
    asked = ASKED.fullmatch(where)
    if asked is None:
        raise ValueError(f"a matrix of dvc.yaml names a list of params.yaml, but says {where}")
    found: list[str] = _find(params, asked[1])
    return found


def _find(scope: Mapping[str, Any], dotted: str) -> Any:
    found: Any = scope
    for word in dotted.split("."):
        found = found[word]
    return found
