"""Balanced batches, augmentation, and what a site tells about a model."""

import pytest
import torch

from sitesynth import seeds
from sitesynth.classifiers.training import (
    Examples,
    augment,
    balance,
    choose_threshold,
    draw_noise,
    draw_weighted,
    move,
    pool_scores,
    score,
    score_probabilities,
    thresholds,
)


def test_every_stratum_is_drawn_alike() -> None:
    """90 scans in one stratum and 10 in the other are drawn half and half."""
    strata = torch.tensor([0] * 90 + [1] * 10)
    drawn = strata[draw_weighted(balance(strata), 8000, rng=seeds.generator(0, "strata"))]

    assert abs(float(drawn.float().mean()) - 0.5) < 0.02


def test_augmentation_leaves_missing_sequences_missing() -> None:
    """Noise on an absent sequence would tell the classifier that it is absent."""
    presence = torch.tensor([[True, False], [False, True]])
    images = torch.rand(2, 2, 6, 6) * presence.reshape(2, 2, 1, 1)
    changed = augment(images, presence, sequence_dropout=0.0, rng=seeds.generator(0, "augment"))

    assert torch.equal(changed.flatten(2).abs().amax(dim=2) > 0, presence)


def test_augmentation_never_hides_the_last_sequence() -> None:
    """Even at probability 1 a scan keeps what it has."""
    presence = torch.tensor([[True, True], [False, True]])
    images = torch.ones(2, 2, 6, 6) * presence.reshape(2, 2, 1, 1)
    changed = augment(images, presence, sequence_dropout=1.0, rng=seeds.generator(0, "hide"))

    assert torch.equal(changed.flatten(2).abs().amax(dim=2) > 0, presence)


def test_a_batch_does_not_change_a_scan_by_more_than_shift_gain_and_noise() -> None:
    """A constant scan stays within its gain and noise, away from the shifted border."""
    images = torch.ones(64, 1, 12, 12)
    presence = torch.ones(64, 1, dtype=torch.bool)
    changed = augment(images, presence, sequence_dropout=0.0, rng=seeds.generator(0, "gain"))
    inner = changed[:, :, 2:-2, 2:-2].mean(dim=(1, 2, 3))

    assert (inner > 0.84).all()
    assert (inner < 1.16).all()


def test_a_scan_moves_whole_and_its_border_is_empty() -> None:
    """Mirrored along its first axis, then moved by (1, -2): as padding and cutting would do it."""
    scan = torch.rand(1, 3, 5, 6, generator=seeds.generator(0, "moved"))
    padded = torch.nn.functional.pad(scan.flip(2), [2] * 4)
    wanted = padded[:, :, 3:8, :6]

    assert torch.equal(move(scan, [True], [[1, -2]]), wanted)
    assert torch.equal(move(scan, [False], [[0, 0]]), scan)


def test_noise_has_mean_zero_and_unit_spread() -> None:
    """Whatever the number of voxels: bytes are drawn by eights."""
    noise = draw_noise((3, 33333), rng=seeds.generator(0, "noise"))

    assert abs(float(noise.mean())) < 0.01
    assert abs(float(noise.std()) - 1) < 0.01
    assert len(noise[0].unique()) == 256
    assert not torch.equal(noise[0], noise[1])


def test_an_empty_voxel_stays_empty_but_for_noise() -> None:
    """The logarithm of nothing is taken of next to nothing."""
    images = torch.zeros(8, 1, 6, 6)
    presence = torch.ones(8, 1, dtype=torch.bool)
    changed = augment(images, presence, sequence_dropout=0.0, rng=seeds.generator(0, "empty"))

    assert changed.isfinite().all()
    assert changed.abs().max() < 0.06 * 3**0.5 + 0.001


def test_a_score_weighs_classes_alike() -> None:
    """One positive at 0.5 and three negatives at 0.1: mean of -log .5 and -log .9."""
    chance = torch.tensor([0.5, 0.1, 0.1, 0.1])
    told = score_probabilities(
        torch.stack([1 - chance, chance], dim=1), torch.tensor([1, 0, 0, 0]), positive=1
    )
    expected = -(torch.tensor(0.5).log() + torch.tensor(0.9).log()) / 2

    assert told.loss == pytest.approx(float(expected), rel=1e-6)
    assert (told.positives, told.negatives) == (1, 3)


def test_pooling_weighs_sites_by_their_scans() -> None:
    """Losses 1 (1 scan) and 3 (3 scans) pool to 2.5."""
    chance = torch.exp(torch.tensor([-1.0, -3.0]))
    small, large = (
        score_probabilities(
            torch.stack([1 - p, p], dim=-1).expand(n, 2),
            torch.ones(n, dtype=torch.long),
            positive=1,
        )
        for p, n in zip(chance, (1, 3), strict=True)
    )

    assert pool_scores([small, large]).loss == pytest.approx(2.5, rel=1e-5)


def test_the_threshold_separates_what_can_be_separated() -> None:
    """Positives from 0.8, negatives to 0.6: of the cuts in between, 0.65 is nearest to 0.5."""
    chance = torch.tensor([0.8, 0.82, 0.6, 0.55])
    told = score_probabilities(
        torch.stack([1 - chance, chance], dim=1), torch.tensor([1, 1, 0, 0]), positive=1
    )

    assert choose_threshold(told) == pytest.approx(0.65)
    assert len(thresholds()) == 19


def test_where_every_class_is_predicted_no_threshold_is_chosen() -> None:
    """Classes at .5, .2 and .1: the mean of their log losses, and no hits to choose by."""
    chances = torch.tensor([[0.5, 0.3, 0.2], [0.5, 0.2, 0.3], [0.6, 0.3, 0.1]])
    told = score_probabilities(chances, torch.tensor([0, 1, 2]), positive=None)

    assert told.loss == pytest.approx(-float(torch.tensor([0.5, 0.2, 0.1]).log().mean()))
    assert told.hits == ()
    assert choose_threshold(pool_scores([told, told])) is None
    assert pool_scores([told, told]).loss == pytest.approx(told.loss)


def test_members_are_tried_together_on_every_class() -> None:
    """Two members that are sure of another class each: the mean gives either one half."""
    images = torch.zeros(2, 1, 2, 2)
    held_out = Examples(
        images, torch.ones(2, 1, dtype=torch.bool), torch.tensor([0, 1]), torch.ones(2).double()
    )
    told = score([Sure(0), Sure(1)], held_out, positive=None)

    assert told.loss == pytest.approx(float(torch.tensor(2.0).log()), rel=1e-4)


class Sure(torch.nn.Module):
    """A classifier of three that is always sure of one class."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(30.0 * torch.eye(3)[number])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(images), 3)
