"""Which network a flow should have, by the number of scans that it learns from.

Trains flows of several depths and widths on all, a half and a quarter of one site's training
patients, as the study trains its own, and prints for each

- its mean squared error of the velocity on the site's held-out scans, mean over five noise levels;
- the same on the scans it learned from, and the difference: what it knows about patients;
- seconds of training, and the error on held-out scans after as many seconds as the study's own
  network takes, where a larger one has had fewer steps.

    dvc repro train_autoencoder && python -m benchmarks.network_size [--site alder]

It trains nine flows for each number of scans, and looks at no external site.
"""

import sys
import time
from typing import Final

import numpy as np

from benchmarks.flows import asked_site, changed, train_generator
from sitesynth import seeds
from sitesynth.generators.autoencoder import Autoencoder
from sitesynth.images import ImageSet
from sitesynth.settings import Settings


__all__ = ["keep_some", "main"]

SHARES: Final = (1.0, 0.5, 0.25)
SIZES: Final = ((1, 128), (2, 64), (2, 128), (4, 128), (2, 256))
"""Depth and width; the study's own comes first, and sets the time."""


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


def _train(
    scans: ImageSet, autoencoder: Autoencoder, study: Settings, site: str
) -> tuple[float, float, float]:
    """Return the errors on held-out and on training scans, and the seconds of training."""
    started = time.monotonic()
    _, losses = train_generator(scans, autoencoder, study, site=site)
    errors = [float(np.mean([*losses[split].values()])) for split in ("validation", "train")]
    return errors[0], errors[1], time.monotonic() - started


def main() -> None:
    """Print a row per number of scans and size."""
    site, study, everyone, autoencoder = asked_site(__doc__)
    own = (study.diffusion.depth, study.diffusion.width)

    def row(*cells: object) -> None:
        sys.stdout.write("| " + " | ".join(str(cell) for cell in cells) + " |\n")
        sys.stdout.flush()

    row(
        "training scans", "depth", "width", "held-out error", "training error", "gap", "seconds",
        "held-out error at equal seconds",
    )  # fmt: skip
    row(*["---"] * 8)
    for share in SHARES:
        scans = keep_some(everyone, study.task.label, share=share, seed=study.seed)
        count = len(scans.in_split("train"))
        limit = 0.0
        for depth, width in (own, *(size for size in SIZES if size != own)):
            sized = changed(study, "diffusion", depth=depth, width=width)
            held_out, trained, seconds = _train(scans, autoencoder, sized, site)
            if (depth, width) == own:
                limit, equal = seconds, held_out
            else:
                num_steps = max(1, round(study.diffusion.num_steps * limit / seconds))
                limited = changed(sized, "diffusion", num_steps=num_steps)
                equal, *_ = _train(scans, autoencoder, limited, site)
            row(
                count, depth, width, f"{held_out:.3f}", f"{trained:.3f}",
                f"{held_out - trained:.3f}", f"{seconds:.0f}", f"{equal:.3f}",
            )  # fmt: skip


if __name__ == "__main__":
    main()
