"""Training the points of the curve, and predicting the external patients with each.

The curve describes and chooses nothing: no knob, mix or threshold of the study is set by it. Its
classifiers are those of `centralized` in everything but their scans: as many steps, the weights of
lowest validation loss at the training sites.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast, final

from torch import nn

from sitesynth import seeds
from sitesynth.classifiers.ensemble import ClassifierConfig, Ensemble
from sitesynth.classifiers.prediction import predict_labelled
from sitesynth.classifiers.training import Examples, Validator
from sitesynth.evaluation.predictions import Predictions, read_predictions
from sitesynth.images import ImageSet, pool, read_images
from sitesynth.settings import (
    ClassifierSettings,
    CohortSettings,
    GridSettings,
    IntensitySettings,
    LabelUnit,
    SiteSettings,
    SupplementationSettings,
    TaskSettings,
)
from sitesynth.storage import write_text
from sitesynth.strategies.fitting import SiteLoader, build_learner
from sitesynth.strategies.mixes import pool_of
from sitesynth.strategies.pooled import Pooled
from sitesynth.strategies.protocol import Site
from sitesynth.strategies.side_by_side import train_side_by_side
from sitesynth.supplementation.amounts import Amount, Counts, scans_of
from sitesynth.supplementation.draws import draw_scans, weigh_alike
from sitesynth.tracking import OnStep


__all__ = ["Material", "read_material", "trace_curve"]


@final
@dataclass(frozen=True)
class Material:
    """What the curve is made of."""

    config: ClassifierConfig
    """Of the classifiers; no call is made of their probabilities, so that their threshold is one
    half."""
    real: Mapping[str, Examples]
    """By training site."""
    synthetic: Mapping[str, Examples]
    """By training site: the pool."""
    validators: Mapping[str, Validator]
    external: ImageSet
    """The frozen external scans."""
    label_unit: LabelUnit
    num_seeds: int
    seed: int
    """Root of the curve's randomness: not that of the strategies."""

    @property
    def num_real(self) -> Counts:
        """Real training scans by site and class."""
        return pool_of(self.real, self.config.classes)

    @property
    def num_synthetic(self) -> Counts:
        """Scans of the pool by site and class."""
        return pool_of(self.synthetic, self.config.classes)


def read_material(
    images: Path,
    synthetic: Path,
    *,
    cohort: CohortSettings,
    sites: SiteSettings,
    task: TaskSettings,
    grid: GridSettings,
    intensity: IntensitySettings,
    classifier: ClassifierSettings,
    supplementation: SupplementationSettings,
    seed: int,
) -> Material:
    """Load what the curve is made of.

    Args:
        images: Folder with every site's image set.
        synthetic: Folder with what the hub sampled from each site's bundle.
        cohort: As are all that follow: the section of params.yaml.
        sites: See there.
        task: See there.
        grid: See there.
        intensity: See there.
        classifier: See there.
        supplementation: See there.
        seed: Root seed of the study.

    Raises:
        TrainingError: If a site lacks a class, real or synthetic.
    """
    classes = cohort.labels[task.label]
    known = SiteLoader(task.label, classes, task.positive)
    real = {site: read_images(images / site) for site in sites.training}
    return Material(
        config=ClassifierConfig(
            strategy="supplementation",
            label=task.label,
            classes=classes,
            positive=task.positive,
            threshold=0.5,
            stages=None,
            sequences=cohort.sequences,
            grid=grid,
            mask_labels=cohort.mask_labels,
            intensity=intensity,
            classifier=classifier,
        ),
        real={site: known.load(found.in_split("train"), "real") for site, found in real.items()},
        synthetic={
            site: known.load(read_images(synthetic / site), "synthetic") for site in sites.training
        },
        validators={site: known.validator(found) for site, found in real.items()},
        external=pool([read_images(images / site).in_split("test") for site in sites.external]),
        label_unit=cohort.label_unit,
        num_seeds=supplementation.num_seeds,
        seed=seeds.derive_seed(seed, "supplementation"),
    )


def trace_curve(
    material: Material,
    amounts: Sequence[Amount],
    *,
    kept: Path,
    on_amount: Callable[[int], None] = lambda number: None,
) -> dict[Amount, Predictions]:
    """Train every replicate of every amount; predict the external patients with it.

    Args:
        material: What to learn from.
        amounts: The points of the curve.
        kept: Folder of finished points, from which a killed curve goes on.
        on_amount: Called after each point with its number, from 1.

    Raises:
        TrainingError: If a training diverges.
    """
    curve = {}
    for number, amount in enumerate(amounts, start=1):
        path = kept / f"{amount.name}.csv"
        if not path.exists():
            members = train_side_by_side(
                partial(_train, material, amount),
                material.num_seeds,
                on_step_of=lambda replicate: lambda step, losses: None,
            )
            table = predict_labelled(
                Ensemble(material.config, members),
                material.external,
                label_unit=material.label_unit,
            )
            write_text(path, table.to_csv(index=False, lineterminator="\n"))
        # The settings ask for a curve only where a class is positive.
        curve[amount] = cast("Predictions", read_predictions(path))
        on_amount(number)
    return curve


def _train(material: Material, amount: Amount, replicate: int, on_step: OnStep) -> nn.Module:
    """Train on one replicate's own draw from the pool.

    Replicates of one number begin with the same weights and see the same augmentations, whatever
    their amount, so that points of the curve differ in their scans only.
    """
    classes = material.config.classes
    rng = seeds.generator(material.seed, amount.name, "scans", replicate)
    counts = scans_of(material.num_real, amount.percentage)
    parts = {
        (site, "synthetic"): drawn
        for site, drawn in draw_scans(material.synthetic, counts, classes, rng=rng).items()
    }
    if amount.kind == "added":
        parts |= {(site, "real"): examples for site, examples in material.real.items()}
    weighed = dict(zip(parts, weigh_alike(parts.values(), num_classes=len(classes)), strict=True))
    consortium = {
        site: Site(
            real=weighed.get((site, "real")),
            synthetic=weighed.get((site, "synthetic")),
            validate=validate,
        )
        for site, validate in material.validators.items()
    }
    build = build_learner(
        material.config.classifier,
        like=material.external,
        num_classes=len(classes),
        seed=material.seed,
    )
    return Pooled(material.config.classifier).fit(
        consortium,
        build,
        seed=material.seed,
        member=replicate,
        on_step=on_step,
    )
