"""Draw the study's graph, from dvc.yaml: `python docs/draw_graph.py` writes study-graph.svg.

A column is a step of the study, a lane is who runs it. An arrow is data that is read; one that
says nothing new, because a longer way leads there in the same lane, is left out.
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from ruamel.yaml import YAML


ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "images" / "study-graph.svg"

SITE, STUDY, STRATEGY = range(3)
LANES = ("at each site", "at the hub", "for each strategy")
COLOURS = ("#2f6f8f", "#5b5b66", "#a4552f")

# `sample` has an instance per site, and none of them runs there: the hub has the bundles.
AT_THE_HUB = {"sample"}

SAID = {
    ("package", "sample"): "only bundles\nleave the site",
    ("tune_mixing", "train_classifier"): "how many synthetic\nimages of each site",
    ("preprocess", "train_classifier"): "real images, for the strategies that may see them",
    ("preprocess", "evaluate"): "external sites' images, for testing only",
}
"""What is written on an arrow."""

LEAVES_THE_SITE = ("package", "sample")

GREY, DARK, RED = "#8a8a94", "#5b5b66", "#b3261e"

WIDTH, HEIGHT = 1.25, 0.62
COLUMN, LANE = 1.72, 1.35


class Box(NamedTuple):
    """Where a stage is drawn."""

    column: int
    lane: int

    @property
    def centre(self) -> tuple[float, float]:
        """The middle of the box, in inches from the lower left corner."""
        return (self.column + 0.5) * COLUMN + 0.9, (2 - self.lane + 0.5) * LANE


def read_stages(path: Path) -> dict[str, Mapping[str, Any]]:
    """Return the stages of a dvc.yaml, in its order."""
    return dict(YAML(typ="safe").load(path.read_text(encoding="utf-8"))["stages"])


def paths(entry: Mapping[str, Any], *keys: str) -> set[str]:
    """Return the paths of a stage's lists, without the names of items."""
    listed = [path for key in keys for path in entry.get(key, ())]
    names = (next(iter(path)) if isinstance(path, Mapping) else path for path in listed)
    return {re.sub(r"/?\$\{item\.[a-z]+\}.*", "", name) for name in names}


def reads(stages: Mapping[str, Mapping[str, Any]]) -> dict[str, set[str]]:
    """Return, by stage, the stages whose outputs it reads."""
    outs = {name: paths(entry, "outs", "metrics", "plots") for name, entry in stages.items()}
    deps = {name: paths(entry, "deps") for name, entry in stages.items()}
    return {
        name: {
            other
            for other in stages
            if other != name
            and any(Path(out).is_relative_to(dep) for out in outs[other] for dep in deps[name])
        }
        for name in stages
    }


def lane_of(name: str, entry: Mapping[str, Any]) -> int:
    """Return who runs a stage."""
    items = set(entry.get("matrix", {}))
    if name in AT_THE_HUB or not items:
        return STUDY
    return STRATEGY if "strategy" in items else SITE


def place(stages: Mapping[str, Mapping[str, Any]], read: Mapping[str, set[str]]) -> dict[str, Box]:
    """Put each stage right of what it reads in its own lane, and not left of what it reads."""
    boxes: dict[str, Box] = {}
    while len(boxes) < len(stages):
        for name, entry in stages.items():
            if name in boxes or not read[name] <= boxes.keys():
                continue
            lane = lane_of(name, entry)
            earlier = [boxes[other] for other in read[name]]
            column = max((box.column + (box.lane == lane) for box in earlier), default=0)
            while any(box == Box(column, lane) for box in boxes.values()):
                column += 1
            boxes[name] = Box(column, lane)
    return boxes


def arrows(boxes: Mapping[str, Box], read: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """Return the reads worth an arrow."""

    def reached(name: str) -> set[str]:
        return read[name] | {far for other in read[name] for far in reached(other)}

    return [
        (other, name)
        for name in boxes
        for other in sorted(read[name])
        if not any(other in reached(between) for between in read[name] - {other})
        or (boxes[name].lane == STRATEGY and boxes[other].lane == SITE)
    ]


def draw(stages: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Return the figure."""
    read = reads(stages)
    boxes = place(stages, read)
    width = (max(box.column for box in boxes.values()) + 1) * COLUMN + 1.0
    figure = Figure(figsize=(width, 3 * LANE))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, 3 * LANE))
    axes.axis("off")
    for lane, (title, colour) in enumerate(zip(LANES, COLOURS, strict=True)):
        low = (2 - lane) * LANE
        axes.add_patch(
            Rectangle((0.05, low + 0.06), width - 0.1, LANE - 0.12, color=colour, alpha=0.08, lw=0)
        )
        axes.text(
            0.3,
            low + LANE / 2,
            title,
            rotation=90,
            color=colour,
            fontsize=9.5,
            ha="center",
            va="center",
        )
    detours = 0
    for start, end in arrows(boxes, read):
        said = SAID.get((start, end), "")
        if (boxes[start].lane, boxes[end].lane) == (SITE, STRATEGY):
            draw_detour(axes, boxes[start], boxes[end], said=said, number=detours)
            detours += 1
        else:
            leaves = (start, end) == LEAVES_THE_SITE
            draw_arrow(axes, boxes[start], boxes[end], said=said, colour=RED if leaves else GREY)
    for name, box in boxes.items():
        x, y = box.centre
        axes.add_patch(
            FancyBboxPatch(
                (x - WIDTH / 2, y - HEIGHT / 2), WIDTH, HEIGHT,
                boxstyle="round,pad=0,rounding_size=0.1", fc="white", ec=COLOURS[box.lane], lw=1.4,
            )
        )  # fmt: skip
        axes.text(x, y, name.replace("_", "\n"), ha="center", va="center", linespacing=1.1)
    return figure


def draw_arrow(axes: Axes, start: Box, end: Box, *, said: str, colour: str) -> None:
    """Draw an arrow between two boxes: sideways within a lane, downwards or upwards across."""
    (x0, y0), (x1, y1) = start.centre, end.centre
    bend = 0.0
    if start.lane != end.lane:
        side = HEIGHT / 2 if y1 > y0 else -HEIGHT / 2
        shift = 0.25 if x1 > x0 else 0.0
        tail, head = (x0 + shift, y0 + side), (x1 - shift, y1 - side)
    elif end.column == start.column + 1:
        tail, head = (x0 + WIDTH / 2, y0), (x1 - WIDTH / 2, y1)
    else:
        tail, head, bend = (x0, y0 + HEIGHT / 2), (x1, y1 + HEIGHT / 2), -0.2
    axes.add_patch(
        FancyArrowPatch(
            tail, head, connectionstyle=f"arc3,rad={bend}", arrowstyle="-|>", mutation_scale=12,
            color=colour, lw=1.2 if colour == GREY else 2.4, shrinkA=1, shrinkB=1,
        )
    )  # fmt: skip
    middle = ((tail[0] + head[0]) / 2 + 0.1, (tail[1] + head[1]) / 2)
    axes.text(
        *middle, said, color=DARK if colour == GREY else colour, fontsize=10, ha="left", va="center"
    )


def draw_detour(axes: Axes, start: Box, end: Box, *, said: str, number: int) -> None:
    """Draw an arrow from the sites' lane to the strategies', down first and then along."""
    (x0, y0), (x1, y1) = start.centre, end.centre
    x0 += 0.15 - 0.3 * number
    if number == 0:
        corners = [(x0, y0 - HEIGHT / 2), (x0, y1), (x1 - WIDTH / 2, y1)]
    else:
        below = y1 - HEIGHT / 2 - 0.18 * number
        corners = [(x0, y0 - HEIGHT / 2), (x0, below), (x1, below), (x1, y1 - HEIGHT / 2)]
    axes.plot(*zip(*corners[:-1], strict=True), color=GREY, lw=1.2)
    axes.add_patch(
        FancyArrowPatch(
            corners[-2], corners[-1], arrowstyle="-|>", mutation_scale=12, color=GREY, lw=1.2,
            shrinkA=0, shrinkB=1,
        )
    )  # fmt: skip
    x, y = corners[1]
    axes.text(x + 0.1 + 0.3 * number, y + 0.06, said, color=DARK, fontsize=10, va="bottom")


def main() -> None:
    """Write the picture; the same graph gives the same bytes."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    with mpl.rc_context({"font.size": 12, "svg.hashsalt": "study-graph"}):
        metadata = {"Date": None} if target.suffix == ".svg" else None
        draw(read_stages(ROOT / "dvc.yaml")).savefig(target, metadata=metadata)


if __name__ == "__main__":
    main()
