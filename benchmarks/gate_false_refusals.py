"""How often the privacy gate refuses, for generators whose innocence or guilt is known.

    PYTHONPATH=src python benchmarks/gate_false_refusals.py [--seeds 200]

A patient is a vector of independent standard normal numbers; a scan is a picture made of them, plus
noise. A perfect generator draws new patients. The white-box errors of an innocent model are
independent of membership. So the share of refusals among innocent generators is the gate's
false-refusal rate, and the other shares are its power. About a minute per 100 seeds.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from sitesynth.described import Described
from sitesynth.privacy.audit import audit_privacy
from sitesynth.privacy.membership import auc, run_attack
from sitesynth.privacy.release import PASSED
from sitesynth.settings import PrivacySettings, load_settings


NUM_NUMBERS = 24
PICTURES = np.random.default_rng(0).standard_normal((NUM_NUMBERS, 2, 8, 8))
NAMES = tuple(f"feature {number}" for number in range(NUM_NUMBERS))

Sampler = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def describe(
    patients: np.ndarray, rng: np.random.Generator, *, named: str, noise: float = 0.5
) -> Described:
    """Scan patients."""
    pictures = np.tensordot(patients, PICTURES, axes=1)
    return Described(
        patients + 0.1 * rng.standard_normal(patients.shape),
        pictures + noise * rng.standard_normal(pictures.shape),
        np.ones((len(patients), 2), dtype=bool),
        tuple(f"{named}{number}" for number in range(len(patients))),
    )


def honest(train: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw new patients."""
    return rng.standard_normal((2 * len(train), train.shape[1]))


def fitted(train: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw each number from the training patients' mean and spread of it."""
    drawn: np.ndarray = train.mean(axis=0) + train.std(axis=0, ddof=1) * honest(train, rng)
    return drawn


def over_fitted(train: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw from the training patients' whole covariance: 300 numbers from a few dozen patients."""
    drawn: np.ndarray = rng.multivariate_normal(
        train.mean(axis=0), np.cov(train.T), size=2 * len(train)
    )
    return drawn


def timid(train: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw patients near the average only."""
    return 0.3 * honest(train, rng)


def copies_of(share: float, *, change: float = 0.0) -> Sampler:
    """Draw new patients, but training patients, changed a little, for a share of the scans."""

    def draw(train: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        drawn = honest(train, rng)
        count = round(share * len(drawn))
        copied = train[np.arange(count) % len(train)]
        drawn[:count] = copied + change * rng.standard_normal(copied.shape)
        return drawn

    return draw


SAMPLERS: Mapping[str, Sampler] = {
    "innocent: new patients": honest,
    "innocent: fitted means and spreads": fitted,
    "innocent: timid": timid,
    "over-fitted: whole covariance": over_fitted,
    "copies 5 %": copies_of(0.05),
    "copies 10 %": copies_of(0.1),
    "copies 20 %": copies_of(0.2),
    "copies 100 %, changed by 0.3 sd": copies_of(1.0, change=0.3),
}

CHANCE = 0.5

SIZES = ((43, 11), (58, 14), (200, 50))


def refusals(
    sampler: Sampler,
    *,
    num_train: int,
    num_held_out: int,
    leak: float,
    noise: float,
    settings: PrivacySettings,
    num_seeds: int,
) -> float:
    """Return the share of seeds at which the gate refuses.

    Args:
        sampler: The generator.
        num_train: Training patients.
        num_held_out: Held-out patients.
        leak: By how many standard deviations a white-box error is smaller on a member.
        noise: Of a synthetic scan; a real one has 0.5.
        settings: The gate's rules.
        num_seeds: Studies.
    """
    refused = 0
    for seed in range(num_seeds):
        rng = np.random.default_rng([seed, num_train])
        train = rng.standard_normal((num_train, NUM_NUMBERS))
        held_out = rng.standard_normal((num_held_out, NUM_NUMBERS))
        errors = {
            name: (
                rng.standard_normal((num_train, 1)) - leak,
                rng.standard_normal((num_held_out, 1)),
            )
            for name in ("flow", "autoencoder")
        }
        found = audit_privacy(
            describe(train, rng, named="train "),
            describe(held_out, rng, named="held out "),
            describe(sampler(train, rng), rng, named="synthetic ", noise=noise),
            classes=["any"] * 2 * num_train,
            errors=errors,
            feature_names=NAMES,
            guarantee=None,
            settings=settings,
            rng=rng,
        )
        refused += found["gate"]["verdict"] != PASSED
    return refused / num_seeds


def interval_errors(num_seeds: int) -> None:
    """Compare how often intervals of an uninformative attack lie above chance (nominal 2.5 %)."""
    print("\n| members, held out | rank-sum interval | percentile bootstrap |")
    print("|---|---|---|")
    for num_members, num_others in SIZES:
        wrong = np.zeros(2)
        for seed in range(num_seeds):
            rng = np.random.default_rng([seed, 1])
            members, others = rng.standard_normal(num_members), rng.standard_normal(num_others)
            found = run_attack(members, others, confidence=0.95, num_splits=1, rng=rng)
            resampled = [
                auc(rng.choice(members, num_members), rng.choice(others, num_others))
                for _ in range(300)
            ]
            wrong += np.array([found.low, np.percentile(resampled, 2.5)]) > CHANCE
        shares = " | ".join(f"{100 * share:.1f} %" for share in wrong / num_seeds)
        print(f"| {num_members}, {num_others} | {shares} |")


def main() -> None:
    """Print the tables of ADR 21."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    num_seeds = parser.parse_args().seeds
    settings = load_settings(Path("params.yaml")).privacy.model_copy(update={"num_splits": 2})

    print(f"| refused, of {num_seeds} | " + " | ".join(f"{n} + {h}" for n, h in SIZES) + " |")
    print("|---|" + "---|" * len(SIZES))
    rows: list[tuple[str, Sampler, float, float]] = [
        (name, sampler, 0.0, 0.5) for name, sampler in SAMPLERS.items()
    ]
    rows.insert(3, ("innocent: without noise", honest, 0.0, 0.0))
    rows += [
        (f"new patients; errors leak (AUC {value})", honest, leak, 0.5)
        for value, leak in ((0.6, 0.358), (0.7, 0.742), (0.8, 1.19), (0.9, 1.812))
    ]
    for name, sampler, leak, noise in rows:
        shares = [
            refusals(
                sampler,
                num_train=num_train,
                num_held_out=num_held_out,
                leak=leak,
                noise=noise,
                settings=settings,
                num_seeds=num_seeds,
            )
            for num_train, num_held_out in SIZES
        ]
        cells = " | ".join(f"{100 * share:.1f} %" for share in shares)
        print(f"| {name} | {cells} |", flush=True)
    interval_errors(5 * num_seeds)


if __name__ == "__main__":
    main()
