"""Which version is champion: moved only through the gates, with a way back.

Each move appends a line to `mlruns/promotions.jsonl` (who, when, why, from, to, verdicts) and puts
the same line into the version's tag `promotion`. The file is only ever appended to. `to` is null
where a champion was retired and nobody took its place.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sitesynth.errors import RegistryError, ReleaseRefusedError
from sitesynth.registry.gates import Gate, refusals
from sitesynth.registry.standing import Standards, gates_of_standing
from sitesynth.registry.versions import (
    CHAMPION,
    Version,
    find_version,
    gates_at_registration,
    list_versions,
)
from sitesynth.tracking import locked, mlruns_folder


if TYPE_CHECKING:
    from sitesynth.mlruns import Mlruns


__all__ = ["champion_of", "judge", "list_moves", "promote", "retire", "rollback"]

PROMOTE = "promote"
ROLLBACK = "rollback"
RETIRE = "retire"


def champion_of(mlruns: "Mlruns", model: str) -> Version | None:
    """Return a model's champion; None where none was ever good enough."""
    for version in list_versions(mlruns, model):
        if CHAMPION in version.aliases:
            return version
    return None


def judge(mlruns: "Mlruns", version: Version, standards: Standards) -> list[Gate]:
    """Return every verdict on a version: of its registration, and as it stands now."""
    champion = champion_of(mlruns, version.model)
    return [
        *gates_at_registration(version),
        *gates_of_standing(mlruns, version, champion, standards),
    ]


def promote(
    mlruns: "Mlruns",
    model: str,
    wanted: str,
    *,
    who: str,
    why: str,
    instead_of: Version | None,
    standards: Standards,
) -> list[Gate]:
    """Make a version the champion, if its gates let it.

    Args:
        mlruns: The registry.
        model: Name of the registered model.
        wanted: Number or alias of the version.
        who: Who asks.
        why: In their words.
        instead_of: The champion that whoever asks has seen; of two who ask at once, one is told.
        standards: What the version is held to now.

    Returns:
        The verdicts, all passed.

    Raises:
        ReleaseRefusedError: If a gate does not pass; nothing has changed.
        RegistryError: If there is no such version, or the champion is no longer `instead_of`.
    """
    with locked(_lock()):
        _check_unmoved(mlruns, model, instead_of)
        version = find_version(mlruns, model, wanted)
        gates = judge(mlruns, version, standards)
        refused = refusals(gates)
        if refused:
            raise ReleaseRefusedError(
                f"{model} version {version.number} stays what it is:\n"
                + "\n".join(f"  {gate}" for gate in refused)
            )
        _move(mlruns, version, action=PROMOTE, who=who, why=why, gates=gates)
    return gates


def rollback(
    mlruns: "Mlruns", model: str, *, who: str, why: str, instead_of: Version | None
) -> Version:
    """Make the champion before the present one champion again, or the one that was retired.

    It need not be better than the present one, whose failure may be why; all it was judged by when
    it was registered must still let it through.

    Args:
        mlruns: The registry.
        model: Name of the registered model.
        who: Who asks.
        why: In their words.
        instead_of: The champion that whoever asks has seen.

    Returns:
        The champion that is back.

    Raises:
        RegistryError: If there is none to go back to.
        ReleaseRefusedError: If a gate of the former champion no longer passes.
    """
    with locked(_lock()):
        _check_unmoved(mlruns, model, instead_of)
        former = _retired(model) if instead_of is None else _former(model, instead_of.number)
        if former is None:
            now = (
                "no champion" if instead_of is None else f"champion {instead_of.number}, its first"
            )
            raise RegistryError(f"{model} has {now}; there is none to go back to.")
        version = find_version(mlruns, model, str(former))
        gates = gates_at_registration(version)
        if refusals(gates):
            raise ReleaseRefusedError(
                f"{model} version {former} would no longer be let through:\n"
                + "\n".join(f"  {gate}" for gate in refusals(gates))
            )
        _move(mlruns, version, action=ROLLBACK, who=who, why=why, gates=gates)
    return version


def retire(mlruns: "Mlruns", model: str, *, who: str, why: str, instead_of: Version | None) -> None:
    """Leave a model without a champion, so that the next need not be compared with this one.

    Raises:
        RegistryError: If there is no champion, or it is no longer `instead_of`.
    """
    with locked(_lock()):
        _check_unmoved(mlruns, model, instead_of)
        if instead_of is None:
            raise RegistryError(f"{model} has no champion to retire.")
        line = _write_down(
            RETIRE, model, before=instead_of.number, after=None, who=who, why=why, gates=()
        )
        number = str(instead_of.number)
        mlruns.client.set_model_version_tag(model, number, "promotion", line)
        mlruns.client.delete_registered_model_alias(model, CHAMPION)


def list_moves(model: str) -> list[dict[str, Any]]:
    """Return every move of a model's champion, oldest first."""
    if not _audit().exists():
        return []
    lines = _audit().read_text(encoding="utf-8").splitlines()
    return [move for move in map(json.loads, lines) if move["model"] == model]


def _lock() -> Path:
    return mlruns_folder() / "promotions.lock"


def _check_unmoved(mlruns: "Mlruns", model: str, seen: Version | None) -> None:
    now = champion_of(mlruns, model)
    numbers = [None if version is None else version.number for version in (seen, now)]
    if numbers[0] != numbers[1]:
        raise RegistryError(
            f"the champion of {model} became version {numbers[1]} while you asked (it was "
            f"{numbers[0]}); look at it and ask again."
        )


def _move(
    mlruns: "Mlruns", version: Version, *, action: str, who: str, why: str, gates: Sequence[Gate]
) -> None:
    """Write what is about to happen, then let it happen: no alias moves unrecorded."""
    before = champion_of(mlruns, version.model)
    if before is not None and before.number == version.number:
        return
    former = None if before is None else before.number
    line = _write_down(
        action, version.model, before=former, after=version.number, who=who, why=why, gates=gates
    )
    number = str(version.number)
    mlruns.client.set_model_version_tag(version.model, number, "promotion", line)
    mlruns.client.set_registered_model_alias(version.model, CHAMPION, number)


def _write_down(
    action: str,
    model: str,
    *,
    before: int | None,
    after: int | None,
    who: str,
    why: str,
    gates: Sequence[Gate],
) -> str:
    """Append a move to the audit, and return its line."""
    line = json.dumps(
        {
            "action": action,
            "model": model,
            "from": before,
            "to": after,
            "who": who,
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "why": why,
            "gates": [asdict(gate) for gate in gates],
        }
    )
    with _audit().open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())
    return line


def _audit() -> Path:
    return mlruns_folder() / "promotions.jsonl"


def _retired(model: str) -> int | None:
    """Return the champion that was retired last, where nothing has happened since."""
    moves = list_moves(model)
    return moves[-1]["from"] if moves and moves[-1]["action"] == RETIRE else None


def _former(model: str, number: int) -> int | None:
    """Return the champion that a version replaced when it was last promoted."""
    for move in reversed(list_moves(model)):
        if (move["action"], move["to"]) == (PROMOTE, number):
            former: int | None = move["from"]
            return former
    return None
