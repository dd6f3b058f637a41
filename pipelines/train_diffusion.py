"""Train the conditional flow of one site over the latents of its autoencoder."""

from pipelines._stage import In, Out, Scratch, main
from sitesynth.generators.diffusion import train_diffusion
from sitesynth.generators.generator import read_autoencoder, write_flow
from sitesynth.history import History
from sitesynth.images import read_images
from sitesynth.processes import Processes
from sitesynth.settings import (
    AutoencoderSettings,
    CohortSettings,
    ComputeSettings,
    DiffusionSettings,
    GridSettings,
    TaskSettings,
)
from sitesynth.storage import write_json
from sitesynth.tracking import Run
from sitesynth.training import joined


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
    compute: ComputeSettings,
    seed: int,
    processes: Processes,
    scratch: Scratch,
    tracked: Run,
) -> None:
    """Read a site's scans and its autoencoder; write its flow, which completes its generator."""
    scans = read_images(images)
    history = History(scratch / "history.csv")
    with (
        joined(processes),
        tracked.progress(diffusion.num_steps, f"flow of {site}") as show,
    ):
        generator, losses = train_diffusion(
            scans,
            read_autoencoder(
                encoder, autoencoder, num_channels=len(scans.channels), dims=len(scans.grid)
            ),
            settings=diffusion,
            compute=compute,
            autoencoder_settings=autoencoder,
            label=task.label,
            classes=cohort.labels[task.label],
            spacing_mm=grid.spacing_mm,
            seed=seed,
            site=site,
            processes=processes,
            checkpoint=scratch / "state.safetensors",
            on_step=history.and_also(show) if processes.is_first else show,
        )
    if not processes.is_first:
        return
    write_flow(model, generator)
    write_json(model / "losses.json", losses)
    history.write(model / "history.csv")
    tracked.log_metrics(
        {f"{s}_loss_at_{t}": v for s, told in losses.items() for t, v in told.items()}
    )


if __name__ == "__main__":
    main(run)
