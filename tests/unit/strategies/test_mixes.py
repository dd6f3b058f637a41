"""Mixes: how many scans of each site and class are taken, and how often each is drawn."""

import pytest
import torch

from sitesynth.classifiers.training import Examples, balance
from sitesynth.errors import TrainingError
from sitesynth.strategies.mixes import (
    count_as,
    equal_mix,
    fit_budget,
    mix_of,
    mixes_without,
    pool_of,
    proportional_mix,
    take,
)
from sitesynth.strategies.pooled import join_examples


CLASSES = ("dark", "bright")
POOL = {"alder": {"dark": 10, "bright": 10}, "birch": {"dark": 10, "bright": 6}}


def drawn(num_dark: int, num_bright: int) -> Examples:
    """Return scans, the bright ones first, each of the value of its place."""
    labels = torch.tensor([1] * num_bright + [0] * num_dark)
    images = torch.arange(len(labels)).float().reshape(-1, 1, 1, 1)
    return Examples(images, torch.ones(len(labels), 1, dtype=torch.bool), labels, balance(labels))


def pool() -> dict[str, Examples]:
    return {"alder": drawn(10, 10), "birch": drawn(10, 6)}


def test_the_pool_is_counted_by_site_and_class() -> None:
    assert pool_of(pool(), CLASSES) == POOL


def test_the_equal_mix_is_bounded_by_budget_and_by_the_smallest_pool() -> None:
    """24 among 4 is 6, which birch just has; 20 among 4 is 5."""
    assert {n for counts in equal_mix(POOL, max_total=100).values() for n in counts.values()} == {6}
    assert {n for counts in equal_mix(POOL, max_total=20).values() for n in counts.values()} == {5}


def test_each_site_is_left_out_of_the_equal_mix_of_the_others() -> None:
    """Alder alone has ten of each, and room for eight; birch alone six of its scarcer class."""
    assert mixes_without(POOL, max_total=16) == {
        "without-alder": {"alder": {"dark": 0, "bright": 0}, "birch": {"dark": 6, "bright": 6}},
        "without-birch": {"alder": {"dark": 8, "bright": 8}, "birch": {"dark": 0, "bright": 0}},
    }


def test_the_only_site_is_not_left_out() -> None:
    assert mixes_without({"alder": POOL["alder"]}, max_total=16) == {}


def test_the_proportional_mix_follows_the_training_scans() -> None:
    """Bounded by birch's six bright scans, which are half of twelve: everyone gives half."""
    scans = {"alder": {"dark": 20, "bright": 4}, "birch": {"dark": 3, "bright": 12}}

    assert proportional_mix(POOL, scans, max_total=100) == {
        "alder": {"dark": 10, "bright": 2},
        "birch": {"dark": 1, "bright": 6},
    }


def test_the_proportional_mix_keeps_the_budget() -> None:
    """13 of 39 scans: a third of each."""
    scans = {"alder": {"dark": 15, "bright": 6}, "birch": {"dark": 9, "bright": 9}}

    assert proportional_mix(POOL, scans, max_total=13) == {
        "alder": {"dark": 5, "bright": 2},
        "birch": {"dark": 3, "bright": 3},
    }


def test_a_mix_within_the_budget_is_left_alone() -> None:
    assert fit_budget(POOL, max_total=36) == POOL


def test_the_first_scans_of_each_class_are_taken() -> None:
    """So a larger mix contains a smaller one."""
    mix = {"alder": {"dark": 2, "bright": 3}, "birch": {"dark": 1, "bright": 0}}
    taken = take(pool(), mix, CLASSES)

    assert taken["alder"].images.flatten().tolist() == [0, 1, 2, 10, 11]
    assert taken["birch"].images.flatten().tolist() == [6]


def test_classes_count_alike_and_sites_by_their_scans() -> None:
    """Dark: alder 2, birch 6. Bright: alder 3, birch 1. Each class weighs as much as two sites."""
    mix = {"alder": {"dark": 2, "bright": 3}, "birch": {"dark": 6, "bright": 1}}
    taken = take(pool(), mix, CLASSES)
    weight = {
        (site, name): float(examples.weights[examples.labels == number].sum())
        for site, examples in taken.items()
        for number, name in enumerate(CLASSES)
    }

    assert weight == pytest.approx(
        {
            ("alder", "dark"): 0.5,
            ("birch", "dark"): 1.5,
            ("alder", "bright"): 1.5,
            ("birch", "bright"): 0.5,
        }
    )


def test_the_equal_mix_is_drawn_as_if_there_were_no_mix() -> None:
    """Bit for bit: every site and class alike, as real scans are."""
    every = {"alder": drawn(6, 6), "birch": drawn(6, 6)}
    mix = equal_mix(pool_of(every, CLASSES), max_total=24)

    assert torch.equal(
        join_examples(list(take(every, mix, CLASSES).values())).weights,
        join_examples(list(every.values())).weights,
    )


def test_a_site_that_gives_nothing_is_left_out() -> None:
    mix = {"alder": {"dark": 2, "bright": 3}, "birch": {"dark": 0, "bright": 0}}

    assert list(take(pool(), mix, CLASSES)) == ["alder"]


def test_more_than_was_drawn_is_refused() -> None:
    mix = {"alder": {"dark": 2, "bright": 3}, "birch": {"dark": 0, "bright": 7}}

    with pytest.raises(TrainingError, match=r"asks for 7 bright scans of birch, .* pool has 6"):
        take(pool(), mix, CLASSES)


def test_a_class_without_a_scan_is_refused() -> None:
    mix = {"alder": {"dark": 2, "bright": 0}, "birch": {"dark": 2, "bright": 0}}

    with pytest.raises(TrainingError, match=r"no scan of \['bright'\]"):
        take(pool(), mix, CLASSES)


@pytest.mark.parametrize(
    ("strategy", "mix"),
    [
        ("synthetic", "tuned"),
        ("augmented", "tuned"),
        ("synthetic-equal", "equal"),
        ("augmented-proportional", "proportional"),
    ],
)
def test_a_strategy_says_its_mix(strategy: str, mix: str) -> None:
    assert mix_of(strategy) == mix


def test_scans_with_findings_are_counted_whatever_they_have() -> None:
    """Two sites of 8 and 4 scans: the first ones are taken, and drawn alike over all sites."""
    both = {"alder": with_findings(8), "birch": with_findings(4)}
    found = pool_of(both, ("edema", "mass"))
    taken = take(both, {"alder": {"all": 3}, "birch": {"all": 1}}, ("edema", "mass"))

    assert found == {"alder": {"all": 8}, "birch": {"all": 4}}
    assert taken["alder"].images.flatten().tolist() == [0, 1, 2]
    assert {*taken["alder"].weights.tolist(), *taken["birch"].weights.tolist()} == {2 / 4}
    assert count_as(found, {"alder": {"none": 7, "edema": 5}, "birch": {"mass": 6}}) == {
        "alder": {"all": 12}, "birch": {"all": 6}
    }  # fmt: skip


def with_findings(count: int) -> Examples:
    """Return scans of two findings, each of the value of its place."""
    images = torch.arange(count).float().reshape(-1, 1, 1, 1)
    labels = torch.tensor([[0, 1]] * count)
    presence = torch.ones(count, 1, dtype=torch.bool)
    return Examples(images, presence, labels, torch.ones(count, dtype=torch.float64))
