"""Where a federation stands, in a file, so that a restarted hub goes on from it.

Sites keep nothing from round to round, so a standing is all that the next round depends on: what is
trained from it equals, to the bit, what would have been trained without the interruption. With
`federated.normalization: local` sites do keep something, and an interrupted training begins anew.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file
from torch import Tensor

from sitesynth.errors import SitesynthError
from sitesynth.storage import replacing
from sitesynth.strategies.averaging import Weights
from sitesynth.strategies.participant import join_members, split_members
from sitesynth.strategies.plan import Plan
from sitesynth.strategies.rounds import Standing


__all__ = ["read_standing", "standing_file", "write_standing"]

NUMBERS = "numbers"


def standing_file(folder: Path, plan: Plan, initial: Mapping[int, Weights]) -> Path:
    """Return where the standing of this federation, and of no other, is kept."""
    told = sha256(plan.model_dump_json().encode())
    told.update(save({name: v.contiguous() for name, v in join_members(initial).items()}))
    return folder / f"{told.hexdigest()}.safetensors"


def write_standing(
    path: Path, member: int, standing: Standing, finished: Mapping[int, Weights]
) -> None:
    """Keep a standing, whole or not at all.

    Args:
        path: Where.
        member: Whose training it is.
        standing: Where that training stands.
        finished: The best weights of the members that are done.
    """
    parts = {"weights": standing.weights, "velocity": standing.velocity, "best": standing.best}
    tensors = {
        # Copies: two parts may be the same tensor, which safetensors refuses.
        f"{part}/{name}": value.contiguous().clone()
        for part, weights in {**parts, "finished": join_members(finished)}.items()
        for name, value in weights.items()
    }
    numbers = {
        "member": member,
        "number": standing.number,
        "step": standing.step,
        "losses": standing.losses,
        # JSON has no infinity.
        "lowest": standing.lowest if standing.best_number else None,
        "best_number": standing.best_number,
    }
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={NUMBERS: json.dumps(numbers)})


def read_standing(path: Path) -> tuple[int, Standing, dict[int, dict[str, Tensor]]]:
    """Read what `write_standing` has written: member, standing, and who is finished.

    Raises:
        SitesynthError: If the file cannot be read.
    """
    parts: dict[str, dict[str, Tensor]] = {
        part: {} for part in ("weights", "velocity", "best", "finished")
    }
    try:
        with safe_open(path, framework="pt") as file:
            numbers: dict[str, Any] = json.loads(file.metadata()[NUMBERS])
            for full in file.keys():  # noqa: SIM118 - it is no mapping
                part, _, name = full.partition("/")
                parts[part][name] = file.get_tensor(full)
    except (SafetensorError, OSError, KeyError, TypeError) as error:
        raise SitesynthError(
            f"{path} is no standing of a federation ({error}). Delete it to begin anew."
        ) from error
    finished = split_members(parts.pop("finished"))
    lowest = numbers["lowest"]
    standing = Standing(
        number=numbers["number"],
        step=numbers["step"],
        losses=tuple(numbers["losses"]),
        lowest=float("inf") if lowest is None else lowest,
        best_number=numbers["best_number"],
        **parts,
    )
    return numbers["member"], standing, finished
