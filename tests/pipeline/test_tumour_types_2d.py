"""The study of three classes in two dimensions, tiny, on pictures in the place of its own.

Slow: a whole study.
"""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from tests.pipeline.in_process import ROOT, run_study
from tests.pipeline.tiny_pictures import paint, shrink_pictures


CLASSES = ["glioma", "meningioma", "pituitary"]
RUNS = 8
"""Runs of two slices, of each class and site."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning"),
]


def plant(folder: Path, sites: list[str]) -> None:
    """Write pictures of each class, and the table that the study's own set has."""
    rng = np.random.default_rng(3)
    rows = []
    for site in sites:
        for number in range(RUNS * len(CLASSES) * 2):
            run, look = number // 2, number // 2 % len(CLASSES)
            name = f"{site}-{number:02d}"
            paint(folder / f"{name}.png", [look], rng)
            rows.append(
                {
                    "image_id": name,
                    "site": site,
                    "label": CLASSES[look],
                    "split": "train",
                    "file": f"{name}.png",
                    "chunk": f"{site}-{run}",
                }
            )
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_every_strategy_tells_the_three_types_apart(tmp_path: Path) -> None:
    """Nothing of the study but its source, its strategies and its size is changed."""
    text = (ROOT / "studies/tumour-types-2d.yaml").read_text(encoding="utf-8")
    params: dict[str, Any] = YAML(typ="safe", pure=True).load(text)
    plant(tmp_path, params["sites"]["all"])
    params["cohort"]["source"] = str(tmp_path)
    params["strategies"] = ["centralized", "federated", "synthetic", "augmented", "baseline-site"]
    shrink_pictures(params)
    with pytest.MonkeyPatch.context() as patch:
        study = run_study(tmp_path / "study", params, patch)
    found = json.loads((study / "results/comparison.json").read_text())

    assert (found["classes"], found["positive"]) == (CLASSES, None)
    assert set(found["strategies"]) == {*params["strategies"]}
    for told in found["strategies"].values():
        assert told["overall"]["counts"] == dict.fromkeys(CLASSES, 2 * RUNS)
    assert found["strategies"]["centralized"]["overall"]["auc"]["low"] > 0.9
    assert "glioma against the rest" in (study / "results/report/index.html").read_text()
