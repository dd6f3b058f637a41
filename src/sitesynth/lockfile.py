"""dvc.lock as data: what each stage of the study was last made from, and whether that still holds.

DVC writes the file; this reads it, and looks at the working folder as DVC does, so that whoever
asks "is this still what the files say" needs neither DVC nor a rerun.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, final

from ruamel.yaml import YAML

from sitesynth.storage import digest_of, dvc_digest, dvc_digest_of_file


__all__ = ["Change", "LockedStage", "Workspace", "closure", "items_of", "read_lock"]

CODE: Final = ("src/", "pipelines/")
"""Where dependencies are code; all others are data."""

MISSING: Final = "missing"


@final
@dataclass(frozen=True, slots=True)
class LockedStage:
    """What a stage was last made from, and what it made."""

    deps: Mapping[str, str]
    """Digest by path."""
    params: Mapping[str, Any]
    """Value by dotted key of params.yaml."""
    outs: Mapping[str, str]

    @property
    def made(self) -> str:
        """Digest of all that it made; its MLflow run bears the same as the tag `made`."""
        return digest_of(dict(self.outs))


@final
@dataclass(frozen=True, slots=True, order=True)
class Change:
    """One thing that is no longer what it was."""

    kind: str
    """`data`, `code` or `params`."""
    name: str

    def __str__(self) -> str:
        """Say it in two words."""
        return f"{self.kind} {self.name}"


def read_lock(path: Path) -> dict[str, LockedStage]:
    """Read dvc.lock, by stage; empty where there is none."""
    if not path.exists():
        return {}
    content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    return {
        name: LockedStage(
            deps=_digests(stage.get("deps", ())),
            params=stage.get("params", {}).get("params.yaml", {}),
            outs=_digests(stage.get("outs", ())),
        )
        for name, stage in content["stages"].items()
    }


def closure(lock: Mapping[str, LockedStage], stage: str) -> list[str]:
    """Return a stage and all that it was made from, the stage last; empty if it is not there."""
    found: dict[str, None] = {}

    def find(name: str) -> None:
        deps = lock[name].deps
        for other, made in lock.items():
            is_upstream = other != name and any(
                _meet(out, dep) for out in made.outs for dep in deps
            )
            if is_upstream and other not in found:
                find(other)
        found[name] = None

    if stage in lock:
        find(stage)
    return list(found)


def items_of(lock: Mapping[str, LockedStage], stage: str) -> list[str]:
    """Return a stage as dvc.lock names it: itself, or all items of its matrix, by name."""
    return sorted(name for name in lock if stage in {name, name.partition("@")[0]})


@final
class Workspace:
    """The working folder as it is now."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.params = YAML(typ="safe").load((root / "params.yaml").read_text(encoding="utf-8"))
        self._digest = cache(self._digest_now)

    def changes(self, made: LockedStage) -> Iterator[Change]:
        """Yield what a stage was made from and is no longer so."""
        for path, digest in made.deps.items():
            if self._digest(path) != digest:
                yield Change("code" if path.startswith(CODE) else "data", path)
        for key, value in made.params.items():
            if self._param(key) != value:
                yield Change("params", key)

    def _digest_now(self, path: str) -> str:
        found = self.root / path
        if found.is_dir():
            return dvc_digest(found)
        return dvc_digest_of_file(found) if found.exists() else MISSING

    def _param(self, key: str) -> Any:
        value = self.params
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value


def _digests(entries: Any) -> dict[str, str]:
    # An output that is measured with a clock has no digest.
    return {entry["path"]: entry["md5"] for entry in entries if "md5" in entry}


def _meet(out: str, dep: str) -> bool:
    """Return whether a path holds, or is part of, another."""
    return out == dep or out.startswith(f"{dep}/") or dep.startswith(f"{out}/")
