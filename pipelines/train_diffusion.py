"""Train the conditional flow of one site over the latents of its autoencoder."""

from pipelines._stage import In, Out, Scratch, main
from sitesynth.cohorts.cells import NUMBERS
from sitesynth.generators.covariates import Covariates
from sitesynth.generators.diffusion import train_diffusion
from sitesynth.generators.generator import read_autoencoder, write_flow
from sitesynth.history import History
from sitesynth.images import ImageSet, read_images
from sitesynth.settings import (
    AutoencoderSettings,
    CohortSettings,
    DiffusionSettings,
    GridSettings,
    TaskSettings,
)
from sitesynth.storage import write_json
from sitesynth.tracking import Run


def run(
    *,
    site: str,
    images: In,
    encoder: In,
    model: Out,
    cohort: CohortSettings,
    task: TaskSettings,
    grid: GridSettings,
    autoencoder: AutoencoderSettings,
    diffusion: DiffusionSettings,
    seed: int,
    scratch: Scratch,
    tracked: Run,
) -> None:
    """Read a site's scans and its autoencoder; write its flow, which completes its generator."""
    scans = read_images(images)
    history = History(scratch / "history.csv")
    with tracked.progress(diffusion.num_steps, f"flow of {site}") as show:
        generator, losses = train_diffusion(
            scans,
            read_autoencoder(
                encoder, autoencoder, num_channels=len(scans.channels), dims=len(scans.grid)
            ),
            settings=diffusion,
            autoencoder_settings=autoencoder,
            label=task.label,
            classes=cohort.labels[task.label],
            spacing_mm=grid.spacing_mm,
            seed=seed,
            site=site,
            bounds={name: (low, high) for name, (low, high, _) in NUMBERS.items()},
            checkpoint=scratch / "state.safetensors",
            on_step=history.and_also(show),
        )
    write_flow(model, generator)
    write_json(model / "losses.json", losses)
    history.write(model / "history.csv")
    tracked.log_metrics(_count_unknown(generator.config.covariates, scans.in_split("train")))
    tracked.log_metrics(
        {f"{s}_loss_at_{t}": v for s, told in losses.items() for t, v in told.items()}
    )


def _count_unknown(covariates: Covariates | None, training: ImageSet) -> dict[str, float]:
    """Count, for the site alone, whose covariates the flow was not told: unknown or withheld."""
    if covariates is None:
        return {}
    unknown = covariates.encode_table(training.table).isnan().sum(dim=0).tolist()
    return {f"unknown_{name}": n for name, n in zip(covariates.names, unknown, strict=True)}


if __name__ == "__main__":
    main(run)
