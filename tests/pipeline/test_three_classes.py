"""The tumour type of the phantom consortium, tiny: every stage, from scans to the page.

Slow: a whole study.
"""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from safetensors.torch import load_file

from sitesynth.settings import BASELINES
from tests.pipeline.in_process import ROOT, run_study
from tests.pipeline.tiny_study import shrink


CLASSES = ["glioblastoma", "astrocytoma", "oligodendroglioma"]
STAGED = ["local-alder-staged", "centralized-staged", "federated-staged", "synthetic-staged"]
PATIENTS = 20

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning"),
]


def tiny(params: dict[str, Any]) -> dict[str, Any]:
    """Shrink the study; 10, 5 and 5 patients of the classes at each site."""
    shrink(params, patients=PATIENTS, phantom_sites={"mutant_fraction": 0.5})
    params["strategies"] += [*STAGED, *BASELINES]
    params["phantom"]["astrocytoma_fraction"] = 0.5
    params["mixing"]["max_total"] = 30
    params["evaluation"]["min_subgroup"] = 2
    return params


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a study of three classes that was run."""
    text = (ROOT / "studies/tumour-type.yaml").read_text(encoding="utf-8")
    params = tiny(YAML(typ="safe", pure=True).load(text))
    with pytest.MonkeyPatch.context() as patch:
        return run_study(tmp_path_factory.mktemp("three") / "study", params, patch)


def test_every_strategy_is_judged_on_every_class(study: Path) -> None:
    found = json.loads((study / "results/comparison.json").read_text())

    assert (found["task"], found["positive"], found["classes"]) == ("tumour_type", None, CLASSES)
    assert set(found["strategies"]) == {
        "local-alder", "centralized", "federated", "synthetic", "augmented", *STAGED, *BASELINES
    }  # fmt: skip
    for told in found["strategies"].values():
        assert told["threshold"] is None
        for group in (told["overall"], told["sites"]["elm"]):
            assert group["counts"] == dict(zip(CLASSES, (10, 5, 5), strict=True))
            assert [sum(row) for row in group["confusion"]["counts"]] == [10, 5, 5]
            for one in (group, *group["classes"].values()):
                for metric in ("auc", "accuracy", "balanced_accuracy", "sensitivity", "ece"):
                    assert one[metric]["low"] <= one[metric]["value"] <= one[metric]["high"]
    pairs = {(pair["a"], pair["b"]) for pair in found["comparisons"]}
    assert {("synthetic", "centralized"), ("federated", "centralized")} <= pairs
    assert {("synthetic-staged", "synthetic"), ("synthetic-staged", "centralized-staged")} <= pairs


def test_every_strategy_answers_the_questions_of_the_stages(study: Path) -> None:
    """IDH of all 20 patients, 1p/19q of the 10 mutants; learned in stages or all at once."""
    found = json.loads((study / "results/comparison.json").read_text())

    first, second = found["stages"]
    counts = {"glioblastoma": 10, "astrocytoma or oligodendroglioma": 10}
    assert (first["stage"], second["stage"]) == ("idh", "codeletion_1p19q")
    assert set(first["strategies"]) == set(found["strategies"])
    assert all(told["counts"] == counts for told in first["strategies"].values())
    for told in second["strategies"].values():
        assert told["counts"] == {"astrocytoma": 5, "oligodendroglioma": 5}
    glioblastoma = found["strategies"]["centralized"]["overall"]["classes"]["glioblastoma"]
    # Wild type against mutant is glioblastoma against the rest, by the same probabilities.
    idh = first["strategies"]["centralized"]
    assert idh["auc"]["value"] == pytest.approx(glioblastoma["auc"]["value"], abs=1e-4)


def test_a_staged_classifier_is_kept_whole(study: Path) -> None:
    """It says of which stages it is made, and has weights of both."""
    folder = study / "models/classifier/synthetic-staged"
    config = json.loads((folder / "classifier.json").read_text())
    names = load_file(folder / "seed_0.safetensors")

    assert [one["name"] for one in config["stages"]] == ["idh", "codeletion_1p19q"]
    assert {name.split(".")[1] for name in names} == {"codeletion_1p19q", "idh"}


def test_each_class_is_drawn_and_mixed(study: Path) -> None:
    """The pool and every mix hold three classes, as many as were asked for."""
    with (study / "data/synthetic/alder/table.csv").open(newline="") as file:
        drawn = Counter(row["tumour_type"] for row in csv.DictReader(file))
    mixes = json.loads((study / "results/mixing.json").read_text())["mixes"]

    assert drawn == dict.fromkeys(CLASSES, 6)
    assert mixes["equal"] == {site: dict.fromkeys(CLASSES, 5) for site in ("alder", "birch")}


def test_the_registry_asks_for_every_classs_recall(study: Path) -> None:
    models = json.loads((study / "results/registry.json").read_text())["models"]
    rules = [
        gate["rule"] for model in models for gate in model["gates"] if "recall" in gate["rule"]
    ]

    assert {rule.split("'s external")[0] for rule in rules} == set(CLASSES)


def test_the_page_shows_who_is_called_what(study: Path) -> None:
    page = (study / "results/report/index.html").read_text()

    assert "called oligodendroglioma" in page
    assert "oligodendroglioma against the rest" in page
    assert "Stage codeletion_1p19q: astrocytoma (5), oligodendroglioma (5)" in page
    assert 'src="http' not in page
