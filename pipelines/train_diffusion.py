"""Train the conditional flow of one site over its autoencoder's latents, or a rival of it."""

import os
from collections.abc import Mapping
from typing import Annotated

from pipelines._stage import In, Kept, Knob, Out, Scratch, main
from sitesynth.cohorts.cells import NUMBERS
from sitesynth.generators.diffusion import train_diffusion
from sitesynth.generators.generator import GeneratorConfig, read_autoencoder, write_flow
from sitesynth.generators.latents import read_scale
from sitesynth.generators.private_gradients import PRIVATE_FILE, describe_training
from sitesynth.history import History
from sitesynth.images import ImageSet, read_images
from sitesynth.processes import Processes
from sitesynth.settings import (
    AutoencoderSettings,
    ComputeSettings,
    DiffusionSettings,
    GeneratorSettings,
    GridSettings,
    LatentsSettings,
    TaskSettings,
)
from sitesynth.snapshots import log_samples
from sitesynth.storage import write_json
from sitesynth.tracking import Run
from sitesynth.training import joined


def run(
    *,
    site: str,
    images: In,
    encoder: In,
    model: Out,
    labels: Annotated[Mapping[str, tuple[str, ...]], Knob("cohort.labels")],
    task: TaskSettings,
    grid: GridSettings,
    autoencoder: AutoencoderSettings,
    latents: LatentsSettings,
    diffusion: DiffusionSettings,
    generator: GeneratorSettings,
    compute: ComputeSettings,
    seed: int,
    processes: Processes,
    scratch: Scratch,
    kept: Kept,
    tracked: Run,
) -> None:
    """Read a site's scans and its autoencoder; write its flow, which completes its generator."""
    scans = read_images(images)
    secret = os.environ.get("SITESYNTH_NOISE_SECRET")
    is_nobodys = latents.source == "phantom"
    history = History(scratch / "history.csv")
    num_steps = {"flow": diffusion.num_steps, "gan": generator.gan.num_steps, "gaussian": 0}
    with (
        joined(processes),
        tracked.progress(num_steps[generator.variant], f"{generator.variant} of {site}") as show,
    ):
        trained, losses = train_diffusion(
            scans,
            read_autoencoder(
                encoder, autoencoder, num_channels=len(scans.channels), dims=len(scans.grid)
            ),
            settings=diffusion,
            compute=compute,
            autoencoder_settings=autoencoder,
            latents_settings=latents,
            generator=generator,
            label=task.label,
            classes=labels[task.label],
            spacing_mm=grid.spacing_mm,
            seed=seed,
            site=site,
            bounds={name: (low, high) for name, (low, high, _) in NUMBERS.items()},
            processes=processes,
            secret=secret,
            scale=read_scale(encoder) if is_nobodys and diffusion.dp is not None else None,
            checkpoint=scratch / "state.safetensors",
            # One writes; two would sweep away what the other has not finished.
            kept_latents=kept if processes.is_first else None,
            on_step=history.and_also(show) if processes.is_first else show,
        )
    if not processes.is_first:
        return
    write_flow(model, trained)
    write_json(model / "losses.json", losses)
    if diffusion.dp is not None:
        patients = [str(patient) for patient in scans.in_split("train").table["patient_id"]]
        facts = describe_training(patients, diffusion, diffusion.dp, has_secret=bool(secret))
        write_json(model / PRIVATE_FILE, facts)
    history.write(model / "history.csv")
    tracked.log_metrics(_count_unknown(trained.config, scans.in_split("train")))
    at = "loss_at_" if generator.variant == "flow" else ""
    tracked.log_metrics(
        {f"{s}_{at}{name}": v for s, told in losses.items() for name, v in told.items()}
    )
    log_samples(tracked, trained, seed=seed)


def _count_unknown(config: GeneratorConfig, training: ImageSet) -> dict[str, float]:
    """Count, for the site alone, whose covariates the flow was not told: unknown or withheld."""
    if config.covariates is None:
        return {}
    # Scores are known of every scan, and stand in no table here.
    scores = [name for name in config.covariates.names if name not in config.diffusion.covariates]
    table = training.table.assign(**dict.fromkeys(scores, ""))
    unknown = config.covariates.encode_table(table).isnan().sum(dim=0).tolist()
    told = zip(config.covariates.names, unknown, strict=True)
    return {f"unknown_{name}": n for name, n in told if name not in scores}


if __name__ == "__main__":
    main(run)
