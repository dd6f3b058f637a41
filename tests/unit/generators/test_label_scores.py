"""Scores of a label: honest on training scans, and told to the flow as one covariate more."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sitesynth import seeds
from sitesynth.errors import CohortError
from sitesynth.evaluation.metrics import auc
from sitesynth.features import FeatureScale, extractor_for
from sitesynth.generators.covariates import Moments, score_names
from sitesynth.generators.generator import Generator, read_generator, write_flow
from sitesynth.generators.label_scores import add_label_scores, as_told
from sitesynth.generators.weights import AUTOENCODER_FILE, write_weights
from sitesynth.images import ImageSet, read_images, write_index, write_voxels
from sitesynth.judges import Examples, learn_judge
from sitesynth.sampling import covariates_of
from tests.unit.generators.tiny_generator import CLASSES, train_tiny
from tests.unit.generators.tiny_latents import diffusion


SILENT = diffusion(2)
"""Of a flow that is told nothing but the label."""


def pictures(folder: Path, *, contrast: float, classes: Sequence[str] = CLASSES) -> ImageSet:
    """Write 60 pictures of noise; by class, a square in them is brighter by `contrast`."""
    rng = seeds.numpy_generator(0, "pictures")
    rows = []
    for number in range(60):
        scan, kind = f"p{number:02d}", number % len(classes)
        voxels = rng.uniform(0.2, 0.6, (2, 8, 8))
        voxels[0, 2:6, 2:6] += contrast * kind + 0.05 * rng.standard_normal()
        write_voxels(folder, scan, voxels)
        rows.append(
            {"scan_id": scan, "patient_id": scan, "site": "alder", "has_t1": "true"}
            | {"has_t2": "false" if number % 7 == 0 else "true"}
            | {"split": "validation" if number % 5 == 0 else "train", "idh": classes[kind]}
        )
    write_index(folder, channels=("t1", "t2"), grid=(8, 8), rows=rows, about={})
    return read_images(folder)


def scored(images: ImageSet, classes: Sequence[str] = CLASSES, seed: int = 0) -> ImageSet:
    return add_label_scores(images, label="idh", classes=classes, seed=seed, site="alder")


def auc_in(images: ImageSet, split: str) -> float:
    part = images.in_split(split).table
    value = auc((part["idh"] == "mutant").to_numpy(), part["label_score"].astype(float).to_numpy())
    assert value is not None
    return value


def test_scores_tell_what_can_be_seen(tmp_path: Path) -> None:
    """On training scans and on others, whatever their table says of the class."""
    images = pictures(tmp_path, contrast=0.2)
    told = scored(images)

    assert auc_in(told, "train") > 0.9
    assert auc_in(told, "validation") > 0.9
    blind = images.table.assign(
        idh=images.table["idh"].where(images.table["split"] == "train", "wildtype")
    )
    assert (
        scored(replace(images, table=blind)).table["label_score"].equals(told.table["label_score"])
    )


def test_a_score_does_not_repeat_a_label_that_cannot_be_seen(tmp_path: Path) -> None:
    """A judge who knows the scans has them by heart; scores are those of judges who do not."""
    images = pictures(tmp_path, contrast=0.0)
    extractor = extractor_for(images.channels, 2)
    training = images.in_split("train")
    rows = [
        extractor.extract(training.load([n])[0].numpy(), training.presence[n].numpy())
        for n in range(len(training))
    ]
    features = np.nan_to_num(FeatureScale.of(np.stack(rows)).standardize(np.stack(rows)))
    by_heart, honest = [], []
    for number in range(8):
        rng = seeds.numpy_generator(number, "labels")
        drawn = replace(images, table=images.table.assign(idh=rng.permutation(images.table["idh"])))
        labels = drawn.in_split("train").labels("idh", CLASSES).numpy()
        examples = Examples(features, labels, tuple(training.table["patient_id"]))
        judge = learn_judge(examples, num_classes=2, rng=rng)
        assert judge is not None
        known = auc(labels == 1, judge.of(features)[:, 1])
        assert known is not None
        by_heart.append(known)
        honest.append(auc_in(scored(drawn), "train"))

    assert np.mean(by_heart) > np.mean(honest) + 0.1
    assert 0.35 < np.mean(honest) < 0.65


def test_scores_depend_on_the_seed_alone(tmp_path: Path) -> None:
    """The audits find them again."""
    images = pictures(tmp_path, contrast=0.1)

    assert scored(images).table.equals(scored(images).table)
    assert not scored(images).table.equals(scored(images, seed=1).table)


def test_a_class_has_a_score_against_the_first(tmp_path: Path) -> None:
    """Of three classes two, each highest where its class is."""
    classes = ("low", "middle", "high")
    images = pictures(tmp_path, contrast=0.15, classes=classes)
    names = score_names(classes)
    means = (
        scored(images, classes)
        .table.astype(dict.fromkeys(names, float))
        .groupby("idh")[list(names)]
        .mean()
    )

    assert names == ("label_score_middle", "label_score_high")
    assert means["label_score_high"].idxmax() == "high"
    assert means["label_score_middle"].idxmin() == "low"


def test_a_class_of_one_patient_is_refused_by_name(tmp_path: Path) -> None:
    """Before any training, with what to do."""
    images = pictures(tmp_path, contrast=0.1)
    keep = (images.table["idh"] == "wildtype") | (images.table["scan_id"] == "p01")

    with pytest.raises(CohortError, match=r"alder has \{'wildtype': 24, 'mutant': 1\}.*overrides"):
        scored(images.select(keep))


@pytest.fixture(scope="module")
def told_of(tmp_path_factory: pytest.TempPathFactory) -> tuple[ImageSet, Generator]:
    """Return pictures, and a generator whose flow was told their scores."""
    images = pictures(tmp_path_factory.mktemp("pictures"), contrast=0.2)
    told = SILENT.model_copy(update={"label_score": True})
    return images, train_tiny(images, told, bounds={})


def test_the_hub_draws_scores_as_they_occur_in_a_class(
    told_of: tuple[ImageSet, Generator],
) -> None:
    """Nothing of one patient leaves: a mean and a spread a class."""
    images, generator = told_of
    covariates = generator.config.covariates
    assert covariates is not None
    assert covariates.names == ("label_score",)
    real = as_told(images, generator.config, seed=0).in_split("train").table
    for number, name in enumerate(CLASSES):
        (cell,) = covariates.cells[number]
        (moments,) = cell.told
        of_class = real.loc[real["idh"] == name, "label_score"].astype(float)
        drawn = [
            float(words["label_score"])
            for words in covariates_of(generator, name, range(100), seed=0)
        ]

        assert isinstance(moments, Moments)
        assert cell.patients == len(of_class)
        assert abs(np.mean(drawn) - of_class.mean()) < 0.5 * of_class.std()
        assert len(set(drawn)) > 50


def test_a_config_names_the_knob_only_where_it_was_turned(
    told_of: tuple[ImageSet, Generator], tmp_path: Path
) -> None:
    """Bundles of before say nothing of it, and are read as ever."""
    _, generator = told_of
    written = generator.config.model_dump(mode="json")
    plain = generator.config.model_copy(update={"diffusion": SILENT, "covariates": None})

    assert written["diffusion"]["label_score"] is True
    assert "label_score" not in plain.model_dump(mode="json")["diffusion"]
    assert type(plain).model_validate(plain.model_dump(mode="json")) == plain
    write_weights(tmp_path / AUTOENCODER_FILE, generator.autoencoder)
    write_flow(tmp_path, generator)
    assert read_generator(tmp_path, tmp_path).config == generator.config


def test_without_the_knob_tables_stay_as_they_are(told_of: tuple[ImageSet, Generator]) -> None:
    """No column is added."""
    images, generator = told_of
    silent = generator.config.model_copy(update={"diffusion": SILENT})

    assert as_told(images, silent, seed=0) is images
