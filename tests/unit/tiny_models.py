"""Untrained models and small scans, for tests of what one does with a finished study."""

from pathlib import Path
from typing import Literal

import numpy as np

from sitesynth import seeds
from sitesynth.classifiers.ensemble import ClassifierConfig, Ensemble
from sitesynth.classifiers.network import build_classifier
from sitesynth.generators.bundle import site_key, write_bundle
from sitesynth.generators.covariates import Covariates
from sitesynth.generators.generator import Generator, GeneratorConfig, build_networks
from sitesynth.settings import (
    AutoencoderSettings,
    ClassifierSettings,
    DiffusionSettings,
    GridSettings,
    IntensitySettings,
)
from sitesynth.volumes import Volume, write_nifti


TINY_COVARIATES = Covariates.model_validate(
    {
        "columns": [
            {"kind": "number", "name": "age", "mean": 50.0, "std": 10.0, "bounds": [0.0, 120.0]},
            {"kind": "category", "name": "sex", "categories": ["F", "M"]},
        ],
        "cells": [
            [{"patients": 12, "told": [{"mean": 60.0, "std": 4.0}, "F"]}],
            [
                {"patients": 6, "told": [{"mean": 40.0, "std": 4.0}, "F"]},
                {"patients": 6, "told": [None, "M"]},
            ],
        ],
    }
)
"""Of mutants half are women, around 40; the men's age is not told."""


def tiny_generator(
    grid: tuple[int, ...],
    spacing_mm: tuple[float, ...] | None = None,
    covariates: Covariates | None = None,
) -> Generator:
    """Return an untrained generator of site alder, with a sequence and a mask."""
    config = GeneratorConfig(
        site="alder",
        label="idh",
        classes=("wildtype", "mutant"),
        channels=("t1", "mask"),
        grid=grid,
        spacing_mm=spacing_mm,
        autoencoder=AutoencoderSettings(
            patch=(2,) * len(grid),
            channels=(8,),
            latent_channels=2,
            kl_weight=0.0,
            adversarial=None,
            perceptual=None,
            sequence_dropout=0.0,
            learning_rate=1e-3,
            batch_size=1,
            num_steps=1,
            validate_every=None,
            patience_looks=None,
        ),
        diffusion=DiffusionSettings(
            schedule="straight",
            patch=(1,) * len(grid),
            width=32,
            depth=1,
            convolutions=None,
            sizes=(),
            components=0,
            detail=0.5,
            num_views=3,
            warp=0.0,
            covariates=() if covariates is None else covariates.names,
            label_score=False,
            condition_dropout=0.1,
            ema_decay=0.9,
            dp=None,
            learning_rate=1e-3,
            batch_size=1,
            num_steps=1,
            validate_every=None,
            patience_looks=None,
        ),
        latent_mean=(0.0, 0.0),
        latent_std=1.0,
        covariates=covariates,
    )
    with seeds.isolated(seeds.generator(0, "generator")):
        generator = Generator(config, *build_networks(config))
    # Untrained, it would draw the same grey everywhere: its way out is zero.
    generator.autoencoder.shortcut_out.get_parameter("bias").data.fill_(0.5)
    return generator


def write_tiny_bundle(folder: Path, generator: Generator) -> Path:
    """Pack a generator, signed with its development key."""
    key, _ = site_key("alder", seed=1)
    write_bundle(folder, generator, card={}, card_text="# card\n", signing_key=key)
    return folder


def tiny_ensemble(
    grid: tuple[int, ...] = (8, 8, 4),
    region: Literal["head", "tumour"] = "head",
    mask_labels: tuple[int, ...] | None = None,
) -> Ensemble:
    """Return two untrained classifiers of t1 and flair, of a positive class."""
    classes = ("wildtype", "mutant")
    return _tiny_ensemble(grid, region, "idh", classes, "mutant", 0.5, mask_labels)


def tiny_ensemble_of_three() -> Ensemble:
    """Return two untrained classifiers of t1 and flair, of every class of three."""
    classes = ("glioblastoma", "astrocytoma", "oligodendroglioma")
    return _tiny_ensemble((8, 8, 4), "head", "tumour_type", classes, None, None)


def _tiny_ensemble(
    grid: tuple[int, ...],
    region: Literal["head", "tumour"],
    label: str,
    classes: tuple[str, ...],
    positive: str | None,
    threshold: float | None,
    mask_labels: tuple[int, ...] | None = None,
) -> Ensemble:
    settings = ClassifierSettings(
        init_features=8,
        growth_rate=8,
        layers=(1,),
        sequence_dropout=0.0,
        learning_rate=0.1,
        weight_decay=0.0,
        batch_size=8,
        num_steps=1,
        validate_every=1,
        num_seeds=2,
    )
    config = ClassifierConfig(
        strategy="synthetic",
        label=label,
        classes=classes,
        positive=positive,
        threshold=threshold,
        stages=None,
        sequences=("t1", "flair"),
        grid=GridSettings(region=region, shape=grid, spacing_mm=None, registration=None),
        mask_labels=mask_labels,
        intensity=IntensitySettings(
            bias_field=None,
            foreground="head",
            scale="range",
            low_percentile=1.0,
            high_percentile=99.0,
            landmarks=None,
        ),
        classifier=settings,
    )
    members = [
        build_classifier(
            settings,
            num_sequences=2,
            num_classes=len(classes),
            dims=len(grid),
            rng=seeds.generator(0, "tiny", number),
        ).eval()
        for number in range(2)
    ]
    return Ensemble(config, members)


def write_tiny_scan(folder: Path, name: str, *, tilt: float) -> dict[str, str]:
    """Write a bright ball, of a gradient that is its own, and return its row of a table."""
    x, y, z = np.indices((12, 12, 10))
    ball = (x - 6) ** 2 + (y - 6) ** 2 + (z - 5) ** 2 < 16
    t1 = np.where(ball, 100 + 5 * x + tilt * y, 0).astype(np.float32)
    for sequence, voxels in (("t1", t1), ("flair", np.where(ball, 400 - t1, 0))):
        path = folder / f"{name}_{sequence}.nii.gz"
        write_nifti(path, Volume(voxels.astype(np.float32), np.eye(4)), dtype=np.float32)
    return {"patient_id": name, "t1": f"{name}_t1.nii.gz", "flair": f"{name}_flair.nii.gz"}
