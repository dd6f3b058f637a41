"""What the baselines learn, and what they cannot, on scans whose truth is known."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from sitesynth.classifiers.baseline import Baseline
from sitesynth.classifiers.prediction import predict_by_baseline
from sitesynth.errors import TrainingError
from sitesynth.evaluation.macro import macro_auc
from sitesynth.evaluation.metrics import auc
from sitesynth.evaluation.predictions import ClassPredictions, read_predictions
from sitesynth.images import ImageSet, read_images, write_index, write_voxels
from sitesynth.settings import BASELINES
from sitesynth.strategies.baselines import fit_baseline


CLASSES = ("wildtype", "mutant")

TYPES = ("glioblastoma", "astrocytoma", "oligodendroglioma")

COVARIATES = ("age", "scanner")


def write_site(
    folder: Path,
    site: str,
    labels: Sequence[int],
    *,
    splits: Sequence[str],
    ages: Sequence[str],
    brightness: Sequence[float],
    classes: Sequence[str] = CLASSES,
) -> ImageSet:
    """Write scans of one voxel's brightness each, with a mask in their middle."""
    rows = []
    for number, (label, split, age, bright) in enumerate(
        zip(labels, splits, ages, brightness, strict=True)
    ):
        scan = f"{site}-{number}"
        voxels = np.full((2, 6, 6), bright, dtype=np.float32)
        voxels[1] = 0.0
        voxels[1, 2:4, 2:4] = 1.0
        write_voxels(folder / site, scan, voxels)
        rows.append(
            {
                "scan_id": scan,
                "patient_id": scan,
                "site": site,
                "split": split,
                "has_t1": "true",
                "has_mask": "true",
                "idh": classes[label],
                "age": age,
                "scanner": f"scanner of {site}",
            }
        )
    write_index(folder / site, channels=["t1", "mask"], grid=[6, 6], rows=rows, about={})
    return read_images(folder / site)


def site_of(folder: Path, site: str, *, positives: int, negatives: int) -> ImageSet:
    """Write a site where mutants are younger, and brighter, without overlap; two validate."""
    labels = [1] * positives + [0] * negatives + [1, 0]
    rng = np.random.default_rng(list(site.encode()))
    return write_site(
        folder,
        site,
        labels,
        splits=["train"] * (positives + negatives) + ["validation"] * 2,
        ages=[str(round(65 - 30 * label + rng.uniform(-5, 5))) for label in labels],
        brightness=[0.3 + 0.4 * label + rng.uniform(-0.1, 0.1) for label in labels],
    )


@pytest.fixture
def sites(tmp_path: Path) -> dict[str, ImageSet]:
    """Return two sites of 3 mutants in 4, and of 2 in 8."""
    return {
        "alder": site_of(tmp_path, "alder", positives=3, negatives=1),
        "birch": site_of(tmp_path, "birch", positives=2, negatives=6),
    }


def fit(
    name: str,
    sites: dict[str, ImageSet],
    *,
    covariates: Sequence[str] = COVARIATES,
    positive: str | None = "mutant",
) -> Baseline:
    return fit_baseline(
        name, real=sites, label="idh", classes=CLASSES, positive=positive, covariates=covariates
    )


def three_classes(folder: Path, site: str, counts: Sequence[int]) -> ImageSet:
    """Write a site where classes are 20 years apart, and apart in brightness; three validate."""
    labels = [number for number, count in enumerate(counts) for _ in range(count)] + [0, 1, 2]
    rng = np.random.default_rng(list(site.encode()))
    return write_site(
        folder,
        site,
        labels,
        splits=["train"] * sum(counts) + ["validation"] * 3,
        ages=[str(round(30 + 20 * label + rng.uniform(-5, 5))) for label in labels],
        brightness=[0.2 + 0.3 * label + rng.uniform(-0.05, 0.05) for label in labels],
        classes=TYPES,
    )


def fit_types(name: str, sites: dict[str, ImageSet]) -> Baseline:
    return fit_baseline(
        name, real=sites, label="idh", classes=TYPES, positive=None, covariates=COVARIATES
    )


@pytest.mark.parametrize("name", ["baseline-covariates", "baseline-intensity"])
def test_what_tells_the_classes_apart_does_so_at_a_new_site(
    name: str, sites: dict[str, ImageSet], tmp_path: Path
) -> None:
    found = predict_by_baseline(
        fit(name, sites),
        site_of(tmp_path, "elm", positives=4, negatives=5),
        label_unit="patient",
    )

    assert auc(found["label"].to_numpy() == 1, found["probability"].to_numpy()) == 1.0


def test_a_site_predicts_its_prevalence_and_an_unknown_one_that_of_all(
    sites: dict[str, ImageSet], tmp_path: Path
) -> None:
    """Half a scan is added to either class: 3.5 of 5, 2.5 of 9, 5.5 of 13."""
    elm = site_of(tmp_path, "elm", positives=4, negatives=5)
    baseline = fit("baseline-site", sites)

    assert baseline.predict(sites["alder"])[0, 0] == pytest.approx(3.5 / 5)
    assert baseline.predict(sites["birch"])[0, 0] == pytest.approx(2.5 / 9)
    assert baseline.predict(elm)[:, 0] == pytest.approx([5.5 / 13] * 11)


def test_a_scanner_that_stands_for_its_site_tells_nothing(sites: dict[str, ImageSet]) -> None:
    """Each site and class weighs alike, so that prevalence, which will differ, is not learned."""
    baseline = fit("baseline-covariates", sites, covariates=("scanner",))

    assert baseline.predict(sites["alder"])[:, 0] == pytest.approx([0.5] * 6, abs=1e-4)


def test_a_class_that_is_not_there_is_named(sites: dict[str, ImageSet]) -> None:
    one_class = {
        site: images.select(images.table["idh"] == "mutant") for site, images in sites.items()
    }

    with pytest.raises(TrainingError, match=r"none of the 5 scans to learn from .*'wildtype'"):
        fit("baseline-site", one_class)


def test_the_order_of_sites_does_not_matter(sites: dict[str, ImageSet]) -> None:
    for name in BASELINES:
        assert fit(name, dict(reversed(sites.items()))) == fit(name, sites)


@pytest.mark.parametrize("name", ["baseline-covariates", "baseline-intensity"])
def test_every_class_of_several_is_told_at_a_new_site(name: str, tmp_path: Path) -> None:
    """Macro AUC 1, no threshold, and a table that is read as one of all classes."""
    sites = {site: three_classes(tmp_path, site, (4, 3, 2)) for site in ("alder", "birch")}
    baseline = fit_types(name, sites)
    table = predict_by_baseline(
        baseline, three_classes(tmp_path, "elm", (3, 3, 3)), label_unit="patient"
    )
    table.to_csv(tmp_path / "predictions.csv", index=False)
    found = read_predictions(tmp_path / "predictions.csv")

    assert baseline.threshold is None
    assert isinstance(found, ClassPredictions)
    assert found.classes == TYPES
    assert found.by_seed.shape == (0, 12, 3)
    assert macro_auc(found.labels, found.probabilities) == 1.0


def test_a_site_predicts_the_share_of_each_class(tmp_path: Path) -> None:
    """Half a scan is added to every class: of 4, 1, 2 and of 1, 1, 1 scans, and of 5, 2, 3."""
    sites = {
        "alder": three_classes(tmp_path, "alder", (4, 1, 2)),
        "birch": three_classes(tmp_path, "birch", (1, 1, 1)),
    }
    elm = three_classes(tmp_path, "elm", (1, 1, 1))
    baseline = fit_types("baseline-site", sites)

    assert baseline.predict(sites["alder"])[0] == pytest.approx(np.array([4.5, 1.5, 2.5]) / 8.5)
    assert baseline.predict(sites["birch"])[0] == pytest.approx([1 / 3] * 3)
    assert baseline.predict(elm)[0] == pytest.approx(np.array([5.5, 2.5, 3.5]) / 11.5)


@pytest.mark.parametrize("name", BASELINES)
def test_two_classes_are_predicted_alike_with_and_without_a_positive_one(
    name: str, sites: dict[str, ImageSet]
) -> None:
    chances = fit(name, sites).predict(sites["birch"])[:, 0]
    both = fit(name, sites, positive=None).predict(sites["birch"])

    assert both[:, 1] == pytest.approx(chances, abs=1e-6)
    assert both.sum(axis=1) == pytest.approx(np.ones(len(both)))
