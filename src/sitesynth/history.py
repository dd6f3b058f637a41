"""The losses of a training, step by step, as a table that survives a kill."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

from sitesynth.storage import write_text
from sitesynth.tracking import OnStep


__all__ = ["History"]


@final
class History:
    """Losses by step. Rows of a killed run are found again, and those taken twice kept once."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.rows: dict[tuple[str, int], dict[str, str]] = {}
        if scratch.exists():
            for row in csv.DictReader(io.StringIO(scratch.read_text(encoding="utf-8"))):
                if row.get("end") == "end":
                    name, value = row["name"], row["value"]
                    self.rows.setdefault((row["member"], int(row["step"])), {})[name] = value

    def add(self, step: int, losses: Mapping[str, float], *, member: str = "") -> None:
        """Remember the losses of one step, in memory and on disk."""
        # Six digits: enough for a curve, and the same text on every run.
        row = {name: f"{value:.6g}" for name, value in losses.items()}
        self.rows[member, step] = row
        self.scratch.parent.mkdir(parents=True, exist_ok=True)
        is_new = not self.scratch.exists()
        with self.scratch.open("a", encoding="utf-8") as file:
            if is_new:
                file.write("member,step,name,value,end\n")
            # `end` tells a whole line from one that a kill cut short.
            file.writelines(f"{member},{step},{name},{value},end\n" for name, value in row.items())

    def and_also(self, other: OnStep, *, member: str = "") -> OnStep:
        """Return a callback that remembers a step, and then tells `other`."""

        def both(step: int, losses: Mapping[str, float]) -> None:
            self.add(step, losses, member=member)
            other(step, losses)

        return both

    def write(self, path: Path) -> None:
        """Write the table: member (if there are several), step, then one column per loss."""
        names: Sequence[str] = sorted({name for row in self.rows.values() for name in row})
        with_members = any(member for member, _ in self.rows)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*(["member"] if with_members else []), "step", *names])
        for (member, step), row in sorted(self.rows.items()):
            head = [member] if with_members else []
            writer.writerow([*head, step, *(row.get(name, "") for name in names)])
        write_text(path, text.getvalue())
