"""Train the autoencoder of one site."""

from pipelines._stage import In, Out, Scratch, main
from sitesynth.generators.autoencoder import train_autoencoder
from sitesynth.generators.weights import AUTOENCODER_FILE, write_weights
from sitesynth.history import History
from sitesynth.images import read_images
from sitesynth.processes import Processes
from sitesynth.settings import AutoencoderSettings, ComputeSettings
from sitesynth.tracking import Run
from sitesynth.training import joined


def run(
    *,
    site: str,
    images: In,
    model: Out,
    autoencoder: AutoencoderSettings,
    compute: ComputeSettings,
    seed: int,
    processes: Processes,
    scratch: Scratch,
    tracked: Run,
) -> None:
    """Read a site's training scans; write the weights of its autoencoder."""
    history = History(scratch / "history.csv")
    with (
        joined(processes),
        tracked.progress(autoencoder.num_steps, f"autoencoder of {site}") as show,
    ):
        trained = train_autoencoder(
            read_images(images).in_split("train"),
            settings=autoencoder,
            compute=compute,
            seed=seed,
            site=site,
            processes=processes,
            checkpoint=scratch / "state.safetensors",
            on_step=history.and_also(show) if processes.is_first else show,
        )
    if not processes.is_first:
        return
    write_weights(model / AUTOENCODER_FILE, trained)
    history.write(model / "history.csv")


if __name__ == "__main__":
    main(run)
