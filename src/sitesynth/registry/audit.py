"""Whether dvc.lock, MLflow and the registry still tell the same story.

A registered version agrees if the stage that made it would make the same files today: dvc.lock has
its digest, and nothing that the stage was made from, at any depth, has changed since. A run agrees
if it is the newest of its stage, dvc.lock has that stage, and the settings it obeyed are those in
dvc.lock.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from sitesynth.lockfile import Change, LockedStage, Workspace, closure, read_lock
from sitesynth.registry.packaging import LINEAGE
from sitesynth.registry.promotion import champion_of, list_moves
from sitesynth.registry.versions import Version, folder_of, list_versions
from sitesynth.storage import read_json


if TYPE_CHECKING:
    from sitesynth.mlruns import Mlruns


__all__ = ["Finding", "audit", "lineage_of"]

MAX_SHOWN = 6
"""Changes that one finding names."""


@final
@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that no longer agrees."""

    subject: str
    """e.g. `classifier-idh version 3 (champion)` or `run evaluate@synthetic`."""
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.subject}: {'; '.join(self.reasons)}"

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def lineage_of(lock: Mapping[str, LockedStage], stage: str) -> str:
    """Return what a stage was made from, at any depth, as the text of a version's file."""
    return json.dumps({name: asdict(lock[name]) for name in closure(lock, stage)}, sort_keys=True)


def audit(mlruns: "Mlruns", study: str, root: Path) -> list[Finding]:
    """Compare the registry and the runs of a study with dvc.lock, and that with the files.

    Args:
        mlruns: MLflow's database, of the study in use.
        study: The study.
        root: The repository.

    Returns:
        What does not agree; nothing if all does.
    """
    lock, workspace = read_lock(root / "dvc.lock"), Workspace(root)
    names = sorted(found.name for found in mlruns.client.search_registered_models())
    findings = []
    for model in names:
        for version in list_versions(mlruns, model):
            reasons = _reasons_of_version(mlruns, version, study, lock, workspace)
            if reasons:
                aliases = f" ({', '.join(version.aliases)})" if version.aliases else ""
                findings.append(
                    Finding(f"{model} version {version.number}{aliases}", tuple(reasons))
                )
        findings += _unrecorded(mlruns, model)
    for stage, params in mlruns.current_runs(study):
        reasons = _reasons_of_run(stage, params, lock, workspace)
        if reasons:
            findings.append(Finding(f"run {stage}", tuple(reasons)))
    return findings


def _reasons_of_version(
    mlruns: "Mlruns",
    version: Version,
    study: str,
    lock: Mapping[str, LockedStage],
    workspace: Workspace,
) -> list[str]:
    tags = version.tags
    if "dvc_md5" not in tags:
        return ["it does not say by which stage it was made; `dvc repro register` does"]
    if tags.get("study") != study:
        return [f"of study {tags.get('study')}, not of {study}"]
    stage = tags["stage"]
    if stage not in lock:
        return [f"dvc.lock has no stage {stage}"]
    stale = _shown({c for name in closure(lock, stage) for c in workspace.changes(lock[name])})
    now = lock[stage].outs.get(tags["dvc_path"])
    if now == tags["dvc_md5"]:
        return [f"changed since: {stale}"] if stale else []
    then = read_json(folder_of(mlruns, version) / LINEAGE)
    changed = {
        change
        for made in then.values()
        for change in workspace.changes(LockedStage(**made))
        # What lies between a source and the model differs because the source does.
        if change.kind != "data" or not _is_made(change.name, lock)
    }
    why = _shown(changed) or "data, code and params are the same: a stage does not repeat itself"
    return [f"{stage} makes other files now", f"changed since: {why}"]


def _is_made(path: str, lock: Mapping[str, LockedStage]) -> bool:
    return any(
        out == path or out.startswith(f"{path}/") or path.startswith(f"{out}/")
        for stage in lock.values()
        for out in stage.outs
    )


def _reasons_of_run(
    stage: str,
    params: Mapping[str, str],
    lock: Mapping[str, LockedStage],
    workspace: Workspace,
) -> list[str]:
    if stage not in lock:
        return ["dvc.lock has no such stage"]
    stale = _shown(workspace.changes(lock[stage]))
    locked = dict(_flattened(lock[stage].params))
    other = sorted(
        name for name, value in locked.items() if name in params and params[name] != value
    )
    reasons = [f"changed since: {stale}"] if stale else []
    return reasons + (
        [f"it obeyed other settings than dvc.lock: {', '.join(other)}"] if other else []
    )


def _unrecorded(mlruns: "Mlruns", model: str) -> list[Finding]:
    """Return whether the champion is another than the last move made it."""
    champion, moves = champion_of(mlruns, model), list_moves(model)
    number = None if champion is None else champion.number
    last = moves[-1]["to"] if moves else None
    if number == last:
        return []
    reason = f"the champion is version {number}, but the last recorded move made it {last}"
    return [Finding(model, (reason,))]


def _shown(changes: Iterable[Change]) -> str:
    listed = [str(change) for change in sorted(set(changes))]
    more = f" and {len(listed) - MAX_SHOWN} more" if len(listed) > MAX_SHOWN else ""
    return ", ".join(listed[:MAX_SHOWN]) + more


def _flattened(params: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Name each setting as a run's params are named in MLflow."""
    for name, value in params.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)
