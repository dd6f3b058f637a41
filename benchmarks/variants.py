"""What a network adds to a Gaussian, and diffusion to a GAN: generator variants at equal seconds.

Trains each variant of one site's generator for as many seconds, draws a synthetic cohort from each,
and measures

- the distance of its scans to the site's held-out ones (KID and FID, `sitesynth.quality`);
- the AUC, on the external sites, of classifiers that learned from them, over several trainings.

The first row has the site's own training scans in the place of synthetic ones: the best to be
expected. The Gaussian is fitted, which takes no steps. Encoding is part of every variant, and of no
one's seconds. A shared autoencoder takes as many steps on phantoms as the site's own on its scans.

    dvc repro preprocess && python -m benchmarks.variants [--seconds 40] [--classifiers 3]

Some fifteen minutes on one core. Seconds are of processor time, so that other work on the machine
does not count; how many steps they are, and so the table, still depends on the machine.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.flows import changed, train_generator
from benchmarks.held_out import HeldOut, draw_cohort
from sitesynth import seeds
from sitesynth.classifiers.network import build_classifier
from sitesynth.classifiers.training import Examples, examples_of, predict, train_on
from sitesynth.evaluation.metrics import auc
from sitesynth.generators.autoencoder import Autoencoder
from sitesynth.generators.autoencoder_training import train_autoencoder
from sitesynth.generators.generator import Generator
from sitesynth.generators.phantoms import NOBODY, draw_phantoms
from sitesynth.images import ImageSet, read_images
from sitesynth.settings import Settings, load_settings


__all__ = ["aucs_of", "external_auc", "external_scores", "main"]

VARIANTS: Final = (("gaussian", "own"), ("gan", "own"), ("flow", "own"), ("flow", "phantom"))

PROBE_STEPS: Final = 10
"""Steps by which a variant's speed is measured; the first is left out."""

NUM_PER_CLASS: Final = 60


def train_for(
    seconds: float, scans: ImageSet, autoencoder: Autoencoder, study: Settings, site: str
) -> tuple[Generator, int]:
    """Train a study's variant for some seconds of processor time; return it and its steps."""

    def trained(num_steps: int) -> tuple[Generator, list[float]]:
        moments: list[float] = []
        gan = study.generator.gan.model_copy(update={"num_steps": num_steps})
        generator, _ = train_generator(
            scans,
            autoencoder,
            changed(changed(study, "diffusion", num_steps=num_steps), "generator", gan=gan),
            site=site,
            on_step=lambda step, losses: moments.append(time.process_time()),
        )
        return generator, moments

    if study.generator.variant == "gaussian":
        return trained(1)[0], 0
    _, moments = trained(PROBE_STEPS)
    num_steps = int(seconds * (PROBE_STEPS - 1) / (moments[-1] - moments[0]))
    return trained(num_steps)[0], num_steps


def external_scores(
    learned: Examples, external: Examples, study: Settings, count: int, *, purpose: str
) -> list[np.ndarray]:
    """Return the external patients' probabilities by classifiers that learned from some scans.

    Args:
        learned: What all of them learn from.
        external: Whom they are tried on.
        study: A study whose task has a positive class.
        count: How many are trained, each with seeds of its own.
        purpose: Names their randomness.
    """
    assert study.task.positive is not None  # noqa: S101
    positive = study.classes.index(study.task.positive)
    scores = []
    for number in range(count):
        model = build_classifier(
            study.classifier,
            num_sequences=external.images.shape[1],
            num_classes=len(study.classes),
            dims=external.images.ndim - 2,
            rng=seeds.generator(study.seed, purpose, "weights", number),
        )
        train_on(
            model,
            learned,
            settings=study.classifier,
            scope=(purpose, number),
            seed=study.seed,
            num_steps=study.classifier.num_steps,
        )
        scores.append(predict(model, external.images)[:, positive].double().numpy())
    return scores


def aucs_of(scores: Sequence[np.ndarray], external: Examples, study: Settings) -> list[float]:
    """Return the AUC of each of several scores of the external patients."""
    assert study.task.positive is not None  # noqa: S101
    is_positive = (external.labels == study.classes.index(study.task.positive)).numpy()
    found = [auc(is_positive, each) for each in scores]
    return [value for value in found if value is not None]


def external_auc(learned: ImageSet, external: Examples, study: Settings, count: int) -> str:
    """Return the AUC of classifiers that learned from scans: each one's, and their mean."""
    examples = examples_of(
        [learned], label=study.task.label, classes=study.classes, origins=["any"]
    )
    scores = external_scores(examples, external, study, count, purpose="variants")
    found = aucs_of(scores, external, study)
    each = ", ".join(f"{value:.3f}" for value in found)
    return f"{np.mean(found):.3f} ({each})"


def varied(study: Settings, variant: str, source: str) -> Settings:
    """Return a study with another variant, checked anew; not guided, since not all can be."""
    raw: dict[str, Any] = study.model_dump(mode="json")
    raw["generator"]["variant"] = variant
    raw["latents"]["source"] = source
    raw["sampling"]["guidance"] = 1.0
    raw["diffusion"]["label_score"] &= variant == "flow"
    return Settings.model_validate(raw)


def main() -> None:
    """Print a row per variant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, default=Path("data/images"))
    parser.add_argument("--site", default="alder")
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--classifiers", type=int, default=3)
    given = parser.parse_args()
    study = load_settings(Path("params.yaml"), site=given.site)
    scans = read_images(given.images / given.site)
    training = scans.in_split("train")
    held_out = HeldOut.of(scans)
    external = examples_of(
        [read_images(given.images / site) for site in study.sites.external],
        label=study.task.label,
        classes=study.classes,
        origins=list(study.sites.external),
    )
    sys.stdout.write("| latent model | autoencoder | steps | KID | FID | external AUC |\n")
    sys.stdout.write("|---|---|---|---|---|---|\n")

    def row(name: str, source: str, steps: object, measured: str, utility: str) -> None:
        sys.stdout.write(f"| {name} | {source} | {steps} | {measured} | {utility} |\n")
        sys.stdout.flush()

    row(
        "training scans",
        "",
        "",
        held_out.distances_to_training(),
        external_auc(training, external, study, given.classifiers),
    )
    autoencoders: dict[str, Autoencoder] = {}
    whose = {"own": given.site, "phantom": NOBODY}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for variant, source in VARIANTS:
            changed = varied(study, variant, source)
            if source not in autoencoders:
                learned = training
                if source == "phantom":
                    learned = draw_phantoms(
                        folder / "phantoms",
                        num_phantoms=changed.latents.num_phantoms,
                        cohort=changed.cohort,
                        grid=changed.grid,
                        intensity=changed.intensity,
                        seed=changed.seed,
                    )
                autoencoders[source] = train_autoencoder(
                    learned,
                    settings=changed.autoencoder,
                    compute=changed.compute,
                    seed=changed.seed,
                    site=whose[source],
                )
            generator, steps = train_for(
                given.seconds, scans, autoencoders[source], changed, given.site
            )
            drawn = draw_cohort(
                folder / f"{variant} {source}", generator, changed, num_per_class=NUM_PER_CLASS
            )
            row(
                variant,
                source,
                steps,
                held_out.distances_to(drawn),
                external_auc(drawn, external, study, given.classifiers),
            )


if __name__ == "__main__":
    main()
