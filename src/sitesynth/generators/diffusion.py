"""Training a site's flow over its latents, which completes its generator."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from sitesynth import seeds
from sitesynth.errors import TrainingError
from sitesynth.generators.autoencoder import Autoencoder
from sitesynth.generators.covariates import Covariates, score_names, values_of
from sitesynth.generators.denoiser import Conditions, Denoiser
from sitesynth.generators.descriptions import Bounds, describe_covariates
from sitesynth.generators.generator import Generator, GeneratorConfig
from sitesynth.generators.label_scores import add_label_scores
from sitesynth.generators.latents import Latents, LatentScale, encode_once, measure_scale
from sitesynth.generators.private_gradients import (
    PrivateBatches,
    losses_with_noise,
    step_rngs,
)
from sitesynth.generators.variants import train_rival
from sitesynth.generators.views import Warp
from sitesynth.images import MASK, ImageSet
from sitesynth.patterns import are_side_by_side, tell_patterns
from sitesynth.processes import ALONE, Processes
from sitesynth.settings import (
    AutoencoderSettings,
    ComputeSettings,
    DiffusionSettings,
    GeneratorSettings,
    LatentsSettings,
)
from sitesynth.tracking import OnStep
from sitesynth.training import (
    Average,
    Choice,
    autocast,
    best_device,
    check_compiler,
    judge_by,
    train,
)


__all__ = ["held_out_losses", "train_diffusion", "train_flow"]

LossesAt = Callable[[int], Mapping[str, Tensor] | Iterator[Mapping[str, Tensor]]]

HeldOut = tuple[Latents, Tensor, Float[Tensor, "h v"] | None]
"""Encoded scans, their class numbers, and their covariates if the flow knows any."""

VALIDATION_TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Noise levels at which the held-out loss is told apart."""

BATCH_SIZE = 32
"""Scans at once where a loss is only measured."""


def train_flow(
    latents: Latents,
    labels: Tensor,
    scale: LatentScale,
    *,
    settings: DiffusionSettings,
    compute: ComputeSettings | None = None,
    num_classes: int,
    held_out: HeldOut | None = None,
    seed: int,
    site: str,
    covariates: Covariates | None = None,
    values: Float[Tensor, "n v"] | None = None,
    processes: Processes = ALONE,
    patients: Sequence[str] = (),
    secret: str | None = None,
    checkpoint: Path | None = None,
    on_step: OnStep = lambda step, losses: None,
) -> Denoiser:
    """Train the conditional flow of one site.

    Args:
        latents: Encoded training scans.
        labels: Their class numbers, -1 for unknown.
        scale: The scale of all training latents.
        settings: The `diffusion` section of params.yaml.
        compute: The `compute` section; None computes whole batches in the plainest way.
        num_classes: Classes of the task's label.
        held_out: Encoded validation scans, their class numbers and covariates, by which weights
            are chosen if the settings ask for it; None chooses none.
        seed: Root seed of the study.
        site: Whose flow it is; names the randomness.
        covariates: What the flow is conditional on beside the label; None for nothing.
        values: Those of each scan, as `Covariates.encode` says them.
        processes: Those that train it together.
        patients: Whose each scan is; asked for by `settings.dp` only.
        secret: Known to the site alone; with `settings.dp`, it makes the noise unpredictable.
        checkpoint: Where the state is kept, for a run that is killed.
        on_step: Told each step's loss.

    Returns:
        The network with its averaged weights, the last ones or those of the lowest held-out loss,
        in evaluation mode, on the CPU.

    Raises:
        TrainingError: If the loss diverges, there is nothing to choose by, or no compiler where one
            is asked for.
    """
    device = best_device()
    parts = processes.parts(
        settings.batch_size, at_once=None if compute is None else compute.diffusion_at_once
    )
    with seeds.isolated(seeds.generator(seed, "diffusion", site, "weights")):
        model = Denoiser(
            settings,
            latent_shape=latents.mean.shape[2:],
            num_classes=num_classes,
            num_channels=latents.presence.shape[1],
            covariates=covariates,
        )
    num_views = latents.mean.shape[1]
    if settings.dp is None:
        # A Gaussian of training latents tells of patients, and no noise hides them there.
        model.fit_gaussian(
            scale.normalize(latents.mean.flatten(0, 1)),
            labels.repeat_interleave(num_views),
            None if values is None else values.repeat_interleave(num_views, dim=0),
            num_views=num_views,
        )
    model.to(device)
    average = Average(model, settings.ema_decay)
    choice = None
    if settings.validate_every is not None and held_out is not None:
        found, known, told = held_out

        def measure(judged: Denoiser) -> dict[str, float]:
            losses = held_out_losses(judged, found, known, scale, values=told, seed=seed, site=site)
            mean = sum(losses.values()) / len(losses)
            named = {f"validation_loss_at_{time}": value for time, value in losses.items()}
            return {"validation_loss": mean} | named

        choice = Choice(
            judge_by(
                model,
                measure,
                num_held_out=len(known),
                site=site,
                knob="diffusion.validate_every",
                processes=processes,
            ),
            every=settings.validate_every,
            patience=settings.patience_looks,
        )

    if compute is not None and compute.compile_blocks:
        check_compiler()
        model.network.compile_blocks()
    model.network.recomputes = compute is not None and compute.recompute_blocks

    def plain_losses(step: int) -> Iterator[Mapping[str, Tensor]]:
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
        for part in parts:
            with autocast(device):
                predicted = model(
                    mixed[part].to(device), t[part].to(device), conditions[part].to(device)
                )
            error = model.loss(predicted, velocity[part].to(device), t[part].to(device))
            yield {"loss": error * (len(predicted) / len(chosen))}

    losses_at: LossesAt = plain_losses
    if settings.dp is not None:
        if processes.count > 1:
            raise TrainingError(
                f"diffusion.dp is for one process, and {processes.count} were started: start one."
            )
        losses_at = losses_with_noise(
            model,
            latents,
            labels,
            scale,
            PrivateBatches.of(patients, batch_size=settings.batch_size),
            settings=settings,
            private=settings.dp,
            rng_at=step_rngs(seed, site, secret),
        )
    train(
        model,
        losses_at,
        num_steps=settings.num_steps,
        learning_rate=settings.learning_rate,
        matrices=model.network.matrices(),
        average=average,
        choice=choice,
        processes=processes,
        checkpoint=checkpoint,
        on_step=on_step,
    )
    model.load_state_dict(average.weights if choice is None else choice.weights)
    return model.cpu()


def train_diffusion(
    images: ImageSet,
    autoencoder: Autoencoder,
    *,
    settings: DiffusionSettings,
    compute: ComputeSettings,
    autoencoder_settings: AutoencoderSettings,
    latents_settings: LatentsSettings,
    generator: GeneratorSettings,
    label: str,
    classes: Sequence[str],
    spacing_mm: Sequence[float] | None,
    seed: int,
    site: str,
    bounds: Bounds,
    processes: Processes = ALONE,
    secret: str | None = None,
    scale: LatentScale | None = None,
    checkpoint: Path | None = None,
    kept_latents: Path | None = None,
    on_step: OnStep = lambda step, losses: None,
) -> tuple[Generator, dict[str, dict[str, float]]]:
    """Encode a site's scans, train its flow, and put its generator together.

    Args:
        images: All scans of the site; the flow learns from the training ones.
        autoencoder: The site's autoencoder.
        settings: The `diffusion` section of params.yaml.
        compute: The `compute` section.
        autoencoder_settings: The `autoencoder` section, kept in the generator's config.
        latents_settings: The `latents` section: whose scans the autoencoder was trained on.
        generator: The `generator` section: what is trained, the flow or a rival of it.
        label: The task's label column.
        classes: Its classes, in order; in the place of findings, the site's own patterns are told.
        spacing_mm: Voxel size of the grid; None if each scan was fitted into it.
        seed: Root seed of the study.
        site: Whose generator it is.
        bounds: By covariate: what is plausible anywhere.
        processes: Those that train it together.
        secret: Known to the site alone; see `train_flow`.
        scale: That of latents which are nobody's; None measures the training scans' own.
        checkpoint: Where the state is kept, for a run that is killed.
        kept_latents: A folder where latents are kept for the next training; None keeps none.
        on_step: Told each step's loss.

    Returns:
        The generator, and its loss on training and on held-out scans: per noise level for a flow,
        as `generators.variants` says for its rivals.

    Raises:
        CohortError: If nothing may be told of a covariate at this site, or too few patients of a
            class are there to score scans.
        TrainingError: If the autoencoder has collapsed, or the loss diverges.
    """
    scores: tuple[str, ...] = ()
    if settings.label_score:
        images = add_label_scores(images, label=label, classes=classes, seed=seed, site=site)
        scores = score_names(classes)
    training, held_out = images.in_split("train"), images.in_split("validation")
    settings = settings.for_scans(len(training))
    class_counts = None
    if are_side_by_side(label):
        patterns = tell_patterns(training.table, site=site)
        classes, class_counts = tuple(patterns), tuple(patterns.values())
    covariates = None
    if scores or settings.covariates:
        covariates = describe_covariates(
            training.table,
            (*scores, *settings.covariates),
            label=label,
            classes=classes,
            site=site,
            bounds=bounds,
        )
    views = seeds.generator(seed, "diffusion", site, "views")
    warp = None
    if settings.warp:
        spacing = [1.0] * len(images.grid) if spacing_mm is None else spacing_mm
        warp = Warp(settings.warp, tuple(spacing), has_mask=MASK in images.channels)
    autoencoder.to(best_device())
    encoded = encode_once(
        {"train": training, "validation": held_out},
        autoencoder,
        num_views=settings.num_views,
        rng=views,
        warp=warp,
        folder=kept_latents,
    )
    autoencoder.cpu()
    latents, labels = encoded["train"], training.labels(label, classes)
    scale = measure_scale(latents) if scale is None else scale
    values = values_of(covariates, training.table)
    parts = {
        "train": (latents, labels, values),
        "validation": (
            encoded["validation"],
            held_out.labels(label, classes),
            values_of(covariates, held_out.table),
        ),
    }
    if generator.variant != "flow":
        if processes.count > 1:
            raise TrainingError(
                f"generator.variant {generator.variant} is trained by one process, and "
                f"{processes.count} were started; start one, or set the variant to flow."
            )
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
            compute=compute,
            num_classes=len(classes),
            held_out=parts["validation"],
            seed=seed,
            site=site,
            covariates=covariates,
            values=values,
            processes=processes,
            patients=[str(patient) for patient in training.table["patient_id"]],
            secret=secret,
            checkpoint=checkpoint,
            on_step=on_step,
        )
        losses = {}
        for split, (found, known, told_of) in parts.items():
            told = held_out_losses(flow, found, known, scale, values=told_of, seed=seed, site=site)
            losses[split] = {str(time): value for time, value in told.items()}
    config = GeneratorConfig(
        site=site,
        label=label,
        classes=tuple(classes),
        class_counts=class_counts,
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
    device = model.mean.device
    for time in VALIDATION_TIMES:
        rng = seeds.generator(seed, "validation-loss", site, str(time))
        data = scale.normalize(latents.draw(torch.arange(len(labels)), rng=rng))
        t = torch.full((len(labels),), time)
        mixed, velocity = model.schedule.mix(data, torch.randn(data.shape, generator=rng), t)
        predicted = []
        everyone = Conditions(labels, latents.presence, values)
        for start in range(0, len(labels), BATCH_SIZE):
            part = slice(start, start + BATCH_SIZE)
            conditions = everyone[part].to(device)
            predicted.append(model(mixed[part].to(device), t[part].to(device), conditions).cpu())
        losses[time] = float((torch.cat(predicted) - velocity).square().mean())
    return losses
