"""Training a site's flow over its latents, which completes its generator."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from sitesynth import seeds
from sitesynth.generators.autoencoder import Autoencoder
from sitesynth.generators.covariates import Covariates, values_of
from sitesynth.generators.denoiser import Conditions, Denoiser
from sitesynth.generators.descriptions import Bounds, describe_covariates
from sitesynth.generators.generator import Generator, GeneratorConfig
from sitesynth.generators.latents import Latents, LatentScale, encode_scans, measure_scale
from sitesynth.generators.variants import train_rival
from sitesynth.images import ImageSet
from sitesynth.settings import (
    AutoencoderSettings,
    DiffusionSettings,
    GeneratorSettings,
    LatentsSettings,
)
from sitesynth.tracking import OnStep
from sitesynth.training import Average, autocast, best_device, train


__all__ = ["held_out_losses", "train_diffusion", "train_flow"]

VALIDATION_TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Noise levels at which the held-out loss is told apart."""


def train_flow(
    latents: Latents,
    labels: Tensor,
    scale: LatentScale,
    *,
    settings: DiffusionSettings,
    num_classes: int,
    seed: int,
    site: str,
    covariates: Covariates | None = None,
    values: Float[Tensor, "n v"] | None = None,
    checkpoint: Path | None = None,
    on_step: OnStep = lambda step, losses: None,
) -> Denoiser:
    """Train the conditional flow of one site.

    Args:
        latents: Encoded training scans.
        labels: Their class numbers, -1 for unknown.
        scale: The scale of all training latents.
        settings: The `diffusion` section of params.yaml.
        num_classes: Classes of the task's label.
        seed: Root seed of the study.
        site: Whose flow it is; names the randomness.
        covariates: What the flow is conditional on beside the label; None for nothing.
        values: Those of each scan, as `Covariates.encode` says them.
        checkpoint: Where the state is kept, for a run that is killed.
        on_step: Told each step's loss.

    Returns:
        The network with its averaged weights, in evaluation mode, on the CPU.

    Raises:
        TrainingError: If the loss diverges.
    """
    device = best_device()
    with seeds.isolated(seeds.generator(seed, "diffusion", site, "weights")):
        model = Denoiser(
            settings,
            latent_shape=latents.mean.shape[2:],
            num_classes=num_classes,
            num_channels=latents.presence.shape[1],
            covariates=covariates,
        )
    num_views = latents.mean.shape[1]
    model.fit_gaussian(
        scale.normalize(latents.mean.flatten(0, 1)),
        labels.repeat_interleave(num_views),
        None if values is None else values.repeat_interleave(num_views, dim=0),
        num_views=num_views,
    )
    model.to(device)
    average = Average(model, settings.ema_decay)

    def losses_at(step: int) -> dict[str, Tensor]:
        rng = seeds.generator(seed, "diffusion", site, "step", step)
        chosen = torch.randint(len(labels), (settings.batch_size,), generator=rng)
        data = scale.normalize(latents.draw(chosen, rng=rng))
        conditions = (
            Conditions(
                labels[chosen],
                latents.presence[chosen],
                None if values is None else values[chosen],
            )
            .hide_labels(probability=settings.condition_dropout, rng=rng)
            .hide_covariates(probability=settings.condition_dropout, rng=rng)
        )
        t = model.schedule.draw_times(len(chosen), rng=rng)
        noise = torch.randn(data.shape, generator=rng)
        mixed, velocity = model.schedule.mix(data, noise, t)
        with autocast(device):
            predicted = model(mixed.to(device), t.to(device), conditions.to(device))
        return {"loss": (predicted.float() - velocity.to(device)).square().mean()}

    train(
        model,
        losses_at,
        num_steps=settings.num_steps,
        learning_rate=settings.learning_rate,
        matrices=model.network.matrices(),
        average=average,
        checkpoint=checkpoint,
        on_step=on_step,
    )
    model.load_state_dict(average.weights)
    return model.cpu()


def train_diffusion(
    images: ImageSet,
    autoencoder: Autoencoder,
    *,
    settings: DiffusionSettings,
    autoencoder_settings: AutoencoderSettings,
    latents_settings: LatentsSettings,
    generator: GeneratorSettings,
    label: str,
    classes: Sequence[str],
    spacing_mm: Sequence[float] | None,
    seed: int,
    site: str,
    bounds: Bounds,
    checkpoint: Path | None = None,
    on_step: OnStep = lambda step, losses: None,
) -> tuple[Generator, dict[str, dict[str, float]]]:
    """Encode a site's scans, train its flow, and put its generator together.

    Args:
        images: All scans of the site; the flow learns from the training ones.
        autoencoder: The site's autoencoder.
        settings: The `diffusion` section of params.yaml.
        autoencoder_settings: The `autoencoder` section, kept in the generator's config.
        latents_settings: The `latents` section: whose scans the autoencoder was trained on.
        generator: The `generator` section: what is trained, the flow or a rival of it.
        label: The task's label column.
        classes: Its classes, in order.
        spacing_mm: Voxel size of the grid; None if each scan was fitted into it.
        seed: Root seed of the study.
        site: Whose generator it is.
        bounds: By covariate: what is plausible anywhere.
        checkpoint: Where the state is kept, for a run that is killed.
        on_step: Told each step's loss.

    Returns:
        The generator, and its loss on training and on held-out scans: per noise level for a flow,
        as `generators.variants` says for its rivals.

    Raises:
        CohortError: If nothing may be told of a covariate at this site.
        TrainingError: If the autoencoder has collapsed, or the loss diverges.
    """
    training, held_out = images.in_split("train"), images.in_split("validation")
    covariates = None
    if settings.covariates:
        covariates = describe_covariates(
            training.table,
            settings.covariates,
            label=label,
            classes=classes,
            site=site,
            bounds=bounds,
        )
    views = seeds.generator(seed, "diffusion", site, "views")
    latents = encode_scans(training, autoencoder, num_views=settings.num_views, rng=views)
    labels = training.labels(label, classes)
    scale = measure_scale(latents)
    parts = {
        "train": (latents, labels, values_of(covariates, training.table)),
        "validation": (
            encode_scans(held_out, autoencoder, num_views=settings.num_views, rng=views),
            held_out.labels(label, classes),
            values_of(covariates, held_out.table),
        ),
    }
    if generator.variant != "flow":
        model, losses = train_rival(
            {split: (found, known) for split, (found, known, _) in parts.items()},
            scale,
            settings=generator,
            diffusion=settings,
            num_classes=len(classes),
            seed=seed,
            site=site,
            checkpoint=checkpoint,
            on_step=on_step,
        )
    else:
        model = flow = train_flow(
            latents,
            labels,
            scale,
            settings=settings,
            num_classes=len(classes),
            seed=seed,
            site=site,
            covariates=covariates,
            values=values_of(covariates, training.table),
            checkpoint=checkpoint,
            on_step=on_step,
        )
        losses = {}
        for split, (found, known, values) in parts.items():
            told = held_out_losses(flow, found, known, scale, values=values, seed=seed, site=site)
            losses[split] = {str(time): value for time, value in told.items()}
    config = GeneratorConfig(
        schema_version=2 if covariates is None else 3,
        site=site,
        label=label,
        classes=tuple(classes),
        channels=images.channels,
        grid=images.grid,
        spacing_mm=None if spacing_mm is None else tuple(spacing_mm),
        autoencoder=autoencoder_settings,
        diffusion=settings,
        latent_mean=scale.mean,
        latent_std=scale.std,
        variant=generator.variant,
        latents_source=latents_settings.source,
        covariates=covariates,
    )
    return Generator(config, autoencoder, model), losses


@torch.no_grad()
def held_out_losses(
    model: Denoiser,
    latents: Latents,
    labels: Tensor,
    scale: LatentScale,
    *,
    seed: int,
    site: str,
    values: Float[Tensor, "n v"] | None = None,
) -> dict[float, float]:
    """Return the mean squared error of the velocity at each of `VALIDATION_TIMES`.

    The same noise is used at every call, so that two models, or training and held-out scans, are
    compared on the same draws.
    """
    losses = {}
    for time in VALIDATION_TIMES:
        rng = seeds.generator(seed, "validation-loss", site, str(time))
        data = scale.normalize(latents.draw(torch.arange(len(labels)), rng=rng))
        t = torch.full((len(labels),), time)
        mixed, velocity = model.schedule.mix(data, torch.randn(data.shape, generator=rng), t)
        predicted = model(mixed, t, Conditions(labels, latents.presence, values))
        losses[time] = float((predicted - velocity).square().mean())
    return losses
