"""Where on its way through the generators a label is lost: external AUC, stage by stage.

Classifiers learn from what is left of the sites' training scans after

- nothing: the scans themselves;
- the autoencoder and back;
- noise of time t on their latents, and the flow's way back from there: the nearer t is to 1, the
  less a scan still tells, and the more the flow must know; not guided;
- t = 1: samples, which owe nothing to any scan but the network's weights and, where the flow is
  told more than the label, what else is asked for.

Every row has as many scans of each site and class, and the classifiers the same seeds, so rows
differ by what scans tell. Beside it, how alike reconstructions are to held-out scans of the site
(multi-scale SSIM of sequences, mean over scans).

    dvc repro train_diffusion && python -m benchmarks.label_information

Some ten minutes on one core. It looks at external sites, and so must never choose anything for the
study whose sites they are.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.variants import aucs_of, external_scores
from sitesynth import seeds
from sitesynth.classifiers.training import Examples, balance, examples_of
from sitesynth.generators.covariates import values_of
from sitesynth.generators.denoiser import Conditions, Denoiser
from sitesynth.generators.generator import Generator, read_generator
from sitesynth.generators.label_scores import as_told
from sitesynth.generators.latents import encode_scans
from sitesynth.generators.samplers import follow, num_draws, time_grid
from sitesynth.images import ImageSet, read_images
from sitesynth.quality.diversity import multiscale_ssim
from sitesynth.sampling import Solver
from sitesynth.settings import Settings, load_settings


__all__ = ["main"]

TIMES: Final = (0.0, 0.5, 0.75, 0.9, 1.0)
"""Noise from which the flow goes back; at 0 there is nothing to do, and the autoencoder is left."""

NUM_PER_CLASS: Final = 100
BATCH_SIZE: Final = 16


@dataclass(frozen=True)
class Source:
    """A training site: its labelled scans, whom to draw from them, and its generator."""

    scans: ImageSet
    labels: Tensor
    chosen: Tensor
    """Which scan each row of a cohort comes from: as many of each class."""
    generator: Generator
    flow: Denoiser


def source_of(images: Path, models: Path, site: str, study: Settings) -> Source:
    """Read a training site."""
    generator = read_generator(models / "autoencoder" / site, models / "diffusion" / site)
    everyone = as_told(read_images(images / site), generator.config, seed=study.seed)
    scans = everyone.in_split("train").labelled(study.task.label)
    labels = scans.labels(study.task.label, study.classes)
    if not isinstance(generator.flow, Denoiser):
        raise SystemExit(f"generator.variant {generator.config.variant} has no way back from noise")
    each = [(labels == number).nonzero()[:, 0] for number in range(len(study.classes))]
    chosen = torch.cat([places[torch.arange(NUM_PER_CLASS) % len(places)] for places in each])
    return Source(scans, labels, chosen, generator, generator.flow)


@torch.no_grad()
def passed_through(source: Source, start: float, study: Settings) -> Float[Tensor, "n s ..."]:
    """Return the sequences of chosen scans after the autoencoder, and the flow from `start` on."""
    generator, flow = source.generator, source.flow
    rng = seeds.generator(0, "label-information", generator.config.site)
    views = encode_scans(source.scans, generator.autoencoder, num_views=2, rng=rng)
    data = generator.scale.normalize(views.draw(source.chosen, rng=rng))
    noise = torch.randn(data.shape, generator=rng)
    mixed, _ = flow.schedule.mix(data, noise, torch.full((len(data),), start))
    sampling = study.sampling
    fresh = torch.randn(
        (num_draws(sampling.sampler, num_steps=sampling.num_steps) - 1, *data.shape), generator=rng
    )
    times = [start * time for time in time_grid(sampling.num_steps)]
    whole = torch.ones(len(data), len(generator.config.channels), dtype=torch.bool)
    told = values_of(generator.config.covariates, source.scans.table)
    everyone = Conditions(
        source.labels[source.chosen], whole, None if told is None else told[source.chosen]
    )
    drawn = []
    for first in range(0, len(data), BATCH_SIZE):
        part = slice(first, first + BATCH_SIZE)
        latents = mixed[part]
        if start > 0:
            conditions = everyone[part]
            latents = follow(
                sampling.sampler,
                flow.schedule,
                lambda x, t, told=conditions: flow(x, t, told),
                torch.cat([latents[None], fresh[:, part]]).transpose(0, 1),
                times,
                eta_at=Solver.of(sampling).eta_at,
            )
        images = generator.autoencoder.decode(generator.scale.restore(latents)).clamp(0, 1)
        drawn.append(images[:, : len(source.scans.sequences)])
    return torch.cat(drawn)


def as_they_are(source: Source) -> Float[Tensor, "n s ..."]:
    """Return the sequences of chosen scans."""
    return source.scans.load(source.chosen)[:, : len(source.scans.sequences)]


def cohort(
    parts: Sequence[Float[Tensor, "n s ..."]], sources: Sequence[Source], *, is_real: bool
) -> Examples:
    """Put the sites' scans together; sites and classes count alike."""
    num_sequences = parts[0].shape[1]
    labels = torch.cat([source.labels[source.chosen] for source in sources])
    sites = torch.cat([torch.full((len(part),), number) for number, part in enumerate(parts)])
    present = [
        source.scans.presence[source.chosen][:, :num_sequences]
        if is_real
        else torch.ones(len(source.chosen), num_sequences, dtype=torch.bool)
        for source in sources
    ]
    strata = sites * (int(labels.max()) + 1) + labels
    return Examples(torch.cat(list(parts)), torch.cat(present), labels, balance(strata))


def external_aucs(learned: Examples, external: Examples, study: Settings, count: int) -> str:
    """Return the AUC of the classifiers' mean, and their own ones."""
    scores = external_scores(learned, external, study, count, purpose="label-information")
    values = aucs_of([np.mean(scores, axis=0), *scores], external, study)
    mean, *each = [f"{value:.3f}" for value in values]
    return f"{mean} ({', '.join(each)})"


@torch.no_grad()
def likeness(images: Path, site: str, generator: Generator) -> float:
    """Return the mean similarity of held-out scans to their reconstructions."""
    scans = read_images(images / site).in_split("validation")
    whole, presence = scans.load(range(len(scans))), scans.presence
    latents, _ = generator.autoencoder.encode(whole, presence)
    back = generator.autoencoder.decode(latents).clamp(0, 1)
    return float(
        np.mean(
            [
                multiscale_ssim(whole[scan, channel].numpy(), back[scan, channel].numpy())
                for scan in range(len(scans))
                for channel in range(len(scans.sequences))
                if presence[scan, channel]
            ]
        )
    )


def main() -> None:
    """Print a row per stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, default=Path("data/images"))
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--classifiers", type=int, default=3)
    given = parser.parse_args()
    study = load_settings(Path("params.yaml"))
    if study.task.positive is None:
        parser.error("the study's task has no positive class, and so no single AUC")
    sites = study.sites.training
    sources = [source_of(given.images, given.models, site, study) for site in sites]
    external = examples_of(
        [read_images(given.images / site) for site in study.sites.external],
        label=study.task.label,
        classes=study.classes,
        origins=list(study.sites.external),
    )
    for site, source in zip(sites, sources, strict=True):
        alike = likeness(given.images, site, source.generator)
        sys.stdout.write(f"{site}: held-out scans and reconstructions, MS-SSIM {alike:.3f}\n")
    sys.stdout.write("\n| learned from | external AUC |\n|---|---|\n")

    def row(name: str, learned: Examples) -> None:
        told = external_aucs(learned, external, study, given.classifiers)
        sys.stdout.write(f"| {name} | {told} |\n")
        sys.stdout.flush()

    row("training scans", cohort([as_they_are(s) for s in sources], sources, is_real=True))
    for time in TIMES:
        name = {0.0: "reconstructions", 1.0: "samples"}.get(time, f"from t = {time:g} back")
        parts = [passed_through(source, time, study) for source in sources]
        row(name, cohort(parts, sources, is_real=False))


if __name__ == "__main__":
    main()
