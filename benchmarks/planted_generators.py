"""How often the privacy gate refuses flows that were really trained, long enough and too long.

    PYTHONPATH=src:. python benchmarks/planted_generators.py [--seeds 20]

A patient is 24 independent standard normal numbers, which are both the latents that a flow is
trained on and, as a picture with noise, the patient's scan (as in `gate_false_refusals`). One site
has 40 training and 12 held-out patients. Four generators are planted at each seed:

    honest         a flow trained for `HONEST_STEPS`
    over-fitted    the same flow, trained ten times as long
    copies         returns the training scans
    noisy copies   returns them with noise added

The flow, its training and its attack are the project's own, the rules those of params.yaml. An
honest flow is trained briefly, so that it learns little about single patients: with independent
numbers there is nothing else to learn. How briefly was chosen after looking at verdicts on a few
seeds, seed 3 of the slow test among them, so the share of refused honest flows is a false-refusal
rate on fresh seeds only. About twenty seconds a seed on a free core.
"""

import argparse
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from benchmarks.gate_false_refusals import NAMES, describe
from sitesynth.evaluation.intervals import wilson_interval
from sitesynth.generators.denoiser import Conditions
from sitesynth.generators.diffusion import train_flow
from sitesynth.generators.latents import Latents, LatentScale, measure_scale
from sitesynth.generators.samplers import Velocity, heun, time_grid
from sitesynth.generators.schedules import StraightSchedule
from sitesynth.privacy.audit import audit_privacy
from sitesynth.privacy.probes import velocity_errors
from sitesynth.privacy.release import REFUSED
from sitesynth.settings import DiffusionSettings, PrivacySettings, load_settings


NUM_TRAIN, NUM_HELD_OUT, NUM_NUMBERS = 40, 12, 24
LATENT_SHAPE: Final = (6, 2, 2)
HONEST_STEPS: Final = 100
OVER_FITTED: Final = 10 * HONEST_STEPS
SAMPLER_STEPS: Final = 8
NOISE: Final = 0.2
"""Added by the noisy copier, in standard deviations of a patient's numbers."""

PLANTED: Final = ("honest", "over-fitted", "copies", "noisy copies")


def audit_planted(kind: str, *, settings: PrivacySettings, seed: int) -> dict[str, Any]:
    """Plant a generator of one kind at a site, and return its audit."""
    rng = np.random.default_rng([seed, NUM_TRAIN])
    train = rng.standard_normal((NUM_TRAIN, NUM_NUMBERS))
    held_out = rng.standard_normal((NUM_HELD_OUT, NUM_NUMBERS))
    errors: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    if kind in {"honest", "over-fitted"}:
        num_steps = HONEST_STEPS if kind == "honest" else OVER_FITTED
        drawn, errors["flow"] = _train(train, held_out, num_steps=num_steps, seed=seed)
    else:
        drawn = np.concatenate([train, train])
    if kind == "noisy copies":
        drawn += NOISE * rng.standard_normal(drawn.shape)
    return audit_privacy(
        describe(train, rng, named="train "),
        describe(held_out, rng, named="held out "),
        describe(drawn, rng, named="synthetic "),
        classes=["any"] * len(drawn),
        errors=errors,
        feature_names=NAMES,
        settings=settings,
        rng=rng,
    )


def _train(
    train: np.ndarray, held_out: np.ndarray, *, num_steps: int, seed: int
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Train a flow; return what it draws, and its errors on training and held-out patients."""
    known = torch.ones(NUM_TRAIN, 2, dtype=torch.bool)
    mean = _latents(train)[:, None]
    latents = Latents(mean, torch.zeros_like(mean), known)
    scale = measure_scale(latents)
    model = train_flow(
        latents,
        torch.zeros(NUM_TRAIN, dtype=torch.long),
        scale,
        settings=DiffusionSettings(
            schedule="straight",
            patch=(1, 1),
            width=64,
            depth=2,
            num_views=3,
            covariates=(),
            condition_dropout=0.1,
            ema_decay=0.99,
            learning_rate=3e-3,
            batch_size=16,
            num_steps=num_steps,
        ),
        num_classes=2,
        seed=seed,
        site="planted",
    )

    @torch.no_grad()
    def velocity(x: Tensor, t: Tensor) -> Tensor:
        labels = torch.zeros(len(x), dtype=torch.long)
        told: Tensor = model(x, t, Conditions(labels, torch.ones(len(x), 2, dtype=torch.bool)))
        return told

    rng = torch.Generator().manual_seed(seed)
    noise = torch.randn(2 * NUM_TRAIN, *LATENT_SHAPE, generator=rng)
    drawn = heun(StraightSchedule(), velocity, noise, time_grid(SAMPLER_STEPS))
    told = [_errors(velocity, patients, scale, rng) for patients in (train, held_out)]
    return scale.restore(drawn).flatten(1).double().numpy(), (told[0], told[1])


def _errors(
    velocity: Velocity, patients: np.ndarray, scale: LatentScale, rng: torch.Generator
) -> np.ndarray:
    data = scale.normalize(_latents(patients))
    return velocity_errors(velocity, data, schedule=StraightSchedule(), num_draws=4, rng=rng)


def _latents(patients: np.ndarray) -> Tensor:
    return torch.tensor(patients, dtype=torch.float32).reshape(-1, *LATENT_SHAPE)


def main() -> None:
    """Print the share of refusals of each kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    num_seeds = parser.parse_args().seeds
    settings = load_settings(Path("params.yaml")).privacy.model_copy(update={"num_splits": 2})
    print("| planted | refused | 95 % interval | membership AUC of the flow, mean |")
    print("|---|---|---|---|")
    for kind in PLANTED:
        found = [audit_planted(kind, settings=settings, seed=seed) for seed in range(num_seeds)]
        refused = sum(audit["gate"]["verdict"] == REFUSED for audit in found)
        around = wilson_interval(refused, num_seeds)
        shown = "" if around is None else f"{100 * around.low:.0f} to {100 * around.high:.0f} %"
        aucs = [
            attack["auc"]["value"]
            for audit in found
            for name, attack in audit["membership"]["attacks"].items()
            if name == "flow"
        ]
        mean = f"{np.mean(aucs):.2f}" if aucs else ""
        print(f"| {kind} | {refused} of {num_seeds} | {shown} | {mean} |", flush=True)


if __name__ == "__main__":
    main()
