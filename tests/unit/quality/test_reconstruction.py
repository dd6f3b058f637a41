"""Autoencoders whose losses are known: none, and all that is fine."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.metrics import roc_auc_score
from torch import Tensor

from sitesynth import seeds
from sitesynth.described import describe_real
from sitesynth.features import extractor_for
from sitesynth.images import ImageSet, read_images, write_index, write_voxels
from sitesynth.quality.reconstruction import (
    Reconstruct,
    _auc,
    assess_reconstruction,
    describe_reconstructions,
    reconstruct_by,
)
from tests.unit.tiny_models import tiny_generator


CLASSES = ("wildtype", "mutant")
CHANNELS = ("t1", "flair", "mask")
NUM_TRAINING, NUM_HELD_OUT = 24, 8


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """Return pictures of which every second has fine grain, and nothing else that tells it.

    The first held-out one lacks FLAIR.
    """
    folder, rows = tmp_path_factory.mktemp("grain"), []
    rng = seeds.numpy_generator(0, "grain")
    for number in range(NUM_TRAINING + NUM_HELD_OUT):
        scan = f"p{number:02d}"
        coarse = ndimage.gaussian_filter(rng.standard_normal((2, 32, 32)), (0, 4, 4))
        voxels = np.zeros((3, 32, 32), dtype=np.float32)
        voxels[:2] = 0.5 + coarse + (0.05 + 0.05 * (number % 2)) * rng.standard_normal((2, 32, 32))
        voxels[2, 10:16, 10:16] = 1
        lacks = number == NUM_TRAINING
        voxels[1] *= not lacks
        write_voxels(folder, scan, voxels.clip(0, 1))
        rows.append(
            {"scan_id": scan, "patient_id": scan, "site": "alder", "idh": CLASSES[number % 2]}
            | {"split": "train" if number < NUM_TRAINING else "validation"}
            | {"has_t1": "true", "has_flair": str(not lacks).lower(), "has_mask": "true"}
        )
    write_index(folder, channels=CHANNELS, grid=(32, 32), rows=rows, about={})
    return read_images(folder)


def identity(images: Tensor, presence: Tensor) -> Tensor:
    return images.clone()


def blur(images: Tensor, presence: Tensor) -> Tensor:
    return torch.tensor(ndimage.gaussian_filter(images.numpy(), (0, 0, 2, 2)))


def assess(scans: ImageSet, reconstruct: Reconstruct, *, told: int = 99) -> dict[str, Any]:
    """Assess an autoencoder, where the first few labels are told and the rest unknown."""
    extractor = extractor_for(CHANNELS, 2)
    splits = scans.in_split("train"), scans.in_split("validation")
    labels = [np.asarray(images.labels("idh", CLASSES)) for images in splits]
    labels[0][told:] = -1
    return assess_reconstruction(
        *(describe_real(images) for images in splits),
        back=(
            describe_reconstructions(splits[0], reconstruct, extractor, with_similarity=False),
            describe_reconstructions(splits[1], reconstruct, extractor, with_similarity=True),
        ),
        labels=(labels[0], labels[1]),
        classes=CLASSES,
        sequences=("t1", "flair"),
        grid=scans.grid,
        num_resamples=100,
        rng=np.random.default_rng(1),
    )


def test_what_comes_back_as_it_was_has_lost_nothing(scans: ImageSet) -> None:
    found = assess(scans, identity)
    auc = found["judge"]["auc"]

    assert found["scans"] == {"held_out": NUM_HELD_OUT, "train": NUM_TRAINING}
    assert found["ms_ssim"]["mean"]["value"] == pytest.approx(1)
    assert found["ms_ssim"]["by_sequence"]["flair"]["value"] == pytest.approx(1)
    assert found["error"]["held_out"]["value"] == found["error"]["train"]["value"] == 0
    assert auc["original"] == auc["reconstruction"] > 0.95
    assert auc["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert found["judge"]["n"] == NUM_TRAINING + NUM_HELD_OUT
    assert found["judge"]["n_held_out"] == NUM_HELD_OUT


def test_a_blur_takes_the_class_with_the_grain(scans: ImageSet) -> None:
    """A Gaussian of two voxels leaves the coarse pattern, and a fiftieth of the grain's power."""
    kept, lost = assess(scans, identity), assess(scans, blur)

    assert lost["ms_ssim"]["mean"]["high"] < 0.95
    assert lost["error"]["held_out"]["value"] > 0.03
    assert lost["judge"]["auc"]["original"] == kept["judge"]["auc"]["original"]
    assert lost["judge"]["auc"]["difference"]["high"] < 0
    assert lost["judge"]["auc"]["reconstruction"] < kept["judge"]["auc"]["reconstruction"] - 0.1


def test_a_sequence_that_a_scan_lacks_is_not_asked_back(scans: ImageSet) -> None:
    """What is made up for it is off by a lot, and counts nowhere."""

    def make_up(images: Tensor, presence: Tensor) -> Tensor:
        return torch.where(presence[..., None, None], images, 0.9)

    assert assess(scans, make_up) == assess(scans, identity)


def test_a_class_of_one_patient_cannot_be_judged(scans: ImageSet) -> None:
    """Three labels: two of the first class and one of the second, which no fold could leave out."""
    found = assess(scans, identity, told=3)

    assert found["judge"] is None
    assert found["ms_ssim"]["mean"]["value"] == pytest.approx(1)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_ranks_are_those_of_another_implementation(num_classes: int) -> None:
    """Weights count scans as often as a resample drew them; ties are half won."""
    rng = np.random.default_rng(0)
    labels = np.arange(30) % num_classes
    probabilities = rng.dirichlet(np.ones(num_classes), 30).round(1)
    weights = rng.integers(0, 3, (5, 30)).astype(float)
    expected = [
        np.mean(
            [
                roc_auc_score(labels == k, probabilities[:, k], sample_weight=row)
                for k in range(num_classes)
            ]
        )
        for row in weights
    ]

    np.testing.assert_allclose(_auc(probabilities, labels, weights), expected)


def test_a_resample_without_a_class_has_no_rank() -> None:
    weights = np.array([[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0]])
    found = _auc(np.eye(2)[[0, 0, 1, 1]], np.array([0, 0, 1, 1]), weights)

    assert np.isnan(found[0])
    assert found[1] == 1


def test_a_network_is_asked_without_noise() -> None:
    """Twice the same, in [0, 1]."""
    generator = tiny_generator((8, 8))
    reconstruct = reconstruct_by(generator.autoencoder)
    shape = (1, len(generator.config.channels), *generator.config.grid)
    images = torch.rand(shape, generator=seeds.generator(0, "images"))
    presence = torch.ones(shape[:2], dtype=torch.bool)
    back = reconstruct(images, presence)

    assert back.shape == shape
    assert torch.equal(back, reconstruct(images, presence))
    assert back.min() >= 0
    assert back.max() <= 1
