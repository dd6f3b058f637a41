"""Which version is champion: moved only through the gates, with a way back.

Each move appends a line to `mlruns/promotions.jsonl` (who, when, why, from, to, verdicts) and puts
the same line into the version's tag `promotion`. The file is only ever appended to.
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


__all__ = ["champion_of", "promote", "rollback"]

PROMOTE = "promote"
ROLLBACK = "rollback"


def champion_of(mlruns: "Mlruns", model: str) -> Version | None:
    """Return a model's champion; None where none was ever good enough."""
    for version in list_versions(mlruns, model):
        if CHAMPION in version.aliases:
            return version
    return None


def promote(
    mlruns: "Mlruns", model: str, wanted: str, *, who: str, why: str, instead_of: Version | None
) -> list[Gate]:
    """Make a version the champion, if its gates let it.

    Args:
        mlruns: The registry.
        model: Name of the registered model.
        wanted: Number or alias of the version.
        who: Who asks.
        why: In their words.
        instead_of: The champion that whoever asks has seen; of two who ask at once, one is told.

    Returns:
        The verdicts, all passed.

    Raises:
        ReleaseRefusedError: If a gate does not pass; nothing has changed.
        RegistryError: If there is no such version, or the champion is no longer `instead_of`.
    """
    with locked(_lock()):
        version = find_version(mlruns, model, wanted)
        gates = gates_at_registration(version)
        refused = refusals(gates)
        if refused:
            raise ReleaseRefusedError(
                f"{model} version {version.number} stays what it is:\n"
                + "\n".join(f"  {gate}" for gate in refused)
            )
        _check_unmoved(mlruns, model, instead_of)
        _move(mlruns, version, action=PROMOTE, who=who, why=why, gates=gates)
    return gates


def rollback(
    mlruns: "Mlruns", model: str, *, who: str, why: str, instead_of: Version | None
) -> Version:
    """Make the champion before the present one champion again, if its gates still let it.

    Args:
        mlruns: The registry.
        model: Name of the registered model.
        who: Who asks.
        why: In their words.
        instead_of: The champion that whoever asks has seen.

    Returns:
        The champion that is back.

    Raises:
        RegistryError: If there is no champion, or there was none before it.
        ReleaseRefusedError: If a gate of the former champion no longer passes.
    """
    with locked(_lock()):
        _check_unmoved(mlruns, model, instead_of)
        if instead_of is None:
            raise RegistryError(f"{model} has no champion to go back from.")
        former = _former(model, instead_of.number)
        if former is None:
            raise RegistryError(
                f"{model} version {instead_of.number} is its first champion; there is none to go "
                "back to."
            )
        version = find_version(mlruns, model, str(former))
        gates = gates_at_registration(version)
        if refusals(gates):
            raise ReleaseRefusedError(
                f"{model} version {former} would no longer be let through:\n"
                + "\n".join(f"  {gate}" for gate in refusals(gates))
            )
        _move(mlruns, version, action=ROLLBACK, who=who, why=why, gates=gates)
    return version


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
    line = json.dumps(
        {
            "action": action,
            "model": version.model,
            "from": None if before is None else before.number,
            "to": version.number,
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
    number = str(version.number)
    mlruns.client.set_model_version_tag(version.model, number, "promotion", line)
    mlruns.client.set_registered_model_alias(version.model, CHAMPION, number)


def _audit() -> Path:
    return mlruns_folder() / "promotions.jsonl"


def _former(model: str, number: int) -> int | None:
    """Return the champion that a version replaced when it was last promoted."""
    if not _audit().exists():
        return None
    moves: list[dict[str, Any]] = [
        json.loads(line) for line in _audit().read_text(encoding="utf-8").splitlines()
    ]
    for move in reversed(moves):
        if (move["action"], move["model"], move["to"]) == (PROMOTE, model, number):
            former: int | None = move["from"]
            return former
    return None
