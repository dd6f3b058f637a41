"""DP-SGD: gradients of a flow that no single patient decides (Abadi et al., 2016).

In each step every patient takes part with the same probability, independently of the others; one
of their scans is shown, in one view; their gradient is clipped to a norm; the sum is noised and
divided by the number of patients expected. A patient is the unit, not a scan: whoever has five
scans counts once.

A step's randomness, that of who takes part and of the noise above all, is named by the study's
seed and a secret. Without the secret, whoever has params.yaml can draw the noise again and take it
off. With it the noise is as good as torch's generator, a Mersenne twister seeded with 63 bits: no
cryptographic one.

Axes: n = patients of a step, k = latent channels, then the latent grid.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Int
from torch import Tensor
from torch.func import functional_call, grad_and_value, vmap

from sitesynth import seeds
from sitesynth.errors import TrainingError
from sitesynth.generators.denoiser import Conditions, Denoiser
from sitesynth.generators.latents import Latents, LatentScale
from sitesynth.settings import DiffusionSettings, PrivateTraining


__all__ = [
    "PRIVATE_FILE",
    "PrivateBatches",
    "clipped_sum",
    "describe_training",
    "losses_with_noise",
    "step_rngs",
    "with_gradients",
]

PRIVATE_FILE = "private.json"
"""File beside a flow's weights, with what `describe_training` returns; only if it was private."""

FEW = 8
"""Patients whose gradients are held at once."""

Gradients = dict[str, Tensor]


@final
@dataclass(frozen=True)
class PrivateBatches:
    """Who takes part in a step: every patient with the same probability, with one scan."""

    scans: tuple[tuple[int, ...], ...]
    """Numbers of each patient's scans."""
    rate: float

    @classmethod
    def of(cls, patients: Sequence[str], *, batch_size: int) -> "PrivateBatches":
        """Group scans by patient.

        Args:
            patients: Whose each scan is.
            batch_size: Patients expected in a step.

        Raises:
            TrainingError: If more are expected than there are.
        """
        scans: dict[str, list[int]] = {}
        for number, patient in enumerate(patients):
            scans.setdefault(patient, []).append(number)
        if batch_size > len(scans):
            raise TrainingError(
                f"diffusion.batch_size {batch_size} asks for more patients in a step than the "
                f"{len(scans)} there are. With diffusion.dp, each takes part with probability "
                "batch_size / patients: lower batch_size."
            )
        return cls(tuple(tuple(found) for found in scans.values()), batch_size / len(scans))

    def draw(self, rng: torch.Generator) -> Int[Tensor, " n"]:
        """Draw the scans of a step: none, or any number of them."""
        taken = torch.rand(len(self.scans), generator=rng) < self.rate
        place = torch.rand(len(self.scans), generator=rng)
        chosen = [
            scans[int(where * len(scans))]
            for scans, where, takes in zip(self.scans, place.tolist(), taken.tolist(), strict=True)
            if takes
        ]
        return torch.tensor(chosen, dtype=torch.long)


def losses_with_noise(
    model: Denoiser,
    latents: Latents,
    labels: Tensor,
    scale: LatentScale,
    batches: PrivateBatches,
    *,
    settings: DiffusionSettings,
    private: PrivateTraining,
    rng_at: Callable[[int], torch.Generator],
) -> Callable[[int], Mapping[str, Tensor]]:
    """Return the losses of step k, whose gradients are clipped by patient and noised.

    Args:
        model: The flow, on its device.
        latents: Encoded training scans.
        labels: Their class numbers, -1 for unknown.
        scale: The scale of all training latents.
        batches: Who takes part.
        settings: The `diffusion` section of params.yaml.
        private: Its `dp`.
        rng_at: Source of a step's randomness.
    """

    def loss_of(weights: Gradients, *example: Tensor) -> Tensor:
        mixed, t, label, presence, velocity = (part[None] for part in example)
        told = (mixed, t, Conditions(label, presence))
        predicted: Tensor = functional_call(model, weights, told)
        return model.loss(predicted, velocity, t)

    def losses_at(step: int) -> Mapping[str, Tensor]:
        rng = rng_at(step)
        chosen = batches.draw(rng)
        data = scale.normalize(latents.draw(chosen, rng=rng))
        conditions = Conditions(labels[chosen], latents.presence[chosen]).hide_labels(
            probability=settings.condition_dropout, rng=rng
        )
        t = model.schedule.draw_times(len(chosen), rng=rng)
        mixed, velocity = model.schedule.mix(data, torch.randn(data.shape, generator=rng), t)
        weights: Gradients = {}
        weights.update(model.named_parameters())
        device = next(iter(weights.values())).device
        examples = [mixed, t, conditions.labels, conditions.presence, velocity]
        total, loss = clipped_sum(
            loss_of,
            weights,
            [each.to(device) for each in examples],
            clip_norm=private.clip_norm,
        )
        expected = batches.rate * len(batches.scans)
        spread = private.noise_multiplier * private.clip_norm
        noised = {
            name: (value + spread * torch.randn(value.shape, generator=rng).to(device)) / expected
            for name, value in total.items()
        }
        return {"loss": with_gradients(loss, weights, noised)}

    return losses_at


def clipped_sum(
    loss_of: Callable[..., Tensor],
    weights: Gradients,
    examples: Sequence[Tensor],
    *,
    clip_norm: float,
) -> tuple[Gradients, Tensor]:
    """Return the sum of single gradients, each scaled down to a norm, and the mean loss.

    Args:
        loss_of: The loss of one example, given the weights and one entry of each of `examples`.
        weights: By name.
        examples: One entry each per example; possibly none.
        clip_norm: The largest norm, over all weights together, that a gradient keeps.
    """
    held = {name: value.detach() for name, value in weights.items()}
    total = {name: torch.zeros_like(value) for name, value in held.items()}
    losses = [torch.zeros((), device=next(iter(held.values())).device)]
    single = vmap(grad_and_value(loss_of), in_dims=(None, *(0 for _ in examples)))
    for start in range(0, len(examples[0]), FEW):
        gradients, told = single(held, *(each[start : start + FEW] for each in examples))
        losses += [*told]
        squares = torch.stack([g.flatten(1).square().sum(dim=1) for g in gradients.values()])
        factors = (clip_norm / squares.sum(dim=0).sqrt().clamp_min(1e-12)).clamp_max(1.0)
        for name, gradient in gradients.items():
            total[name] += torch.tensordot(factors, gradient, dims=1)
    return total, torch.stack(losses).sum() / max(1, len(examples[0]))


def with_gradients(loss: Tensor, weights: Gradients, gradients: Gradients) -> Tensor:
    """Return a loss of the same value, whose gradients are the given ones."""
    # Each difference is 0, and its derivative 1.
    nothing = [((w - w.detach()) * gradients[name]).sum() for name, w in weights.items()]
    return loss.detach() + torch.stack(nothing).sum()


def describe_training(
    patients: Sequence[str],
    settings: DiffusionSettings,
    private: PrivateTraining,
    *,
    has_secret: bool,
) -> dict[str, Any]:
    """Return what an accountant has to know of a private training."""
    batches = PrivateBatches.of(patients, batch_size=settings.batch_size)
    return {
        **private.model_dump(mode="json"),
        "sample_rate": batches.rate,
        "num_steps": settings.num_steps,
        "has_secret_noise": has_secret,
    }


def step_rngs(seed: int, site: str, secret: str | None) -> Callable[[int], torch.Generator]:
    """Return the source of each step's randomness; nobody else's, if there is a secret."""
    return lambda step: seeds.generator(
        seed, "diffusion", site, "private step", step, secret or "no secret"
    )
