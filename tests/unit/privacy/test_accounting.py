"""Epsilon against closed forms, another implementation and a published bound."""

import math
from typing import Any

import pytest

from sitesynth.privacy.accounting import account, epsilon_of, renyi_divergence


FACTS = {
    "noise_multiplier": 1.1,
    "clip_norm": 1.0,
    "delta": 1e-5,
    "sample_rate": 256 / 60000,
    "num_steps": 14062,
    "has_secret_noise": True,
}


def test_the_divergence_of_order_two_has_a_closed_form() -> None:
    """R(2) = log(1 + q^2 (exp(1 / sigma^2) - 1)); without sampling, R(a) = a / (2 sigma^2)."""
    told = renyi_divergence(2, noise_multiplier=0.8, sample_rate=0.3)
    whole = renyi_divergence(7, noise_multiplier=2.0, sample_rate=1.0)

    assert told == pytest.approx(math.log(1 + 0.09 * (math.exp(1 / 0.64) - 1)), rel=1e-12)
    assert whole == pytest.approx(7 / 8)
    almost = renyi_divergence(7, noise_multiplier=2.0, sample_rate=1 - 1e-12)
    assert almost == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize(
    ("noise", "rate", "steps", "opacus"),
    [(4.0, 0.01, 10000, 1.0354900), (1.1, 256 / 60000, 14062, 2.5965559)],
)
def test_epsilon_is_what_opacus_says(noise: float, rate: float, steps: int, opacus: float) -> None:
    """Its RDP accountant, 1.6.0, at delta 1e-5; it also tries fractional orders, so is lower."""
    told = epsilon_of(noise_multiplier=noise, sample_rate=rate, num_steps=steps, delta=1e-5)

    assert opacus - 1e-4 <= told <= 1.02 * opacus


def test_epsilon_is_below_the_published_bound() -> None:
    """Abadi et al. (2016, section 3.2): 1.26 where q = 0.01, sigma = 4, T = 10000."""
    told = epsilon_of(noise_multiplier=4.0, sample_rate=0.01, num_steps=10000, delta=1e-5)

    assert told < 1.26


def test_more_steps_patients_drawn_and_less_noise_tell_more() -> None:
    """Each alone raises epsilon."""
    least: dict[str, Any] = {
        "noise_multiplier": 2.0,
        "sample_rate": 0.1,
        "num_steps": 100,
        "delta": 1e-3,
    }
    base = epsilon_of(**least)

    for more in ({"noise_multiplier": 1.0}, {"sample_rate": 0.2}, {"num_steps": 200}):
        assert epsilon_of(**(least | more)) > base


def test_noise_that_anyone_can_draw_again_guarantees_nothing() -> None:
    """What it would guarantee has a name that says so; what is not covered is told always."""
    told, known = (
        account(
            FACTS | {"has_secret_noise": is_secret},
            is_autoencoder_nobodys=False,
            is_choice_blind=False,
        )
        for is_secret in (True, False)
    )

    assert told["flow_epsilon"] == told["flow_epsilon_if_noise_were_secret"]
    assert told["flow_epsilon"] == pytest.approx(2.6, abs=0.05)
    assert known["flow_epsilon"] is None
    assert known["flow_epsilon_if_noise_were_secret"] == told["flow_epsilon"]
    assert "the autoencoder's weights" in told["not_covered"]


@pytest.mark.parametrize("is_secret", [True, False])
@pytest.mark.parametrize("is_nobodys", [True, False])
@pytest.mark.parametrize("is_blind", [True, False])
def test_a_bundle_has_an_epsilon_if_nothing_in_it_is_left_open(
    *, is_secret: bool, is_nobodys: bool, is_blind: bool
) -> None:
    """It is the flow's, and one open end is enough to have none."""
    told = account(
        FACTS | {"has_secret_noise": is_secret},
        is_autoencoder_nobodys=is_nobodys,
        is_choice_blind=is_blind,
    )
    is_covered = is_nobodys and is_blind

    assert (told["epsilon"] is not None) == (is_secret and is_covered)
    assert told["epsilon"] in (None, told["flow_epsilon"])
    assert (told["not_covered"] == []) == is_covered
    assert ("the autoencoder's weights" in told["not_covered"]) != is_nobodys
    assert any("validate_every" in what for what in told["not_covered"]) != is_blind
