"""Planted cheats are refused, and an honest generator is not: the whole audit, on tiny arrays.

A patient is eight numbers. Scans are random pictures mixed by them, plus noise, so that patients
are as far apart as real ones, and a perfect generator is one that draws new patients.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from sitesynth.described import Described
from sitesynth.errors import ReleaseRefusedError
from sitesynth.generators.samplers import heun, time_grid
from sitesynth.generators.schedules import StraightSchedule
from sitesynth.privacy.audit import audit_privacy
from sitesynth.privacy.probes import velocity_errors
from sitesynth.privacy.release import check_release
from sitesynth.privacy.similarity import SimilarityView
from sitesynth.settings import PrivacySettings


SETTINGS = PrivacySettings(
    samples_per_scan=2,
    noise_draws=2,
    num_splits=50,
    confidence=0.95,
    encoder=None,
    copy_level=0.025,
    max_membership_auc=0.5,
    max_epsilon=None,
    min_held_out=8,
    powered_from=50,
)
NUM_TRAIN, NUM_HELD_OUT, NUM_NUMBERS = 40, 12, 24
NAMES = tuple(f"feature {number}" for number in range(NUM_NUMBERS))

PICTURES = np.random.default_rng(0).standard_normal((NUM_NUMBERS, 2, 8, 8))
"""What each of a patient's numbers looks like."""

Sampler = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""From training patients to synthetic ones, two per training patient."""


def describe(patients: np.ndarray, rng: np.random.Generator, *, named: str) -> Described:
    """Scan patients: each scan has noise of its own."""
    noise = 0.5 * rng.standard_normal((len(patients), 2, 8, 8))
    return Described(
        patients + 0.1 * rng.standard_normal(patients.shape),
        np.tensordot(patients, PICTURES, axes=1) + noise,
        np.ones((len(patients), 2), dtype=bool),
        tuple(f"{named}{number}" for number in range(len(patients))),
    )


def honest(train: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw new patients."""
    return rng.standard_normal((2 * len(train), NUM_NUMBERS))


def fitted(train: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw from a Gaussian with the training patients' means and spreads."""
    drawn: np.ndarray = train.mean(axis=0) + train.std(axis=0) * honest(train, rng)
    return drawn


def timid(train: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw new patients, all of them near the average."""
    return 0.3 * honest(train, rng)


def copier(train: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the training patients."""
    return np.concatenate([train, train])


def noisy_copier(train: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the training patients, changed a little."""
    return copier(train, rng) + 0.2 * rng.standard_normal((2 * len(train), NUM_NUMBERS))


def sometimes_copier(train: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return training patients one time in four, and new ones else."""
    drawn = honest(train, rng)
    drawn[::4] = train[: len(drawn[::4])]
    return drawn


def betrayer(train: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return one training patient one time in four."""
    drawn = honest(train, rng)
    drawn[::4] = train[0]
    return drawn


def audit(
    sampler: Sampler,
    *,
    errors: dict[str, Any] | None = None,
    seed: int = 1,
    guarantee: dict[str, Any] | None = None,
    max_epsilon: float | None = None,
    learned: SimilarityView | None = None,
) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    train = rng.standard_normal((NUM_TRAIN, NUM_NUMBERS))
    held_out = rng.standard_normal((NUM_HELD_OUT, NUM_NUMBERS))
    return audit_privacy(
        describe(train, rng, named="train "),
        describe(held_out, rng, named="held out "),
        describe(sampler(train, rng), rng, named="synthetic "),
        classes=["gbm", "astro"] * NUM_TRAIN,
        errors=errors or {},
        feature_names=NAMES,
        guarantee=guarantee,
        settings=SETTINGS.model_copy(update={"max_epsilon": max_epsilon}),
        rng=rng,
        learned=learned,
    )


@pytest.mark.parametrize("sampler", [honest, fitted, timid])
def test_a_generator_that_copies_no_one_passes(sampler: Sampler) -> None:
    """A good one, one that knows means and spreads only, and a bad but innocent one."""
    gate = audit(sampler)["gate"]

    assert gate["verdict"] == "passed"
    assert gate["reasons"] == []


@pytest.mark.parametrize("sampler", [copier, noisy_copier, sometimes_copier, betrayer])
def test_a_generator_that_gives_out_patients_is_refused(sampler: Sampler) -> None:
    gate = audit(sampler)["gate"]

    assert gate["verdict"] == "refused"
    assert any("copies of training scans" in reason for reason in gate["reasons"])


def test_an_over_fitted_generator_is_refused_though_it_copies_no_one() -> None:
    """Its weights know the members: its errors on them are half as large."""
    rng = np.random.default_rng(9)
    errors = {
        "flow": (rng.uniform(0.4, 0.7, (NUM_TRAIN, 5)), rng.uniform(0.6, 1, (NUM_HELD_OUT, 5)))
    }
    found = audit(honest, errors=errors)

    assert found["gate"]["verdict"] == "refused"
    assert [reason for reason in found["gate"]["reasons"] if "flow" in reason]
    assert not [reason for reason in found["gate"]["reasons"] if "copies" in reason]


def test_a_flow_trained_for_ever_is_refused() -> None:
    """In the limit a flow is the one of its training points: it returns them, and shows it."""
    rng = torch.Generator().manual_seed(3)
    numpy_rng = np.random.default_rng(3)
    train = torch.randn(NUM_TRAIN, NUM_NUMBERS, generator=rng)
    held_out = torch.randn(NUM_HELD_OUT, NUM_NUMBERS, generator=rng)

    def velocity(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        shaped = t.reshape(-1, 1)
        apart = (x[:, None] - (1 - shaped[:, None]) * train[None]).square().sum(dim=2)
        expected = torch.softmax(-apart / (2 * shaped**2), dim=1) @ train
        return (x - (1 - shaped) * expected) / shaped - expected

    straight = StraightSchedule()
    noise = torch.randn(2 * NUM_TRAIN, NUM_NUMBERS, generator=rng)
    drawn = heun(straight, velocity, noise, time_grid(20))
    found = audit_privacy(
        describe(train.double().numpy(), numpy_rng, named="train "),
        describe(held_out.double().numpy(), numpy_rng, named="held out "),
        describe(drawn.double().numpy(), numpy_rng, named="synthetic "),
        classes=["gbm", "astro"] * NUM_TRAIN,
        errors={
            "flow": (
                velocity_errors(velocity, train, schedule=straight, num_draws=2, rng=rng),
                velocity_errors(velocity, held_out, schedule=straight, num_draws=2, rng=rng),
            )
        },
        feature_names=NAMES,
        guarantee=None,
        settings=SETTINGS,
        rng=numpy_rng,
    )

    assert found["copies"]["voxels"]["rate"] > 0.9
    assert found["membership"]["attacks"]["flow"]["auc"]["value"] > 0.99
    assert found["gate"]["verdict"] == "refused"


def test_the_audit_finds_the_copier_that_it_plants() -> None:
    """In every audit, training scans take the place of synthetic ones once."""
    assert audit(honest)["planted_copies_found"] == {"features": 1.0, "voxels": 1.0}


def test_an_audit_that_could_find_no_copy_refuses() -> None:
    """Scans without content: whoever is released on such an audit is released on nothing."""
    rng = np.random.default_rng(0)
    blank = {
        name: Described(
            np.ones((count, 3)),
            np.zeros((count, 2, 8, 8)),
            np.ones((count, 2), dtype=bool),
            tuple(f"{name}{number}" for number in range(count)),
        )
        for name, count in (("train", 40), ("held out", 12), ("synthetic", 80))
    }
    found = audit_privacy(
        *blank.values(),
        classes=["gbm", "astro"] * NUM_TRAIN,
        errors={},
        feature_names=("a", "b", "c"),
        guarantee=None,
        settings=SETTINGS,
        rng=rng,
    )

    assert any("does not work" in reason for reason in found["gate"]["reasons"])


def sees(likeness: float) -> SimilarityView:
    """Return a view in which synthetic scans are that much like training scans, nobody else."""

    def similarity(first: Described, second: Described) -> np.ndarray:
        is_copy = first.patients[0].startswith("synthetic") and second.patients[0].startswith("t")
        same = np.array([[a == b for b in second.patients] for a in first.patients], dtype=float)
        return np.where(same, 1.0, likeness if is_copy else 0.5)

    return similarity


def test_copies_that_a_third_view_alone_sees_are_refused() -> None:
    """By held-out patients alone: the view was learned from training scans."""
    found = audit(honest, learned=sees(0.9))

    assert found["copies"]["encoder"]["null"]["num_strangers"] == NUM_HELD_OUT
    assert found["copies"]["encoder"]["rate"] == 1
    assert [reason for reason in found["gate"]["reasons"] if "in encoder" in reason]
    assert len(found["gate"]["reasons"]) == 1


def test_a_third_view_takes_a_third_of_the_level_and_attacks_nobody() -> None:
    """All else is as it was with two: the draws, the attacks, and what copies they saw."""
    two, three = audit(honest), audit(honest, learned=sees(0.4))

    assert three["gate"]["verdict"] == "passed"
    assert three["membership"] == two["membership"]
    assert "encoder" not in two["copies"]
    for view in ("features", "voxels"):
        assert three["copies"][view]["p_value"] == two["copies"][view]["p_value"]
        allowed = [told["copies"][view]["null"]["allowed_rate"] for told in (two, three)]
        assert allowed[0] <= allowed[1]
    assert three["planted_copies_found"]["encoder"] == 1


def test_too_few_held_out_patients_refuse() -> None:
    rng = np.random.default_rng(1)
    train, held_out = rng.standard_normal((NUM_TRAIN, NUM_NUMBERS)), rng.standard_normal((5, 24))
    found = audit_privacy(
        describe(train, rng, named="train "),
        describe(held_out, rng, named="held out "),
        describe(honest(train, rng), rng, named="synthetic "),
        classes=["gbm", "astro"] * NUM_TRAIN,
        errors={},
        feature_names=NAMES,
        guarantee=None,
        settings=SETTINGS,
        rng=rng,
    )

    assert any("too few" in reason for reason in found["gate"]["reasons"])


def test_a_dozen_held_out_patients_are_called_underpowered() -> None:
    """And the verdict says what it could have seen."""
    gate = audit(honest)["gate"]

    assert any("Underpowered" in note for note in gate["notes"])
    assert 0.7 < gate["detectable"]["membership_auc"] < 0.85
    assert gate["detectable"]["copy_rate"] < 0.2


class TestRelease:
    """What a verdict does to a generator that is about to leave."""

    WEIGHTS = {"autoencoder.safetensors": "a" * 64, "flow.safetensors": "b" * 64}  # noqa: RUF012

    def test_a_pass_lets_it_go(self) -> None:
        check_release({"site": "alder", "weights": self.WEIGHTS, **audit(honest)}, self.WEIGHTS)

    def test_a_refusal_stops_it_and_says_why(self) -> None:
        refused = {"site": "alder", "weights": self.WEIGHTS, **audit(copier)}

        with pytest.raises(ReleaseRefusedError, match=r"alder may not leave.*copies of training"):
            check_release(refused, self.WEIGHTS)

    def test_an_audit_of_other_weights_is_no_audit(self) -> None:
        passed = {"site": "alder", "weights": self.WEIGHTS, **audit(honest)}

        with pytest.raises(ReleaseRefusedError, match="other weights"):
            check_release(passed, self.WEIGHTS | {"flow.safetensors": "c" * 64})


def promised(**changed: Any) -> dict[str, Any]:
    return {"epsilon": 3.0, "delta": 0.001, "not_covered": []} | changed


@pytest.mark.parametrize(
    ("guarantee", "most"),
    [(None, None), (promised(), None), (promised(), 3.0), (promised(epsilon=None), None)],
)
def test_an_epsilon_within_bounds_or_not_asked_for_is_no_reason(
    guarantee: dict[str, Any] | None, most: float | None
) -> None:
    found = audit(honest, guarantee=guarantee, max_epsilon=most)

    assert found["gate"]["verdict"] == "passed"
    assert found["epsilon"] == (guarantee and guarantee["epsilon"])


@pytest.mark.parametrize(
    ("guarantee", "why"),
    [
        (promised(epsilon=8.125), "max_epsilon is 3, and the bundle's epsilon is 8.12 at delta"),
        (None, "nothing was trained with differential privacy"),
        (promised(epsilon=None, not_covered=["this", "that"]), "uncovered is this; that."),
        (promised(epsilon=None), "SITESYNTH_NOISE_SECRET"),
    ],
)
def test_an_epsilon_too_large_or_missing_refuses_whoever_copies_no_one(
    guarantee: dict[str, Any] | None, why: str
) -> None:
    gate = audit(honest, guarantee=guarantee, max_epsilon=3.0)["gate"]

    assert gate["verdict"] == "refused"
    assert len(gate["reasons"]) == 1
    assert why in gate["reasons"][0]
