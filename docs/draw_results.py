"""Draw the README's picture of the default study's result, and print its table as Markdown.

    python docs/draw_results.py

Reads results/comparison.json, and one real and one synthetic image set, all of a finished study.
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl


mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from sitesynth.images import MASK, ImageSet, read_images


ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "results.png"
SITE = "alder"
CLASSES = ("wildtype", "mutant")
BEST_AUC = 0.943
"""On the default study's own external patients; docs/phantom.md says how it is computed."""


def mid_slices(images: ImageSet, label: str, number: int) -> np.ndarray:
    """Return the sequences of one scan of a class, side by side, in the slice with most mask."""
    chosen = images.select(images.table["idh"] == label)
    complete = [i for i in range(len(chosen)) if bool(chosen.presence[i].all())]
    voxels = chosen.load([complete[number]])[0].numpy()
    slice_number = int(voxels[images.channels.index(MASK)].sum(axis=(0, 1)).argmax())
    return np.concatenate([voxel[:, ::-1, slice_number].T for voxel in voxels[:-1]], axis=1)


def draw(comparison: dict[str, Any]) -> None:
    """Draw AUCs with intervals beside real and synthetic scans."""
    names = [name for name in comparison["order"]["strategies"] if name in comparison["strategies"]]
    # Constrained: the right panels' labels get the room that they need beside the left panel.
    figure = plt.figure(figsize=(11, 3.4), layout="constrained")
    grid = figure.add_gridspec(4, 2, width_ratios=[1.25, 1])
    axes = figure.add_subplot(grid[:, 0])
    for row, name in enumerate(reversed(names)):
        auc = comparison["strategies"][name]["overall"]["auc"]
        axes.plot([auc["low"], auc["high"]], [row, row], color="0.35", linewidth=1.5)
        axes.plot(auc["value"], row, "o", color="#1f5fa8" if name == "synthetic" else "0.2")
    axes.axvline(
        BEST_AUC, color="0.6", linestyle=":", label=f"best possible from images, {BEST_AUC:.3f}"
    )
    axes.axvline(0.5, color="0.8", linewidth=1)
    axes.set_yticks(range(len(names)), list(reversed(names)))
    count = comparison["strategies"]["centralized"]["overall"]["n"]
    axes.set_xlabel(f"external AUC with its 95 % interval, {count} patients of two hospitals")
    # Above the panel, where no interval can come to lie.
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    real, synthetic = (read_images(ROOT / "data" / kind / SITE) for kind in ("images", "synthetic"))
    rows = [(real, label, "real") for label in CLASSES]
    rows += [(synthetic, label, "synthetic") for label in CLASSES]
    for row, (images, label, kind) in enumerate(rows):
        panel = figure.add_subplot(grid[row, 1])
        panel.imshow(
            np.concatenate([mid_slices(images, label, n) for n in (0, 1)], axis=1),
            cmap="gray",
            vmin=0,
            vmax=1,
        )
        panel.set_xticks([])
        panel.set_yticks([])
        panel.set_ylabel(f"{kind}\n{label}", rotation=0, ha="right", va="center", fontsize=8)
    figure.savefig(PICTURE, dpi=110)


def table(comparison: dict[str, Any]) -> str:
    """Return the table of AUCs as Markdown."""
    sites = comparison["order"]["sites"]
    pairs = {pair["a"]: pair for pair in comparison["comparisons"] if pair["b"] == "centralized"}
    head = ["strategy", *sites, "overall AUC (95 %)", "vs centralized", "McNemar p", "not inferior"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name in comparison["order"]["strategies"]:
        told = comparison["strategies"][name]
        auc = told["overall"]["auc"]
        cells = [f"{told['sites'][site]['auc']['value']:.3f}" for site in sites]
        cells.append(f"{auc['value']:.3f} ({auc['low']:.3f} to {auc['high']:.3f})")
        pair = pairs.get(name)
        if pair:
            difference = pair["auc_difference"]
            span = f"{difference['low']:+.3f} to {difference['high']:+.3f}"
            cells += [
                f"{difference['value']:+.3f} ({span})",
                f"{pair['mcnemar_p']:.2g}",
                "yes" if pair["non_inferior"] else "not shown",
            ]
        else:
            cells += ["", "", ""]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Draw and print."""
    comparison = json.loads((ROOT / "results" / "comparison.json").read_text(encoding="utf-8"))
    draw(comparison)
    sys.stdout.write(table(comparison) + "\n")


if __name__ == "__main__":
    main()
