"""Draw a study's supplementation curve, and print its table as Markdown.

    python docs/draw_supplementation.py

Reads results/supplementation.json of a study that asked for it, such as `supplementation`.
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl


mpl.use("Agg")

import matplotlib.pyplot as plt


ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "supplementation.png"

KINDS = {"added": ("added to real scans", "0.2", -0.08), "alone": ("alone", "#1f5fa8", 0.08)}
"""By kind of point: what it is called, its colour, and how far beside its place it is drawn."""


def draw(curve: dict[str, Any]) -> None:
    """Draw both kinds at evenly spaced percentages, each training as a dot."""
    percentages = sorted({entry["percentage"] for entry in curve["amounts"]})
    figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
    for kind, (name, colour, shift) in KINDS.items():
        entries = [entry for entry in curve["amounts"] if entry["kind"] == kind]
        x = [percentages.index(entry["percentage"]) + shift for entry in entries]
        low, high = ([entry["auc"][end] for entry in entries] for end in ("low", "high"))
        axes.vlines(x, low, high, color=colour, linewidth=1.2)
        axes.plot(x, [entry["auc"]["value"] for entry in entries], "o-", color=colour, label=name)
        for at, entry in zip(x, entries, strict=True):
            dots = [told["auc"] for told in entry["replicates"]]
            axes.plot([at] * len(dots), dots, ".", color="C1", markersize=4)
    axes.axhline(curve["amounts"][0]["auc"]["value"], color="0.7", linewidth=0.8)
    axes.set_xticks(range(len(percentages)), [str(p) for p in percentages])
    axes.set_xlabel("synthetic scans, % of the real ones (dots: single trainings)")
    axes.set_ylabel(f"external AUC, {curve['n']} patients, 95 %")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(PICTURE, dpi=110)
    plt.close(figure)


def table(curve: dict[str, Any]) -> str:
    """Return the table of AUCs as Markdown."""
    columns = ["% synthetic", "added to real scans", "difference", "alone", "difference"]
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    found = {(entry["kind"], entry["percentage"]): entry for entry in curve["amounts"]}
    for percentage in sorted({percentage for _, percentage in found}):
        cells = [str(percentage)]
        for kind in KINDS:
            entry = found.get((kind, percentage))
            cells += ["", ""] if entry is None else [told(entry), against(entry)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def told(entry: dict[str, Any]) -> str:
    """Return a point's AUC with its interval and the trainings' standard deviation."""
    auc = entry["auc"]
    return f"{auc['value']:.3f} ({auc['low']:.3f} to {auc['high']:.3f}); {entry['sd']:.3f}"


def against(entry: dict[str, Any]) -> str:
    """Return a point's difference to real scans alone; nothing for those."""
    found = entry["difference"]
    if found is None:
        return ""
    return f"{found['value']:+.3f} ({found['low']:+.3f} to {found['high']:+.3f})"


def main() -> None:
    """Draw and print."""
    path = ROOT / "results" / "supplementation.json"
    curve = json.loads(path.read_text(encoding="utf-8"))
    if not curve["amounts"]:
        sys.exit(curve["about"])
    draw(curve)
    sys.stdout.write(table(curve) + "\n")


if __name__ == "__main__":
    main()
