"""Training a site's autoencoder: to give back every channel that a scan really has.

The loss is the mean absolute error and a little of a KL term. Two more can be asked for: a
discriminator that reconstructions have to pass, and the error of textures' strength (ADR 62).

Axes: n = scans, c = channels (sequences, then mask), then the grid.
"""

from collections.abc import Iterator
from math import prod
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sitesynth import seeds
from sitesynth.generators.autoencoder import Autoencoder, fill_missing
from sitesynth.generators.discriminator import Discriminator
from sitesynth.generators.textures import textures_of
from sitesynth.generators.views import views_of
from sitesynth.images import ImageSet
from sitesynth.processes import ALONE, Processes
from sitesynth.settings import AutoencoderSettings, ComputeSettings
from sitesynth.tracking import OnStep
from sitesynth.training import Choice, Opponent, autocast, best_device, judge_by, train


__all__ = [
    "held_out_error",
    "hide_channels",
    "mirror_some",
    "reconstruction_error",
    "texture_error",
    "train_autoencoder",
]

VIEWS_TO_FIT = 768
"""Scans behind the shortcuts; from fewer, several views of each."""

NUMBERS_TO_FIT = 2**28
"""Of all those scans together: large scans have enough blocks each, and must fit into memory."""

LOOK_AT = 2**22
"""Voxels of all channels that are decoded at once where an error is only measured."""


def hide_channels(
    presence: Bool[Tensor, "n c"], *, probability: float, rng: torch.Generator
) -> Bool[Tensor, "n c"]:
    """Hide a random part of the present channels of each scan, but never its last one.

    Args:
        presence: Which channels each scan has.
        probability: Chance of each present channel to be hidden.
        rng: Source of the choice.

    Returns:
        Which channels remain.
    """
    shown = presence & (torch.rand(presence.shape, generator=rng) >= probability)
    # A scan with nothing left to see is shown whole.
    return torch.where(shown.any(dim=1, keepdim=True), shown, presence)


def reconstruction_error(
    reconstructed: Float[Tensor, "n c ..."],
    images: Float[Tensor, "n c ..."],
    presence: Bool[Tensor, "n c"],
) -> Float[Tensor, ""]:
    """Return the mean absolute error over the channels that the scans have."""
    per_channel = (reconstructed - images).abs().flatten(2).mean(dim=2)
    return (per_channel * presence).sum() / presence.sum()


def texture_error(
    reconstructed: Float[Tensor, "n c ..."],
    images: Float[Tensor, "n c ..."],
    presence: Bool[Tensor, "n c"],
) -> Float[Tensor, ""]:
    """Return the mean absolute error of textures' strength over the channels that the scans have.

    It has the units of `reconstruction_error`.
    """
    return reconstruction_error(textures_of(reconstructed), textures_of(images), presence)


def train_autoencoder(
    images: ImageSet,
    *,
    settings: AutoencoderSettings,
    compute: ComputeSettings,
    seed: int,
    site: str,
    held_out: ImageSet | None = None,
    processes: Processes = ALONE,
    checkpoint: Path | None = None,
    on_step: OnStep = lambda step, losses: None,
) -> Autoencoder:
    """Train the autoencoder of one site.

    Args:
        images: The site's training scans.
        settings: The `autoencoder` section of params.yaml.
        compute: The `compute` section.
        seed: Root seed of the study.
        site: Whose autoencoder it is; names the randomness.
        held_out: Validation scans, by which weights are chosen if the settings ask for it; None
            chooses none.
        processes: Those that train it together.
        checkpoint: Where the state is kept, for a run that is killed; see `sitesynth.training`.
        on_step: Told each step's losses.

    Returns:
        The trained model with its last weights, or those of the lowest held-out error, in
        evaluation mode, on the CPU.

    Raises:
        TrainingError: If the loss diverges, or there is nothing to choose by.
    """
    device = best_device()
    parts = processes.parts(settings.batch_size, at_once=compute.autoencoder_at_once)
    with seeds.isolated(seeds.generator(seed, "autoencoder", site, "weights")):
        model = Autoencoder(settings, num_channels=len(images.channels), dims=len(images.grid))
    presence = images.presence
    limit = max(1, min(VIEWS_TO_FIT, NUMBERS_TO_FIT // (len(images.channels) * prod(images.grid))))
    first = range(min(len(images), limit))
    num_views = limit // len(first)
    views = views_of(
        images.load(first),
        num_views=num_views,
        rng=seeds.generator(seed, "autoencoder", site, "views"),
    )
    model.fit_shortcuts(torch.cat(list(views)), presence[: len(first)].repeat(num_views, 1))
    model.to(device)
    choice = None
    if settings.validate_every is not None and held_out is not None:
        choice = Choice(
            judge_by(
                model,
                lambda judged: {"validation_loss": held_out_error(judged, held_out)},
                num_held_out=len(held_out),
                site=site,
                knob="autoencoder.validate_every",
                processes=processes,
            ),
            every=settings.validate_every,
            patience=settings.patience_looks,
        )

    latent_shape = (
        settings.latent_channels,
        *(size // block for size, block in zip(images.grid, model.block, strict=True)),
    )

    discriminator = None
    if settings.adversarial is not None:
        with seeds.isolated(seeds.generator(seed, "autoencoder", site, "discriminator")):
            discriminator = Discriminator(
                settings.adversarial, num_channels=len(images.channels), dims=len(images.grid)
            ).to(device)

    def losses_at(step: int) -> Iterator[dict[str, Tensor]]:
        rng = seeds.generator(seed, "autoencoder", site, "step", step)
        chosen = torch.randint(len(images), (settings.batch_size,), generator=rng)
        targets, presences = mirror_some(images.load(chosen), rng=rng), presence[chosen]
        all_shown = hide_channels(presences, probability=settings.sequence_dropout, rng=rng)
        noises = torch.randn((len(chosen), *latent_shape), generator=rng)
        for part in parts:
            target, has, shown, noise = (
                whole[part].to(device) for whole in (targets, presences, all_shown, noises)
            )
            with autocast(device):
                mean, std = model.encode(target, shown)
                reconstructed = model.decode(mean + std * noise)
            # A part's share of the mean over the channels that the whole batch has, so that the
            # parts' gradients add up to the batch's.
            share = float(has.sum() / presences.sum())
            error = reconstruction_error(reconstructed.float(), target, has) * share
            mean, std = mean.float(), std.float()
            kl = 0.5 * (mean.square() + std.square() - 2 * std.log() - 1).mean()
            kl = kl * (len(target) / len(chosen))
            losses = {"loss": error + settings.kl_weight * kl, "error": error, "kl": kl}
            if settings.perceptual is not None:
                perceptual = texture_error(reconstructed.float(), target, has) * share
                losses["perceptual"] = perceptual
                losses["loss"] = losses["loss"] + settings.perceptual * perceptual
            if discriminator is not None and step >= discriminator.settings.from_step:
                told = _adversarial_losses(discriminator, model, reconstructed, target, has)
                fooled, own = (loss * (len(target) / len(chosen)) for loss in told)
                losses |= {"adversarial": fooled, "discriminator": own}
                losses["loss"] = losses["loss"] + discriminator.settings.weight * fooled + own
            yield losses

    train(
        model,
        losses_at,
        num_steps=settings.num_steps,
        learning_rate=settings.learning_rate,
        choice=choice,
        opponent=None
        if discriminator is None
        else Opponent(discriminator, discriminator.settings.learning_rate),
        processes=processes,
        checkpoint=checkpoint,
        on_step=on_step,
    )
    if choice is not None:
        model.load_state_dict(choice.weights)
    return model.cpu()


def _adversarial_losses(
    discriminator: Discriminator,
    model: Autoencoder,
    reconstructed: Float[Tensor, "n c ..."],
    images: Float[Tensor, "n c ..."],
    presence: Bool[Tensor, "n c"],
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Show a discriminator what the hub would draw; return the autoencoder's loss and its own.

    Channels that a scan lacks look alike in both, so there is nothing in them to learn.
    """
    back = reconstructed.float().clamp(0, 1)
    with autocast(images.device):
        return discriminator.losses(
            fill_missing(images, presence, model.typical),
            fill_missing(back, presence, model.typical),
        )


@torch.no_grad()
def held_out_error(model: Autoencoder, images: ImageSet) -> float:
    """Return the mean absolute error of reconstructions, over the channels that the scans have.

    Nothing is hidden from the encoder, and no noise is added to the latents' mean: two calls differ
    by the weights alone.
    """
    device = model.typical.device
    size = max(1, LOOK_AT // (len(images.channels) * prod(images.grid)))
    total = 0.0
    for start in range(0, len(images), size):
        part = slice(start, min(start + size, len(images)))
        scans = images.load(range(part.start, part.stop)).to(device)
        has = images.presence[part].to(device)
        mean, _ = model.encode(scans, has)
        total += float(reconstruction_error(model.decode(mean), scans, has)) * int(has.sum())
    return total / int(images.presence.sum())


def mirror_some(
    images: Float[Tensor, "n c ..."], *, rng: torch.Generator
) -> Float[Tensor, "n c ..."]:
    """Swap left and right in about half of the scans."""
    mirrored = torch.rand(len(images), generator=rng) < 0.5  # noqa: PLR2004
    return torch.where(mirrored.reshape(-1, *([1] * (images.ndim - 1))), images.flip(2), images)
