"""Train the autoencoder of one site, on its own scans or on phantoms."""

from pipelines._stage import In, Out, Scratch, main
from sitesynth import seeds
from sitesynth.generators.autoencoder_training import train_autoencoder
from sitesynth.generators.latents import encode_scans, measure_scale, write_scale
from sitesynth.generators.weights import AUTOENCODER_FILE, write_weights
from sitesynth.history import History
from sitesynth.images import read_images
from sitesynth.processes import Processes
from sitesynth.settings import (
    AutoencoderSettings,
    CohortSettings,
    ComputeSettings,
    GridSettings,
    IntensitySettings,
    LatentsSettings,
)
from sitesynth.snapshots import log_reconstructions
from sitesynth.tracking import Run
from sitesynth.training import joined


def run(
    *,
    site: str,
    images: In,
    model: Out,
    cohort: CohortSettings,
    grid: GridSettings,
    intensity: IntensitySettings,
    autoencoder: AutoencoderSettings,
    latents: LatentsSettings,
    compute: ComputeSettings,
    seed: int,
    processes: Processes,
    scratch: Scratch,
    tracked: Run,
) -> None:
    """Read a site's training scans, or draw phantoms; write the weights of its autoencoder."""
    if latents.source == "own":
        everyone = read_images(images)
        whose, scans, held_out = site, everyone.in_split("train"), everyone.in_split("validation")
    else:
        # What draws phantoms takes its time to import.
        from sitesynth.generators.phantoms import NOBODY, draw_phantoms  # noqa: PLC0415

        whose, held_out = NOBODY, None
        with tracked.progress(latents.num_phantoms, "phantoms") as show:
            scans = draw_phantoms(
                scratch / "phantoms",
                num_phantoms=latents.num_phantoms,
                cohort=cohort,
                grid=grid,
                intensity=intensity,
                seed=seed,
                on_scan=show,
            )
    history = History(scratch / "history.csv")
    with (
        joined(processes),
        tracked.progress(autoencoder.num_steps, f"autoencoder of {site}") as show,
    ):
        trained = train_autoencoder(
            scans,
            settings=autoencoder,
            compute=compute,
            seed=seed,
            site=whose,
            held_out=held_out,
            processes=processes,
            checkpoint=scratch / "state.safetensors",
            on_step=history.and_also(show) if processes.is_first else show,
        )
    if not processes.is_first:
        return
    write_weights(model / AUTOENCODER_FILE, trained)
    if whose != site:
        # A flow with an epsilon may not measure it on patients.
        views = seeds.generator(seed, "latents", whose, "views")
        write_scale(model, measure_scale(encode_scans(scans, trained, num_views=2, rng=views)))
    history.write(model / "history.csv")
    log_reconstructions(
        tracked, scans if held_out is None else held_out, trained, is_nobodys=held_out is None
    )


if __name__ == "__main__":
    main(run)
