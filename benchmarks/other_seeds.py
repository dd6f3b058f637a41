"""What the default study would have said with another seed: other phantoms, generators, trainings.

Trainings with several seeds on one cohort do not tell how far another cohort, other generators and
another split would have led. In a clone for each, with another `seed` in params.yaml:

    dvc repro summarize_audits evaluate@centralized evaluate@synthetic evaluate@synthetic-equal

some ten minutes each on two cores; then, with their folders,

    python -m benchmarks.other_seeds . ../seed-101 ../seed-102

prints the external AUC of centralized and of either mix of synthetic scans, their differences with
intervals by patient, what the gate said of each generator, and KID of each site's scans to its own
generator beside the least KID to another one.
"""

import argparse
import sys
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from sitesynth.evaluation.metrics import auc
from sitesynth.evaluation.paired import auc_difference
from sitesynth.settings import load_settings
from sitesynth.storage import read_json


__all__ = ["main"]

STRATEGIES: Final = ("synthetic", "synthetic-equal")


def _read(folder: Path, strategy: str) -> tuple[np.ndarray, np.ndarray]:
    path = folder / "results/evaluation" / strategy / "predictions.csv"
    table = pd.read_csv(path).sort_values("patient_id")
    return table["label"].to_numpy() == 1, table["probability"].to_numpy()


def _row(folder: Path) -> tuple[list[str], list[float]]:
    """Return the cells of one study, and the differences of its AUCs."""
    study = load_settings(folder / "params.yaml")
    labels, real = _read(folder, "centralized")
    compared, differences = [], []
    for strategy in STRATEGIES:
        others, synthetic = _read(folder, strategy)
        if not np.array_equal(labels, others):
            raise SystemExit(f"{folder}: the strategies were not tested on the same patients")
        found = auc_difference(labels, synthetic, real)
        if found is None:
            raise SystemExit(f"{folder}: the external patients are all of one class")
        interval = found.interval()
        differences.append(found.value)
        compared += [
            f"{auc(labels, synthetic):.3f}",
            f"{found.value:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})",
        ]
    verdicts = [
        read_json(folder / "results/privacy" / f"{site}.json")["gate"]["verdict"]
        for site in study.sites.training
    ]
    kid = read_json(folder / "results/quality.json")["matrix"]["kid"]
    rows = [
        f"{row[site]['value']:.0f} ({min(row[s]['value'] for s in row if s != site):.0f})"
        for site, row in kid.items()
    ]
    cells = [
        str(study.seed),
        f"{len(labels)}, {labels.sum()}",
        f"{auc(labels, real):.3f}",
        *compared,
        ", ".join(verdicts),
        ", ".join(rows),
    ]
    return cells, differences


def main() -> None:
    """Print a row per study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    given = parser.parse_args()
    header = [
        "seed",
        "patients, positive",
        "centralized",
        *(name for strategy in STRATEGIES for name in (strategy, "difference (95 %)")),
        "gate",
        "KID (of the nearest other)",
    ]
    differences = []
    for line in (header, ["---"] * len(header)):
        sys.stdout.write("| " + " | ".join(line) + " |\n")
    for folder in given.folders:
        cells, found = _row(folder)
        differences.append(found)
        sys.stdout.write("| " + " | ".join(cells) + " |\n")
    for strategy, values in zip(STRATEGIES, zip(*differences, strict=True), strict=True):
        sys.stdout.write(f"{strategy} against centralized: mean {np.mean(values):+.3f}\n")


if __name__ == "__main__":
    main()
