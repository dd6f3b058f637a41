"""The last round: which mix is learned from."""

from collections.abc import Sequence

import pytest

from sitesynth.mixing.finals import Finalist, winner_of


def finalist(name: str, by_seed: Sequence[float], *by_site: float) -> Finalist:
    sites = dict(zip(("alder", "birch", "cedar"), by_site, strict=False))
    return Finalist(name, {}, by_seed, sites, {})


@pytest.mark.parametrize(
    ("of_trial", "winner"),
    [
        # Better than `equal` by 0.10 with every seed, though seeds differ by more among themselves.
        ((0.40, 0.60, 0.50), "trial"),
        # By 0.11 on average, with standard error 0.04.
        ((0.44, 0.52, 0.50), "trial"),
        # By 0.10 on average, with standard error 0.09.
        ((0.58, 0.52, 0.40), "equal"),
        # By 0.05 on average, with standard error 0.10: luck.
        ((0.65, 0.60, 0.40), "equal"),
        ((0.50, 0.70, 0.60), "equal"),
        ((0.51, 0.71, 0.61), "equal"),
    ],
)
def test_a_fixed_mix_stays_unless_it_is_beaten_clearly(
    of_trial: Sequence[float], winner: str
) -> None:
    """The gain is measured seed by seed, against the better fixed mix."""
    finalists = [
        finalist("proportional", (0.70, 0.80, 0.90)),
        finalist("equal", (0.50, 0.70, 0.60)),
        finalist("trial", of_trial),
    ]

    assert winner_of(finalists, fixed=["equal", "proportional"]).name == winner


def test_the_better_fixed_mix_is_taken() -> None:
    """Whichever it is."""
    finalists = [
        finalist("equal", (0.50, 0.70)),
        finalist("proportional", (0.40, 0.60)),
        finalist("trial", (0.39, 0.61)),
    ]

    assert winner_of(finalists, fixed=["equal", "proportional"]).name == "proportional"


@pytest.mark.parametrize(
    ("by_site", "winner"),
    [
        # Better by 0.10 everywhere.
        ((0.50, 0.30, 0.40), "trial"),
        # By 0.10 on average, with standard error 0.03.
        ((0.45, 0.30, 0.45), "trial"),
        # By 0.10 on average, with standard error 0.06.
        ((0.40, 0.30, 0.50), "equal"),
        # By 0.10 on average, with standard error 0.20: alder gains what the others pay.
        ((0.10, 0.50, 0.60), "equal"),
    ],
)
def test_a_gain_must_be_one_over_sites(by_site: Sequence[float], winner: str) -> None:
    """Seeds agree on it to a hair."""
    finalists = [
        finalist("equal", (0.50, 0.50), 0.60, 0.40, 0.50),
        finalist("trial", (0.40, 0.40), *by_site),
    ]

    assert winner_of(finalists, fixed=["equal"]).name == winner
