"""Fitting a strategy on image sets: who sees what, several seeds, one decision threshold."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from sitesynth import seeds
from sitesynth.classifiers.ensemble import ClassifierConfig, Ensemble
from sitesynth.classifiers.network import build_classifier
from sitesynth.classifiers.training import (
    Examples,
    ValidationScore,
    Validator,
    choose_threshold,
    examples_of,
    pool_scores,
    score,
    score_probabilities,
)
from sitesynth.images import ImageSet
from sitesynth.settings import (
    ClassifierSettings,
    FederatedSettings,
    GridSettings,
    IntensitySettings,
)
from sitesynth.strategies.catalogue import admit, build_strategy, needs_real, needs_synthetic
from sitesynth.tracking import OnStep


__all__ = ["fit_strategy"]


def fit_strategy(
    name: str,
    *,
    real: Mapping[str, ImageSet],
    synthetic: Mapping[str, ImageSet],
    label: str,
    classes: Sequence[str],
    positive: str,
    grid: GridSettings,
    intensity: IntensitySettings,
    classifier: ClassifierSettings,
    federated: FederatedSettings,
    seed: int,
    on_step_of: Callable[[int], OnStep],
) -> Ensemble:
    """Fit every seed of a strategy, and choose its threshold on the sites' validation scans.

    Args:
        name: The strategy.
        real: The scans of each training site: those of split train to learn from where the
            strategy may, those of split validation to try models on, at the site.
        synthetic: What the hub sampled from each site's bundle.
        label: The task's label column.
        classes: Its classes, in order.
        positive: The class whose probability is predicted.
        grid: How scans were brought to their grid; kept with the classifier.
        intensity: How intensities were brought to [0, 1]; kept with the classifier.
        classifier: The `classifier` section of params.yaml.
        federated: The `federated` section of params.yaml.
        seed: Root seed of the study.
        on_step_of: Gives each member, from 0, the callback to tell its steps to.

    Returns:
        The strategy's classifier: one member per seed.

    Raises:
        TrainingError: If a site lacks a class to learn from, or a loss diverges.
    """
    held_out = {
        site: _load({site: images.in_split("validation")}, label, classes, "real")[site]
        for site, images in real.items()
    }
    sites = admit(
        name,
        real=_load(
            {site: images.in_split("train") for site, images in real.items()},
            label,
            classes,
            "real",
        )
        if needs_real(name)
        else {},
        synthetic=_load(synthetic, label, classes, "synthetic") if needs_synthetic(name) else {},
        validators={
            site: _validator(examples, positive=classes.index(positive))
            for site, examples in held_out.items()
        },
    )
    first = next(iter(real.values()))

    def build(member: int) -> nn.Module:
        return build_classifier(
            classifier,
            num_sequences=len(first.sequences),
            num_classes=len(classes),
            dims=len(first.grid),
            rng=seeds.generator(seed, "classifier", member, "weights"),
        )

    strategy = build_strategy(name, classifier=classifier, federated=federated)
    members = [
        strategy.fit(sites, build, seed=seed, member=member, on_step=on_step_of(member))
        for member in range(classifier.num_seeds)
    ]
    config = ClassifierConfig(
        strategy=name,
        label=label,
        classes=tuple(classes),
        positive=positive,
        threshold=0.5,
        sequences=first.sequences,
        grid=grid,
        intensity=intensity,
        classifier=classifier,
    )
    untuned = Ensemble(config, members)
    scores = [_score_ensemble(untuned, held_out[site]) for site in sites]
    threshold = choose_threshold(pool_scores(scores))
    return Ensemble(config.model_copy(update={"threshold": threshold}), members)


def _load(
    sets: Mapping[str, ImageSet], label: str, classes: Sequence[str], origin: str
) -> dict[str, Examples]:
    return {
        site: examples_of([images], label=label, classes=classes, origins=[origin])
        for site, images in sets.items()
    }


def _validator(held_out: Examples, *, positive: int) -> Validator:
    def validate(model: nn.Module) -> ValidationScore:
        return score(model, held_out, positive=positive)

    return validate


def _score_ensemble(ensemble: Ensemble, held_out: Examples) -> ValidationScore:
    """Score the mean of the members' probabilities on one site's held-out scans."""
    positive = ensemble.config.classes.index(ensemble.config.positive)
    chance = ensemble.predict_members(held_out.images).mean(dim=0)
    both = torch.stack([1 - chance, chance] if positive == 1 else [chance, 1 - chance], dim=1)
    return score_probabilities(both, held_out.labels, positive=positive)
