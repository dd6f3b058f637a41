"""What a flow loses by training with noise: held-out loss, KID and external AUC against epsilon.

Phantoms stand for the patients of one hospital. One autoencoder and one latent scale from other
phantoms, so that a bundle's epsilon is the flow's; then a flow for each noise multiplier, with the
same batches expected and as many steps, and one without noise. Each draws a synthetic cohort, which
is measured

- by the flow's mean loss on phantoms that nobody trained on;
- by KID and FID to those, in the units of the training phantoms (the first row has the training
  phantoms in the place of synthetic ones: the best to be expected);
- by the AUC of classifiers that learned from it, on further phantoms of other scanners.

    python -m benchmarks.private_training [--patients 120] [--steps 100] [--noise 0.5 1 2]

A small grid; some three minutes of one core. Every row is a function of its arguments.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.flows import train_generator, write_row
from benchmarks.held_out import HeldOut, draw_cohort
from benchmarks.variants import external_auc
from sitesynth import seeds
from sitesynth.classifiers.training import examples_of
from sitesynth.generators.autoencoder_training import train_autoencoder
from sitesynth.generators.latents import encode_scans, measure_scale
from sitesynth.generators.phantoms import MUTANT_FRACTION, NOBODY, draw_phantoms
from sitesynth.images import ImageSet
from sitesynth.phantom.consortium import draw_patients
from sitesynth.privacy.accounting import epsilon_of
from sitesynth.settings import Settings, load_settings


__all__ = ["main"]

GRID: Final = {"shape": [16, 16, 16], "spacing_mm": [6.75, 6.75, 6.0]}
BATCH_SIZE: Final = 32
CLIP_NORM: Final = 1.0
NUM_HELD_OUT: Final = 40
NUM_EXTERNAL: Final = 80
NUM_OTHERS: Final = 32
"""Phantoms that the autoencoder and the scale come from."""
NUM_PER_CLASS: Final = 60
NUM_CLASSIFIERS: Final = 2


def study_of(*, steps: int, noise: float | None, num_patients: int) -> Settings:
    """Return the default study on a small grid, with or without noise."""
    raw: dict[str, Any] = load_settings(Path("params.yaml")).model_dump(mode="json")
    raw["grid"] |= GRID
    raw["autoencoder"] |= {"num_steps": 120, "validate_every": None}
    raw["latents"]["source"] = "phantom"
    private = {"noise_multiplier": noise, "clip_norm": CLIP_NORM, "delta": 0.1 / num_patients}
    raw["diffusion"] |= {
        "dp": None if noise is None else private,
        "batch_size": BATCH_SIZE,
        "num_steps": steps,
        "num_views": 4,
        "validate_every": None,
    }
    raw["classifier"] |= {"num_steps": 120, "validate_every": 40}
    return Settings.model_validate(raw)


def labelled(images: ImageSet, study: Settings, *, seed: int) -> ImageSet:
    """Return phantoms with the labels that they were drawn with."""
    assert study.phantom is not None  # noqa: S101
    drawn_with = {"num_patients": len(images), "mutant_fraction": MUTANT_FRACTION}
    anyone = next(iter(study.phantom.sites.values())).model_copy(update=drawn_with)
    patients = draw_patients(
        NOBODY, study.phantom.model_copy(update={"sites": {NOBODY: anyone}}), seed=seed
    )
    truth = {patient.patient_id: patient.idh for patient in patients}
    table = images.table.copy()
    table[study.task.label] = [truth[name] for name in table["patient_id"]]
    return replace(images, table=table)


def in_splits(images: ImageSet, *, num_held_out: int) -> ImageSet:
    """Return scans of which the last ones are held out."""
    table = images.table.copy()
    table.loc[len(images) - num_held_out :, "split"] = "validation"
    return replace(images, table=table)


def main() -> None:
    """Print a row per noise multiplier."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=120)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.5, 1.0, 2.0])
    given = parser.parse_args()
    plain = study_of(steps=given.steps, noise=None, num_patients=given.patients)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)

        def draw(name: str, count: int, seed: int) -> ImageSet:
            return draw_phantoms(
                folder / name,
                num_phantoms=count,
                cohort=plain.cohort,
                grid=plain.grid,
                intensity=plain.intensity,
                seed=seed,
            )

        known = given.patients + NUM_HELD_OUT
        everyone = labelled(draw("all", known + NUM_EXTERNAL, 1), plain, seed=1)
        number = range(len(everyone))
        hospital = in_splits(everyone.select(n < known for n in number), num_held_out=NUM_HELD_OUT)
        external = examples_of(
            [everyone.select(n >= known for n in number)],
            label=plain.task.label,
            classes=plain.classes,
            origins=["external"],
        )
        others = draw("others", NUM_OTHERS, 2)
        autoencoder = train_autoencoder(
            others, settings=plain.autoencoder, compute=plain.compute, seed=2, site=NOBODY
        )
        scale = measure_scale(
            encode_scans(others, autoencoder, num_views=2, rng=seeds.generator(2, "views"))
        )
        held_out = HeldOut.of(hospital)

        write_row("noise multiplier", "epsilon", "held-out loss", "KID", "FID", "external AUC")
        write_row(*["---"] * 6)
        write_row(
            "training phantoms",
            "",
            "",
            held_out.distances_to_training(),
            external_auc(hospital.in_split("train"), external, plain, NUM_CLASSIFIERS),
        )
        for noise in (None, *given.noise):
            study = study_of(steps=given.steps, noise=noise, num_patients=given.patients)
            generator, losses = train_generator(
                hospital, autoencoder, study, site="hospital", seed=1, scale=scale
            )
            epsilon = "none"
            if study.diffusion.dp is not None and noise is not None:
                told = epsilon_of(
                    noise_multiplier=noise,
                    sample_rate=BATCH_SIZE / given.patients,
                    num_steps=given.steps,
                    delta=study.diffusion.dp.delta,
                )
                epsilon = f"{told:.1f}"
            synthetic = draw_cohort(
                folder / f"noise {noise}", generator, study, num_per_class=NUM_PER_CLASS
            )
            write_row(
                "no noise" if noise is None else f"{noise:g}",
                epsilon,
                f"{np.mean(list(losses['validation'].values())):.3f}",
                held_out.distances_to(synthetic),
                external_auc(synthetic, external, study, NUM_CLASSIFIERS),
            )


if __name__ == "__main__":
    main()
