"""Findings told side by side, on a consortium of small pictures whose findings were planted.

Slow: a whole study.
"""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from sitesynth.cli.main import main
from sitesynth.evaluation.metrics import auc
from sitesynth.settings import BASELINES, FINDINGS
from tests.pipeline.in_process import ROOT, run_study
from tests.pipeline.tiny_pictures import paint, shrink_pictures


NAMES = ["edema", "effusion", "mass"]
SITES = {"all": ["north", "south", "east"], "training": ["north", "south"], "external": ["east"]}
PATTERNS = {(): 10, ("edema",): 9, ("edema", "effusion"): 9, ("mass",): 9, ("effusion", "mass"): 3}
"""Patients of each site with these findings; too few have the last one to be told of."""

PATIENTS = sum(PATTERNS.values())

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning"),
]


LAST_BIT = 1e-12


def plant(folder: Path) -> None:
    """Write pictures and their table; of the last patient of a site, one finding is not known."""
    rng = np.random.default_rng(7)
    rows = []
    for site in SITES["all"]:
        planted = [names for names, count in PATTERNS.items() for _ in range(count)]
        for number, names in enumerate(planted):
            file = f"{site}-{number:02d}.png"
            paint(folder / file, [NAMES.index(name) for name in names], rng)
            told = {name: str(int(name in names)) for name in NAMES}
            if number == PATIENTS - 1:
                told["mass"] = ""
            rows.append(
                {
                    "patient_id": file[:-4],
                    "site": site,
                    "xray": file,
                    "age": int(rng.integers(20, 90)),
                    **told,
                }
            )
    with (folder / "table.csv").open("w", newline="") as file_:
        writer = csv.DictWriter(file_, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def tiny(params: dict[str, Any], source: Path) -> dict[str, Any]:
    """Return the chest study on these pictures, of a few steps."""
    params["cohort"] |= {
        "source": str(source),
        "table": "table.csv",
        "columns": {},
        "codes": {name: {"0": "absent", "1": "present"} for name in NAMES},
        "labels": {name: ["absent", "present"] for name in NAMES} | {FINDINGS: NAMES},
        "label_unit": "patient",
        "covariates": ["age"],
    }
    params["sites"] = SITES
    params["task"] = {"label": FINDINGS, "positive": None, "stages": None}
    params["strategies"] = [
        "local-north", "centralized", "federated", "synthetic", "augmented", *BASELINES
    ]  # fmt: skip
    shrink_pictures(params)
    params["overrides"] = {site: {} for site in SITES["all"]}
    return params


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a study of findings that was run."""
    source = tmp_path_factory.mktemp("pictures")
    plant(source)
    text = (ROOT / "studies/cxr.yaml").read_text(encoding="utf-8")
    params = tiny(YAML(typ="safe", pure=True).load(text), source)
    with pytest.MonkeyPatch.context() as patch:
        return run_study(tmp_path_factory.mktemp("findings") / "study", params, patch)


def table_of(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def test_what_was_planted_is_found(study: Path) -> None:
    """Bright squares are seen by who learned from real scans; where nothing is, by no baseline."""
    found = json.loads((study / "results/comparison.json").read_text())

    assert (found["task"], found["positive"], found["classes"]) == (FINDINGS, None, NAMES)
    assert found["side_by_side"]
    real = found["strategies"]["centralized"]["overall"]
    assert real["auc"]["low"] > 0.9
    assert all(real["classes"][name]["auc"]["value"] > 0.9 for name in NAMES)
    assert found["strategies"]["federated"]["overall"]["auc"]["value"] > 0.8
    assert found["strategies"]["baseline-site"]["overall"]["auc"]["value"] == 0.5


def test_every_strategy_is_judged_on_every_finding(study: Path) -> None:
    found = json.loads((study / "results/comparison.json").read_text())

    assert set(found["strategies"]) == {
        "local-north", "centralized", "federated", "synthetic", "augmented", *BASELINES
    }  # fmt: skip
    truth = table_of(study / "results/evaluation/centralized/predictions.csv")
    with_each = {name: int((truth[f"label_{name}"] == "1").sum()) for name in NAMES}
    for told in found["strategies"].values():
        assert told["threshold"] is None
        assert told["overall"]["n"] == PATIENTS - 1
        assert told["overall"]["counts"] == with_each
        for one in (told["overall"], *told["overall"]["classes"].values()):
            for metric in ("auc", "accuracy", "balanced_accuracy", "brier", "ece"):
                low, value, high = (one[metric][end] for end in ("low", "value", "high"))
                # A baseline that says the same of everyone has an interval of no width.
                assert low - LAST_BIT <= value <= high + LAST_BIT
    for pair in found["comparisons"]:
        assert set(pair["classes"]) == set(NAMES)
        for told in pair["classes"].values():
            assert told["delong_p"] <= told["delong_p_holm"] <= 1


def test_an_unknown_finding_is_learned_around_and_not_judged(study: Path) -> None:
    acquired = table_of(study / "data/acquired/east/table.csv").set_index("scan_id")
    judged = set(table_of(study / "results/evaluation/synthetic/predictions.csv")["scan_id"])

    assert str(acquired.loc["east-39", FINDINGS]).endswith("?mass")
    assert set(acquired.index) - judged == {"east-39"}


def test_the_hub_draws_what_occurs_at_the_site(study: Path) -> None:
    """Patterns leave with their counts, and only where five patients have them."""
    config = json.loads((study / "bundles/north/config.json").read_text())
    train = table_of(study / "data/images/north/table.csv").query("split == 'train'")
    occur = Counter(train[FINDINGS])

    told = dict(zip(config["classes"], config["class_counts"], strict=True))
    assert told == {name: n for name, n in occur.items() if n >= 5 and "?" not in name}
    drawn = table_of(study / "data/synthetic/north/table.csv")[FINDINGS]
    assert len(drawn) == 12 * len(
        {name for told_of in told for name in told_of.split("+")} - {"none"}
    )
    for name, count in told.items():
        assert abs((drawn == name).sum() - len(drawn) * count / sum(told.values())) < 1
    # So does any beginning, which is what a mix takes.
    half = drawn[: len(drawn) // 2]
    for name in told:
        assert abs((half == name).sum() - (drawn == name).sum() / 2) <= 2


def test_no_rare_pattern_leaves_the_site(study: Path) -> None:
    for site in SITES["training"]:
        config = json.loads((study / f"bundles/{site}/config.json").read_text())
        train = table_of(study / f"data/images/{site}/table.csv").query("split == 'train'")
        rare = set(train[FINDINGS]) - {*config["classes"], ""}
        card = json.loads((study / f"bundles/{site}/card.json").read_text())

        assert rare
        for copies in card["privacy"]["copies"].values():
            assert set(copies["classes"]) <= {*config["classes"], "unknown"}
        assert set(card["training"]["scans_per_class"]) == set(config["classes"])


def test_a_mix_counts_a_sites_scans(study: Path) -> None:
    mixing = json.loads((study / "results/mixing.json").read_text())

    assert mixing["mixes"]["equal"] == {site: {"all": 20} for site in SITES["training"]}


def test_the_registry_asks_for_every_findings_recall(study: Path) -> None:
    models = json.loads((study / "results/registry.json").read_text())["models"]
    rules = [
        gate["rule"] for model in models for gate in model["gates"] if "recall" in gate["rule"]
    ]

    assert {rule.split("'s external")[0] for rule in rules} == set(NAMES)


def test_the_page_tells_of_each_finding(study: Path) -> None:
    page = (study / "results/report/index.html").read_text()

    assert "Difference in AUC by finding" in page
    assert "each of edema, effusion and mass" in page
    assert "most probable class" not in page


def test_new_scans_are_told_of_each_finding(study: Path, tmp_path: Path) -> None:
    params = YAML(typ="safe").load((study / "params.yaml").read_text())
    table = Path(params["cohort"]["source"]) / "table.csv"
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(study / "models/classifier/centralized"), str(table),
              "--out", str(tmp_path / "told.csv")])  # fmt: skip
    told, truth = table_of(tmp_path / "told.csv"), table_of(table)

    assert ended.value.code == 0
    for name in NAMES:
        called = told["call"].map(lambda call, name=name: name in call.split("+"))
        probable = told[f"probability_{name}"].astype(float) >= 0.5
        assert called.equals(probable)
        known = (truth[name] != "").to_numpy()
        chances = told[f"probability_{name}"].astype(float).to_numpy()[known]
        ranked = auc((truth[name] == "1").to_numpy()[known], chances)
        assert ranked is not None
        assert ranked > 0.9
