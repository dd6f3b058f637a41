"""How often the privacy gate refuses flows that were really trained, long enough and too long.

    PYTHONPATH=src:. python benchmarks/planted_generators.py choose
    PYTHONPATH=src:. python benchmarks/planted_generators.py measure --out FILE [--seeds 100]

A patient is 24 numbers, which are both the latents that a flow is trained on and, as a picture with
noise, the patient's scan (as in `gate_false_refusals`). Twelve are independent; each of the other
twelve is mostly the square of one of those, so there is something to learn that no Gaussian says.
One site has 40 training and 12 held-out patients. Four generators are planted at each seed:

    honest         a flow trained for `HONEST_STEPS`
    over-fitted    the same flow, trained ten times as long
    copies         returns the training scans
    noisy copies   returns them with noise added

The flow, its training and its attack are the project's own, the rules those of params.yaml.

The protocol is blind. `choose` trains flows of several lengths on seed `CHOOSING_SEED` and takes
the one of least velocity error on the held-out patients; no audit is made, so no verdict is seen.
`HONEST_STEPS` is what it printed. `measure` then audits seeds from `FIRST_SEED` on, which nothing
was chosen on. It appends a line per audit to FILE and goes on from there when it is called again;
stop it at any time. About ten seconds an honest seed on a free core, and a minute an over-fitted
one, of which there are a twentieth as many.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from benchmarks.gate_false_refusals import NAMES, describe
from sitesynth.evaluation.intervals import wilson_interval
from sitesynth.generators.denoiser import Conditions, Denoiser
from sitesynth.generators.diffusion import held_out_losses, train_flow
from sitesynth.generators.latents import Latents, LatentScale, measure_scale
from sitesynth.generators.samplers import Velocity, heun, time_grid
from sitesynth.generators.schedules import StraightSchedule
from sitesynth.privacy.audit import audit_privacy
from sitesynth.privacy.probes import velocity_errors
from sitesynth.privacy.release import REFUSED
from sitesynth.settings import DiffusionSettings, PrivacySettings, load_settings
from sitesynth.storage import digest_of


NUM_TRAIN, NUM_HELD_OUT, NUM_NUMBERS = 40, 12, 24
LATENT_SHAPE: Final = (6, 2, 2)
CURVATURE: Final = 0.9
"""How much of a dependent number is another one's square."""

LENGTHS: Final = (25, 50, 100, 200, 400, 800)
CHOOSING_SEED: Final = 0
FIRST_SEED: Final = 2000
HONEST_STEPS: Final = 200
"""What `choose` printed."""
OVER_FITTED: Final = 10 * HONEST_STEPS
SAMPLER_STEPS: Final = 8
NOISE: Final = 0.2
"""Added by the noisy copier, in standard deviations of a patient's numbers."""

PLANTED: Final = ("honest", "over-fitted", "copies", "noisy copies")


def draw_patients(count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw patients: each number has mean 0 and variance 1, and half depend on the other half."""
    drawn: np.ndarray = rng.standard_normal((count, NUM_NUMBERS))
    free, rest = np.split(drawn, 2, axis=1)
    squares = (free**2 - 1) / np.sqrt(2)
    return np.concatenate([free, CURVATURE * squares + np.sqrt(1 - CURVATURE**2) * rest], axis=1)


def losses_by_length(lengths: tuple[int, ...], *, seed: int) -> dict[int, float]:
    """Return the velocity error on held-out patients of flows trained for several lengths."""
    rng = np.random.default_rng([seed, NUM_TRAIN])
    train, held_out = draw_patients(NUM_TRAIN, rng), draw_patients(NUM_HELD_OUT, rng)
    losses = {}
    for num_steps in lengths:
        model, scale = _train(train, num_steps=num_steps, seed=seed)
        told = held_out_losses(
            model,
            _latents(held_out),
            torch.zeros(len(held_out), dtype=torch.long),
            scale,
            seed=seed,
            site="planted",
        )
        losses[num_steps] = float(np.mean(list(told.values())))
    return losses


def audit_planted(kind: str, *, settings: PrivacySettings, seed: int) -> dict[str, Any]:
    """Plant a generator of one kind at a site, and return its audit."""
    rng = np.random.default_rng([seed, NUM_TRAIN])
    train, held_out = draw_patients(NUM_TRAIN, rng), draw_patients(NUM_HELD_OUT, rng)
    errors: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    if kind in {"honest", "over-fitted"}:
        num_steps = HONEST_STEPS if kind == "honest" else OVER_FITTED
        model, scale = _train(train, num_steps=num_steps, seed=seed)
        drawn, errors["flow"] = _draw(model, scale, train, held_out, seed=seed)
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
        guarantee=None,
        settings=settings,
        rng=rng,
    )


def _train(train: np.ndarray, *, num_steps: int, seed: int) -> tuple[Denoiser, LatentScale]:
    """Train a flow."""
    latents = _latents(train)
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
            convolutions=None,
            sizes=(),
            components=2,
            detail=0.5,
            num_views=3,
            warp=0.0,
            covariates=(),
            label_score=False,
            condition_dropout=0.1,
            ema_decay=0.99,
            dp=None,
            learning_rate=3e-3,
            batch_size=16,
            num_steps=num_steps,
            validate_every=None,
            patience_looks=None,
        ),
        num_classes=2,
        seed=seed,
        site="planted",
    )
    return model, scale


def _draw(
    model: Denoiser, scale: LatentScale, train: np.ndarray, held_out: np.ndarray, *, seed: int
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Return what a flow draws, and its errors on training and on held-out patients."""

    @torch.no_grad()
    def velocity(x: Tensor, t: Tensor) -> Tensor:
        labels = torch.zeros(len(x), dtype=torch.long)
        told: Tensor = model(x, t, Conditions(labels, torch.ones(len(x), 2, dtype=torch.bool)))
        return told

    rng = torch.Generator().manual_seed(seed)
    noise = torch.randn(2 * NUM_TRAIN, *LATENT_SHAPE, generator=rng)
    drawn = heun(StraightSchedule(), velocity, noise, time_grid(SAMPLER_STEPS))
    # The same noises for members and others, as in `probe_flow`: else the noise tells them apart.
    told = [_errors(velocity, patients, scale, seed=seed) for patients in (train, held_out)]
    return scale.restore(drawn).flatten(1).double().numpy(), (told[0], told[1])


def _errors(
    velocity: Velocity, patients: np.ndarray, scale: LatentScale, *, seed: int
) -> np.ndarray:
    data = scale.normalize(_latents(patients).mean[:, 0])
    rng = torch.Generator().manual_seed(seed)
    return velocity_errors(velocity, data, schedule=StraightSchedule(), num_draws=4, rng=rng)


def _latents(patients: np.ndarray) -> Latents:
    mean = torch.tensor(patients, dtype=torch.float32).reshape(-1, 1, *LATENT_SHAPE)
    known = torch.ones(len(patients), 2, dtype=torch.bool)
    return Latents(mean, torch.zeros_like(mean), known)


def choose() -> None:
    """Print the held-out velocity error by length of training, and the length of least error."""
    losses = losses_by_length(LENGTHS, seed=CHOOSING_SEED)
    for num_steps, loss in losses.items():
        print(f"{num_steps:5} steps: held-out velocity error {loss:.4f}")
    print(f"HONEST_STEPS = {min(losses, key=losses.__getitem__)}")


def measure(out: Path, *, num_seeds: int) -> None:
    """Audit fresh seeds, as far as `out` has not got them yet, and print shares of refusals."""
    settings = load_settings(Path("params.yaml")).privacy.model_copy(update={"num_splits": 2})
    protocol = digest_of([settings.model_dump(mode="json"), HONEST_STEPS, CURVATURE])[:12]
    counts = dict.fromkeys(PLANTED, num_seeds) | {"over-fitted": max(1, num_seeds // 20)}
    wanted = [
        (kind, FIRST_SEED + number) for kind, count in counts.items() for number in range(count)
    ]
    lines = out.read_text(encoding="utf-8").splitlines() if out.exists() else []
    found = {(told["kind"], told["seed"]): told for told in map(json.loads, lines)}
    strange = sorted({told["protocol"] for told in found.values()} - {protocol})
    if strange:
        raise SystemExit(f"{out} holds audits under other rules ({strange}); name another file.")
    with out.open("a", encoding="utf-8", buffering=1) as file:
        for kind, seed in wanted:
            if (kind, seed) in found:
                continue
            audit = audit_planted(kind, settings=settings, seed=seed)
            flow = audit["membership"]["attacks"].get("flow")
            found[kind, seed] = {
                "protocol": protocol,
                "kind": kind,
                "seed": seed,
                "refused": audit["gate"]["verdict"] == REFUSED,
                "flow_auc": None if flow is None else flow["auc"]["value"],
                "reasons": audit["gate"]["reasons"],
            }
            file.write(json.dumps(found[kind, seed]) + "\n")
    print("| planted | refused | 95 % interval | membership AUC of the flow, mean |")
    print("|---|---|---|---|")
    for kind, count in counts.items():
        _print_row(kind, [found[kind, FIRST_SEED + number] for number in range(count)])


def _print_row(kind: str, audits: list[Mapping[str, Any]]) -> None:
    refused = sum(audit["refused"] for audit in audits)
    around = wilson_interval(refused, len(audits))
    shown = "" if around is None else f"{100 * around.low:.1f} to {100 * around.high:.1f} %"
    aucs = [audit["flow_auc"] for audit in audits if audit["flow_auc"] is not None]
    mean = f"{np.mean(aucs):.2f}" if aucs else ""
    print(f"| {kind} | {refused} of {len(audits)} | {shown} | {mean} |")


def main() -> None:
    """Choose the honest length, or measure with it."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("choose", help="the honest length, by held-out loss alone")
    measuring = commands.add_parser("measure", help="shares of refusals on fresh seeds")
    measuring.add_argument("--out", type=Path, required=True, help="a line per audit; resumed")
    measuring.add_argument("--seeds", type=int, default=100)
    told = parser.parse_args()
    torch.set_num_threads(1)
    if told.command == "choose":
        choose()
    else:
        measure(told.out, num_seeds=told.seeds)


if __name__ == "__main__":
    main()
