"""What the benchmark of a bad site permutes and counts."""

import pytest
import torch

from benchmarks.bad_site import permute_labels, shares_of
from tests.unit.mixing.tiny_problem import examples


def test_permuting_moves_labels_and_leaves_scans_and_counts(rng: torch.Generator) -> None:
    """About half of the scans, of two classes alike in number, then bear the wrong label."""
    honest = examples("honest", 200, lies=False)
    noise = permute_labels(honest, rng=rng)

    assert torch.equal(noise.images, honest.images)
    assert noise.labels.bincount().tolist() == [200, 200]
    assert 150 < int((noise.labels != honest.labels).sum()) < 250


def test_shares_count_classes_alike() -> None:
    """Alder gives all of one class and a quarter of the other, whatever their numbers."""
    mix = {"alder": {"dark": 10, "bright": 100}, "birch": {"dark": 0, "bright": 300}}

    assert shares_of(mix) == pytest.approx({"alder": 0.625, "birch": 0.375})
