"""Which network a flow should have, by the number of scans that it learns from.

Trains flows of several depths and widths on all, a half, a quarter and an eighth of one site's
training patients, as the study trains its own, and prints for each

- its mean squared error of the velocity on the site's held-out scans, mean over five noise levels;
- the same on the scans it learned from, and the difference: what it knows about patients;
- KID and FID of what it draws to the held-out scans, in units of all training scans;
- seconds of training, once the scans are encoded.

    dvc repro train_autoencoder && python -m benchmarks.network_size [--site alder]

It trains five flows for each number of scans, and looks at no external site. The autoencoder is the
site's own, of all its training patients, whatever the flow learns from.
"""

import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.flows import asked_site, changed, train_generator, write_row
from benchmarks.held_out import HeldOut, draw_cohort
from sitesynth import seeds
from sitesynth.generators.autoencoder import Autoencoder
from sitesynth.images import ImageSet
from sitesynth.settings import Settings


__all__ = ["keep_some", "main"]

SHARES: Final = (1.0, 0.5, 0.25, 0.125)
SIZES: Final = ((1, 64), (2, 64), (2, 128), (4, 128), (2, 256))
"""Depth and width, the smallest network first."""

NUM_PER_CLASS: Final = 60


def keep_some(scans: ImageSet, label: str, *, share: float, seed: int) -> ImageSet:
    """Return all held-out scans, and those of a share of the training patients of each class."""
    table = scans.table
    kept: set[str] = set()
    training = table[table["split"] == "train"]
    for name in sorted(set(training[label])):
        members = sorted(set(training.loc[training[label] == name, "patient_id"]))
        rng = seeds.numpy_generator(seed, "network size", name)
        count = max(1, round(share * len(members)))
        kept |= {members[place] for place in rng.permutation(len(members))[:count]}
    return scans.select(
        split != "train" or patient in kept
        for split, patient in zip(table["split"], table["patient_id"], strict=True)
    )


def _cells(
    scans: ImageSet,
    autoencoder: Autoencoder,
    study: Settings,
    site: str,
    *,
    held_out: HeldOut,
    scratch: Path,
) -> list[str]:
    """Train a flow; return its errors, the distances of what it draws, and seconds of training."""
    steps: list[float] = []
    generator, losses = train_generator(
        scans,
        autoencoder,
        study,
        site=site,
        kept_latents=scratch / "latents",
        on_step=lambda step, losses: steps.append(time.monotonic()),
    )
    told, known = (float(np.mean([*losses[split].values()])) for split in ("validation", "train"))
    drawn = draw_cohort(
        scratch / f"{study.diffusion.depth} {study.diffusion.width} {len(scans)}",
        generator,
        study,
        num_per_class=NUM_PER_CLASS,
    )
    distances = held_out.distances_to(drawn)
    return [
        f"{told:.3f}", f"{known:.3f}", f"{told - known:.3f}", distances,
        f"{steps[-1] - steps[0]:.0f}",
    ]  # fmt: skip


def main() -> None:
    """Print a row per number of scans and size."""
    site, study, everyone, autoencoder = asked_site(__doc__)
    held_out = HeldOut.of(everyone)

    write_row(
        "training scans", "depth", "width", "held-out error", "training error", "gap", "KID", "FID",
        "seconds",
    )  # fmt: skip
    write_row(*["---"] * 9)
    write_row("scans themselves", *[""] * 5, held_out.distances_to_training(), "")
    for share in SHARES:
        scans = keep_some(everyone, study.task.label, share=share, seed=study.seed)
        count = len(scans.in_split("train"))
        with tempfile.TemporaryDirectory() as scratch:
            for depth, width in SIZES:
                sized = changed(study, "diffusion", depth=depth, width=width, sizes=())
                cells = _cells(
                    scans, autoencoder, sized, site, held_out=held_out, scratch=Path(scratch)
                )
                write_row(count, depth, width, *cells)


if __name__ == "__main__":
    main()
