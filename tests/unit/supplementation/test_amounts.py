"""How many synthetic scans a point takes, and which: known by counting."""

import pytest
import torch

from sitesynth import seeds
from sitesynth.classifiers.training import Examples, balance
from sitesynth.errors import TrainingError
from sitesynth.supplementation.amounts import Amount, amounts_of, check_pool, scans_of
from sitesynth.supplementation.draws import draw_scans, weigh_alike


REAL = {"alder": {"dark": 3, "bright": 5}, "birch": {"dark": 0, "bright": 2}}


def numbered(labels: list[int]) -> Examples:
    """Return scans whose one voxel is their number."""
    images = torch.arange(len(labels)).float().reshape(-1, 1, 1, 1)
    classes = torch.tensor(labels)
    presence = torch.ones(len(labels), 1, dtype=torch.bool)
    return Examples(images, presence, classes, balance(classes))


def test_each_percentage_is_added_and_alone_but_for_nothing_alone() -> None:
    assert [amount.name for amount in amounts_of([0, 50])] == ["added-0", "added-50", "alone-50"]
    assert amounts_of([0]) == [Amount("added", 0)]


def test_a_percentage_is_one_of_each_site_and_class_rounded_up() -> None:
    """Half of 3 is 2, of 5 is 3, of 2 is 1; a cell without a real scan gets none."""
    assert scans_of(REAL, 50) == {
        "alder": {"dark": 2, "bright": 3},
        "birch": {"dark": 0, "bright": 1},
    }
    assert scans_of(REAL, 1000)["alder"] == {"dark": 30, "bright": 50}


def test_a_pool_that_is_too_small_is_refused_and_told_what_would_do() -> None:
    pool = {site: {"dark": 12, "bright": 12} for site in REAL}

    check_pool(REAL, pool, most=240)
    with pytest.raises(TrainingError, match=r"alder/bright has 12 of 15\. Set .* to 15 or more"):
        check_pool(REAL, pool, most=300)


def test_replicates_draw_scans_of_their_own_once_each() -> None:
    """Five of twelve a draw, none twice, of the class asked for; another replicate draws others."""
    pool = {"alder": numbered([0, 1] * 12)}
    draws = [
        draw_scans(
            pool,
            {"alder": {"dark": 2, "bright": 5}},
            ["dark", "bright"],
            rng=seeds.generator(0, "draw", replicate),
        )["alder"]
        for replicate in range(2)
    ]
    chosen = [set(drawn.images.flatten().int().tolist()) for drawn in draws]

    for drawn, numbers in zip(draws, chosen, strict=True):
        assert len(numbers) == len(drawn) == 7
        assert drawn.labels.tolist().count(1) == 5
        assert all(number % 2 == label for number, label in zip(
            drawn.images.flatten().int().tolist(), drawn.labels.tolist(), strict=True
        ))  # fmt: skip
    assert chosen[0] != chosen[1]


def test_a_site_that_gives_nothing_is_left_out(rng: torch.Generator) -> None:
    pool = {"alder": numbered([0, 1]), "birch": numbered([0, 1])}
    counts = {"alder": {"dark": 1, "bright": 1}, "birch": {"dark": 0, "bright": 0}}

    assert list(draw_scans(pool, counts, ["dark", "bright"], rng=rng)) == ["alder"]


def test_classes_count_alike_and_within_one_every_scan() -> None:
    """Of four dark scans in two parts each is drawn a quarter as often as the one bright one."""
    first, second = weigh_alike([numbered([0, 0, 1]), numbered([0, 0])], num_classes=2)

    assert first.weights.tolist() == [0.25, 0.25, 1.0]
    assert second.weights.tolist() == [0.25, 0.25]
