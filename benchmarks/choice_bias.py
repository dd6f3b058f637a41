"""What it does to the membership attack that its non-members have chosen the weights.

    python -m benchmarks.choice_bias [--seeds 60]

A patient is 24 independent standard normal numbers, the latents that a flow is trained on. A site
has 40 training patients, 12 validation patients, and 12 that nobody has seen, whom no real site
has to spare. A flow learns its patients by heart in 60 steps. Its weights are the last ones, or
those of the best of ten looks at the validation patients. Each flow is attacked twice: with the
validation patients as the non-members, as the audit does, and with the unseen ones. What lies
between the two is the bias of the choice. Some two seconds a seed on a free core.
"""

import argparse
import math
from typing import Final

import numpy as np
import torch
from torch import Tensor

from sitesynth import seeds
from sitesynth.generators.denoiser import Conditions, Denoiser
from sitesynth.generators.diffusion import train_flow
from sitesynth.generators.latents import Latents, LatentScale
from sitesynth.privacy.membership import auc
from sitesynth.privacy.probes import membership_scores, velocity_errors
from sitesynth.settings import DiffusionSettings


SHAPE: Final = (6, 2, 2)
SCALE: Final = LatentScale((0.0,) * 6, 1.0)
NUM_TRAIN, NUM_OTHERS = 40, 12
NOISE_DRAWS: Final = 4


def patients(count: int, name: str, seed: int) -> Latents:
    """Return patients of pure chance."""
    mean = torch.randn(count, 1, *SHAPE, generator=seeds.generator(seed, name))
    return Latents(mean, torch.zeros_like(mean), torch.ones(count, 2, dtype=torch.bool))


def labels_of(latents: Latents) -> Tensor:
    """Return one class for all."""
    return torch.zeros(len(latents.mean), dtype=torch.long)


def attacked(flow: Denoiser, members: Latents, others: Latents, *, seed: int) -> float:
    """Return the AUC of the flow's attack, as the audit computes it."""

    @torch.no_grad()
    def predict(x: Tensor, t: Tensor) -> Tensor:
        labels = torch.zeros(len(x), dtype=torch.long)
        told: Tensor = flow(x, t, Conditions(labels, torch.ones(len(x), 2, dtype=torch.bool)))
        return told

    errors = [
        velocity_errors(
            predict,
            SCALE.normalize(latents.mean[:, 0]),
            schedule=flow.schedule,
            num_draws=NOISE_DRAWS,
            rng=seeds.generator(seed, "attack"),
        )
        for latents in (members, others)
    ]
    return auc(*membership_scores(errors[0], errors[1]))


def aucs_of(seed: int, *, validate_every: int | None) -> tuple[float, float]:
    """Return the attack's AUC with the validation patients and with unseen ones."""
    members, choosers, unseen = (
        patients(count, name, seed)
        for count, name in (
            (NUM_TRAIN, "members"),
            (NUM_OTHERS, "validation"),
            (NUM_OTHERS, "unseen"),
        )
    )
    flow = train_flow(
        members,
        labels_of(members),
        SCALE,
        settings=DiffusionSettings(
            schedule="straight",
            patch=(1, 1),
            width=64,
            depth=2,
            convolutions=None,
            sizes=(),
            components=2,
            detail=0.5,
            num_views=1,
            warp=0.0,
            covariates=(),
            label_score=False,
            condition_dropout=0.1,
            ema_decay=0.5,
            dp=None,
            learning_rate=2e-2,
            batch_size=64,
            num_steps=60,
            validate_every=validate_every,
            patience_looks=None,
        ),
        num_classes=2,
        held_out=(choosers, labels_of(choosers), None),
        seed=seed,
        site="planted",
    )
    return (
        attacked(flow, members, choosers, seed=seed),
        attacked(flow, members, unseen, seed=seed),
    )


def main() -> None:
    """Print mean AUCs, and the mean difference with its standard error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=60)
    num_seeds = parser.parse_args().seeds
    found = np.array(
        [[aucs_of(seed, validate_every=every) for every in (None, 6)] for seed in range(num_seeds)]
    )
    print("| weights | AUC, validation patients | AUC, unseen patients | difference (s.e.) |")
    print("|---|---|---|---|")
    differences = found[..., 0] - found[..., 1]
    for number, name in enumerate(("last", "of the best of ten looks")):
        seen, unseen = found[:, number].mean(axis=0)
        print(f"| {name} | {seen:.3f} | {unseen:.3f} | {_mean(differences[:, number])} |")
    # The same patients twice: what two groups of twelve differ by without any choice drops out.
    print(f"| what the choice did | | | {_mean(differences[:, 1] - differences[:, 0])} |")


def _mean(values: np.ndarray) -> str:
    return f"{values.mean():+.3f} ({values.std(ddof=1) / math.sqrt(len(values)):.3f})"


if __name__ == "__main__":
    main()
