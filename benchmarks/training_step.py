"""How much faster a step of a site's flow is than that of a plain tutorial loop.

Both train the same network on the same made-up scans of the grid in params.yaml, with the same
batch. The tutorial's loop (as in MONAI's 3D latent diffusion tutorial) encodes its batch anew in
each step, in float32, with AdamW alone, and keeps no average of the weights. Ours takes latents
that were encoded once, in several views, and computes in bfloat16 where the processor has it. Both
run on the GPU if there is one; the tutorial's scans lie in its memory, which is to its advantage.
Blocks of both alternate in one process, so that what else runs on the machine slows both.

    python -m benchmarks.training_step
    python -m benchmarks.training_step --encoder tutorial
    python -m benchmarks.training_step --grid 48 48 32 --encoder tutorial

`--encoder tutorial` gives both loops the latents of an autoencoder of the tutorial's size: three
levels of 32, 64 and 64 feature maps, the first of them at the scans' own voxels, where the default
study's first gathers blocks of 2 x 2 x 1 voxels. A minute on two cores as it is; minutes with it.
"""

import argparse
import statistics
import time
from itertools import pairwise
from pathlib import Path
from typing import Final

import torch

from sitesynth import seeds
from sitesynth.generators.autoencoder import Autoencoder
from sitesynth.generators.denoiser import Conditions, Denoiser
from sitesynth.generators.diffusion import train_flow
from sitesynth.generators.latents import Latents, LatentScale, measure_scale
from sitesynth.settings import Settings, load_settings
from sitesynth.training import best_device


__all__ = ["main"]

NUM_SCANS: Final = 48
AT_ONCE: Final = 8
ROUNDS: Final = 4
STEPS: Final = 12
WARM_UP: Final = 4

TUTORIAL_AUTOENCODER: Final = {"patch": (1, 1, 1), "channels": (32, 64, 64)}
"""As in the 3D tutorial; MONAI's network in both."""


def our_seconds(
    latents: Latents, labels: torch.Tensor, scale: LatentScale, study: Settings
) -> float:
    """Return the median seconds of a step of the product's own training."""
    ticks: list[float] = []
    train_flow(
        latents,
        labels,
        scale,
        settings=study.diffusion.model_copy(update={"num_steps": STEPS}),
        num_classes=len(study.classes),
        seed=0,
        site="benchmark",
        on_step=lambda step, losses: ticks.append(time.perf_counter()),
    )
    return _median_gap(ticks)


def tutorial_seconds(
    *,
    images: torch.Tensor,
    presence: torch.Tensor,
    labels: torch.Tensor,
    autoencoder: Autoencoder,
    scale: LatentScale,
    study: Settings,
) -> float:
    """Return the median seconds of a step of a plain loop on the same network.

    What it is given lies on the device on which it trains.
    """
    device = images.device
    rng = seeds.generator(0, "tutorial")
    with torch.no_grad():
        shape = autoencoder.encode(images[:1], presence[:1])[0].shape[1:]
    network = Denoiser(
        study.diffusion,
        latent_shape=shape,
        num_classes=len(study.classes),
        num_channels=presence.shape[1],
    ).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    ticks = []
    for _ in range(STEPS):
        chosen = torch.randint(len(images), (study.diffusion.batch_size,), generator=rng)
        with torch.no_grad():
            mean, std = autoencoder.encode(images[chosen], presence[chosen])
            data = scale.normalize(mean + std * torch.randn(mean.shape, generator=rng).to(device))
        t = torch.rand(len(chosen), generator=rng).to(device)
        noise = torch.randn(data.shape, generator=rng).to(device)
        mixed, velocity = network.schedule.mix(data, noise, t)
        optimizer.zero_grad()
        predicted = network(mixed, t, Conditions(labels[chosen], presence[chosen]))
        loss = (predicted - velocity).square().mean()
        loss.backward()
        optimizer.step()
        float(loss)  # The loop tells its loss, and waits for it.
        ticks.append(time.perf_counter())
    return _median_gap(ticks)


def _median_gap(ticks: list[float]) -> float:
    gaps = [after - before for before, after in pairwise(ticks)]
    return statistics.median(gaps[WARM_UP:])


def main() -> None:
    """Print seconds per step and their ratio, block by block."""
    study = load_settings(Path("params.yaml"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grid", type=int, nargs="+", default=study.grid.shape, metavar="VOXELS")
    parser.add_argument("--encoder", choices=("study", "tutorial"), default="study")
    asked = parser.parse_args()
    settings = study.autoencoder
    if asked.encoder == "tutorial":
        settings = settings.model_copy(update=TUTORIAL_AUTOENCODER)
    rng = seeds.generator(0, "scans")
    channels = len(study.cohort.sequences) + study.cohort.has_mask
    images = torch.rand((NUM_SCANS, channels, *asked.grid), generator=rng)
    presence = torch.ones(NUM_SCANS, channels, dtype=torch.bool)
    labels = torch.arange(NUM_SCANS) % len(study.classes)
    autoencoder = Autoencoder(settings, num_channels=channels, dims=len(asked.grid)).eval()
    autoencoder.fit_shortcuts(images, presence)
    with torch.no_grad():
        encoded = [
            autoencoder.encode(images[i : i + AT_ONCE], presence[i : i + AT_ONCE])
            for i in range(0, NUM_SCANS, AT_ONCE)
        ]
    mean, std = (torch.cat(parts) for parts in zip(*encoded, strict=True))
    latents = Latents(mean[:, None], std[:, None], presence)
    scale = measure_scale(latents)
    device = best_device()
    images, presence_there, labels_there = (
        tensor.to(device) for tensor in (images, presence, labels)
    )
    autoencoder.to(device)
    ratios = []
    for number in range(ROUNDS):
        ours = our_seconds(latents, labels, scale, study)
        plain = tutorial_seconds(
            images=images,
            presence=presence_there,
            labels=labels_there,
            autoencoder=autoencoder,
            scale=scale,
            study=study,
        )
        ratios.append(plain / ours)
        print(f"block {number}: ours {ours:.3f} s, tutorial {plain:.3f} s, {plain / ours:.2f} x")
    print(f"median {statistics.median(ratios):.2f} x")


if __name__ == "__main__":
    main()
