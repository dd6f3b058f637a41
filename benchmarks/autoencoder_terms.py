"""What the two optional terms of an autoencoder's loss change (ADR 62).

Trains one site's autoencoder as the study does, and again with a discriminator, with the error of
textures' strength, and with both, and prints for each

- the mean absolute error and the multi-scale SSIM of reconstructions of the site's held-out scans;
- KID and FID of reconstructions of its training scans to held-out scans, as of synthetic ones;
- how much worse a judge ranks classes after the autoencoder than before;
- seconds of training.

    dvc repro train_autoencoder && python -m benchmarks.autoencoder_terms [--site alder]

The first row is of training scans that went through no autoencoder. It looks at no external site.
"""

import time
from typing import Final

from benchmarks.flows import asked_site, changed, write_row
from benchmarks.held_out import NUM_RESAMPLES, HeldOut
from sitesynth import seeds
from sitesynth.generators.autoencoder_training import train_autoencoder
from sitesynth.images import ImageSet
from sitesynth.quality.reconstruction import (
    assess_reconstruction,
    describe_reconstructions,
    reconstruct_by,
)
from sitesynth.settings import AdversarialSettings, Settings


__all__ = ["main"]

NUM_SEEDS: Final = 2
WEIGHTS: Final[tuple[tuple[float | None, float | None], ...]] = (
    (None, None),
    (0.01, None),
    (0.05, None),
    (None, 0.5),
    (None, 2.0),
    (0.01, 0.5),
)
"""Of the adversarial and of the perceptual term."""


def with_terms(study: Settings, adversarial: float | None, perceptual: float | None) -> Settings:
    """Return a study with the terms; a discriminator starts after a third of the steps."""
    asked = None
    if adversarial is not None:
        asked = AdversarialSettings(
            weight=adversarial,
            from_step=1 + study.autoencoder.num_steps // 3,
            width=16,
            depth=2,
            learning_rate=study.autoencoder.learning_rate,
        )
    return changed(study, "autoencoder", adversarial=asked, perceptual=perceptual)


def cells_of(scans: ImageSet, told: HeldOut, study: Settings, site: str) -> list[str]:
    """Train an autoencoder, and return what is measured of it."""
    started = time.monotonic()
    splits = scans.in_split("train"), scans.in_split("validation")
    model = train_autoencoder(
        splits[0],
        settings=study.autoencoder,
        compute=study.compute,
        seed=study.seed,
        site=site,
        held_out=splits[1],
    )
    seconds = time.monotonic() - started
    train, held_out = (
        describe_reconstructions(
            split, reconstruct_by(model), told.extractor, with_similarity=split is splits[1]
        )
        for split in splits
    )
    label, classes = study.task.label, study.classes
    labels = [split.labels(label, classes).numpy() for split in splits]
    found = assess_reconstruction(
        told.training,
        told.scans,
        back=(train, held_out),
        labels=(labels[0], labels[1]),
        classes=classes,
        sequences=scans.sequences,
        grid=scans.grid,
        num_resamples=NUM_RESAMPLES,
        rng=seeds.numpy_generator(0, "terms"),
    )
    return [
        f"{found['error']['held_out']['value']:.4f}",
        f"{found['ms_ssim']['mean']['value']:.4f}",
        told.distances_of(train.features, told.training.patients),
        f"{found['judge']['auc']['difference']['value']:+.3f}",
        f"{seconds:.0f}",
    ]


def main() -> None:
    """Print a row per seed and weights."""
    site, study, scans, _ = asked_site(__doc__)
    told = HeldOut.of(scans)

    write_row(
        "seed", "adversarial", "perceptual", "error", "MS-SSIM", "KID", "FID", "judge's AUC",
        "seconds",
    )  # fmt: skip
    write_row(*["---"] * 9)
    write_row("", "scans", "themselves", "", "", told.distances_to_training(), "", "")
    for number in range(NUM_SEEDS):
        seed = study.seed + number
        for weights in WEIGHTS:
            asked = with_terms(study, *weights).model_copy(update={"seed": seed})
            write_row(seed, *weights, *cells_of(scans, told, asked, site))


if __name__ == "__main__":
    main()
