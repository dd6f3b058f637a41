"""Bad models, planted, on their way through the stages to the registry's gates."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import evaluate, train_classifier
from sitesynth import seeds
from sitesynth.evaluation.comparisons import compare_strategies
from sitesynth.evaluation.predictions import read_evaluations
from sitesynth.images import write_index, write_voxels
from sitesynth.registry.gates import Gate, refusals
from sitesynth.registry.patients import digests_of_patients
from sitesynth.registry.study import classifiers_of
from sitesynth.settings import RegistrySettings, Settings
from sitesynth.storage import write_json, write_text
from sitesynth.tracking import Silent
from tests.unit.strategies import tiny_consortium as tiny


STRATEGIES = ("centralized", "local-alder", "synthetic")
EXTERNAL = ("dogwood", "elm")
CLASSES = ("wildtype", "mutant")
REGISTRY = RegistrySettings(
    min_auc=0.5, max_ece=1.0, min_recall=0.0, candidates=("local-alder", "synthetic")
)


def rows_of(folder: Path, site: str, splits: Sequence[str], *, inverted: bool = False) -> list[Any]:
    """Write a site's scans, of which mutants are brighter, and return their rows."""
    rng = seeds.numpy_generator(0, "registered", site)
    rows = []
    for number, split in enumerate(splits):
        label = number % 2
        scan = f"{site}-{number}"
        write_voxels(folder, scan, 0.4 * label + 0.3 * rng.random((1, 8, 8), dtype=np.float32))
        row = {"scan_id": scan, "patient_id": scan, "site": site, "split": split}
        rows.append(row | {"has_t1": "true", "idh": CLASSES[label != inverted]})
    return rows


def write_site(folder: Path, site: str, rows: list[Any]) -> None:
    write_index(folder / site, channels=["t1"], grid=[8, 8], rows=rows, about={})


@pytest.fixture(scope="module")
def study() -> Settings:
    study = tiny.settings(engine="in_process")
    learning = {"num_steps": 40, "validate_every": 40, "num_seeds": 1, "learning_rate": 0.01}
    return study.model_copy(update={"classifier": study.classifier.model_copy(update=learning)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a study's scans: the hub's pool has every label the wrong way round."""
    folder = tmp_path_factory.mktemp("study")
    for site in tiny.SITES:
        splits = ["train"] * 16 + ["validation"] * 8
        write_site(folder / "images", site, rows_of(folder / "images" / site, site, splits))
        pool = folder / "synthetic"
        write_site(pool, site, rows_of(pool / site, site, ["train"] * 16, inverted=True))
        write_json(
            folder / f"bundles/{site}/card.json", {"privacy": {"gate": {"verdict": "passed"}}}
        )
    for site in EXTERNAL:
        rows = rows_of(folder / "images" / site, site, ["test"] * 24)
        write_site(folder / "images", site, rows)
        lines = [f"{row['scan_id']},{row['patient_id']},test" for row in rows]
        table = "\n".join(["scan_id,patient_id,split", *lines, ""])
        write_text(folder / f"splits/{site}.csv", table)
    write_json(folder / "splits/frozen.json", {"test_sha256": "frozen"})
    tuned = {site: dict.fromkeys(CLASSES, 8) for site in tiny.SITES}
    write_json(folder / "mixing.json", {"mixes": {"tuned": tuned}})
    return folder


def fit(study: Settings, folder: Path, strategy: str, *, images: str, to: str) -> None:
    """Run the stages that make and judge a classifier."""
    train_classifier.run(
        strategy=strategy,
        images=folder / images,
        synthetic=folder / "synthetic",
        mixes=folder / "mixing.json",
        model=folder / to / "classifier" / strategy,
        traffic=folder / to / "traffic.json",
        **tiny.sections(study),
        scratch=folder / to / "scratch" / strategy,
        tracked=Silent(),
    )
    evaluate.run(
        strategy=strategy,
        model=folder / to / "classifier" / strategy,
        images=folder / "images",
        splits=folder / "splits",
        predictions=folder / to / "evaluation" / strategy,
        label_unit=study.cohort.label_unit,
        external=study.sites.external,
        tracked=Silent(),
    )


def judge(folder: Path, strategies: Sequence[str], *, to: str) -> dict[str, list[Gate]]:
    """Return what the gates refuse of each strategy's classifier."""
    predictions, thresholds = read_evaluations(
        folder / to / "evaluation", strategies, test_sha256="frozen"
    )
    comparison = compare_strategies(
        predictions,
        thresholds,
        task="idh",
        positive="mutant",
        sites=EXTERNAL,
        reference="centralized",
        # With 48 patients, even two equal and perfect classifiers may differ by more than 0.1.
        margin=0.15,
        num_resamples=200,
        test_sha256="frozen",
        seed=1,
    )
    found = classifiers_of(
        folder / to / "classifier",
        strategies,
        label="idh",
        comparison=comparison,
        evaluation=folder / to / "evaluation",
        bundles={site: folder / "bundles" / site for site in tiny.SITES},
        test_patients=digests_of_patients(folder / "splits", EXTERNAL),
        settings=REGISTRY,
        tags={},
        lock={},
    )
    return {submission.tags["strategy"]: refusals(submission.gates) for submission in found}


def test_what_learned_wrong_labels_is_refused_and_what_learned_right_ones_is_not(
    study: Settings, folder: Path
) -> None:
    for strategy in STRATEGIES:
        fit(study, folder, strategy, images="images", to="honest")
    refused = judge(folder, STRATEGIES, to="honest")

    assert refused["local-alder"] == []
    assert [gate.rule for gate in refused["synthetic"]] == [
        "the external AUC's 95 % interval lies above 0.5",
        "not inferior to centralized",
        "the positive class's external recall's 95 % interval lies above 0.0",
    ]


def test_what_was_trained_on_the_test_is_refused_however_good_it_is(
    study: Settings, folder: Path
) -> None:
    """Some of an external site's patients have got into a training site's folder."""
    for site in tiny.SITES:
        splits = ["train"] * 16 + ["validation"] * 8
        rows = rows_of(folder / "leaky" / site, site, splits)
        if site == "alder":
            rows += rows_of(folder / "leaky" / site, "elm", ["train"] * 4)
        write_site(folder / "leaky", site, rows)
    for strategy in ("centralized", "local-alder"):
        fit(study, folder, strategy, images="leaky", to="leaked")
    refused = judge(folder, ("centralized", "local-alder"), to="leaked")

    assert refused["local-alder"] == [
        Gate("fitted on no external patient", "4 of 48 of them", passed=False)
    ]
