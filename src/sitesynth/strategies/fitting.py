"""Fitting a strategy on image sets: who sees what, several seeds, one decision threshold."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from torch import nn

from sitesynth import seeds
from sitesynth.classifiers.ensemble import ClassifierConfig, Ensemble
from sitesynth.classifiers.network import build_classifier
from sitesynth.classifiers.stages import number_stages
from sitesynth.classifiers.training import (
    Examples,
    Validator,
    check_findings,
    choose_threshold,
    examples_of,
    pool_scores,
)
from sitesynth.errors import SettingsError
from sitesynth.images import ImageSet, read_images
from sitesynth.patterns import are_side_by_side
from sitesynth.settings import (
    ClassifierSettings,
    FederatedSettings,
    GridSettings,
    IntensitySettings,
    StageSettings,
)
from sitesynth.strategies.catalogue import (
    admit,
    build_strategy,
    choosers,
    is_staged,
    members,
    needs_real,
    needs_synthetic,
    stays_at_sites,
)
from sitesynth.strategies.mixes import Mix, mix_of, take
from sitesynth.strategies.protocol import Learner
from sitesynth.strategies.side_by_side import train_side_by_side
from sitesynth.strategies.staged import fit_in_stages
from sitesynth.strategies.validation import load_held_out, validator_of
from sitesynth.tracking import OnStep


__all__ = ["SiteLoader", "build_learner", "count_learned", "fit_strategy", "visible_scans"]


def fit_strategy(
    name: str,
    *,
    real: Mapping[str, ImageSet],
    synthetic: Mapping[str, ImageSet],
    mixes: Mapping[str, Mix],
    label: str,
    classes: Sequence[str],
    positive: str | None,
    stages: Sequence[StageSettings] | None,
    grid: GridSettings,
    mask_labels: tuple[int, ...] | None,
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
        synthetic: What the hub sampled from each site's bundle: the pool.
        mixes: By name: how much of the pool to learn from.
        label: The task's label column.
        classes: Its classes, in order.
        positive: The class whose probability is predicted; None predicts every class.
        stages: The stages of a strategy that is staged.
        grid: How scans were brought to their grid; kept with the classifier, as the next two are.
        mask_labels: Values of a mask that are inside it; None takes every value above 0.
        intensity: How intensities were brought to [0, 1].
        classifier: The `classifier` section of params.yaml.
        federated: The `federated` section of params.yaml.
        seed: Root seed of the study.
        on_step_of: Gives each member, from 0, the callback to tell its steps to.

    Returns:
        The strategy's classifier: one member per seed.

    Raises:
        SettingsError: If the strategy is staged, and there are no stages.
        TrainingError: If a site lacks a class to learn from, or a loss diverges.
    """
    known = SiteLoader(label, tuple(classes), positive)
    sites = admit(
        name,
        real={site: known.load(images.in_split("train"), "real") for site, images in real.items()}
        if needs_real(name)
        else {},
        synthetic=take(
            {site: known.load(images, "synthetic") for site, images in synthetic.items()},
            mixes[mix_of(name)],
            classes,
        )
        if needs_synthetic(name)
        else {},
        validators={site: known.validator(images) for site, images in real.items()},
    )
    if are_side_by_side(label):
        seen = [found for site in sites.values() for found in (site.real, site.synthetic) if found]
        check_findings(seen, classes)
    first = next(iter(real.values()))
    strategy = build_strategy(name, classifier=classifier, federated=federated)
    asked = _stages_of(name, stages)

    def build_of(num_classes: int, own_seed: int) -> Learner:
        return build_learner(classifier, like=first, num_classes=num_classes, seed=own_seed)

    def fit(member: int, on_step: OnStep) -> nn.Module:
        if asked is None:
            build = build_of(len(classes), seed)
            return strategy.fit(sites, build, seed=seed, member=member, on_step=on_step)
        return fit_in_stages(
            strategy,
            number_stages(asked, classes),
            sites,
            lambda stage, own_seed: build_of(len(stage.groups), own_seed),
            seed=seed,
            member=member,
            on_step=on_step,
        )

    trained = train_side_by_side(fit, classifier.num_seeds, on_step_of=on_step_of)
    pooled = pool_scores([site.validate(trained) for site in choosers(name, sites).values()])
    config = ClassifierConfig(
        strategy=name,
        label=label,
        classes=tuple(classes),
        positive=positive,
        threshold=choose_threshold(pooled),
        stages=asked,
        sequences=first.sequences,
        grid=grid,
        mask_labels=mask_labels,
        intensity=intensity,
        classifier=classifier,
    )
    return Ensemble(config, trained)


def _stages_of(
    name: str, stages: Sequence[StageSettings] | None
) -> tuple[StageSettings, ...] | None:
    """Return the stages to fit; None for a strategy that learns every class at once."""
    if not is_staged(name):
        return None
    if stages is None:
        raise SettingsError(f"'{name}' learns in stages, and task.stages is null; name the stages.")
    return tuple(stages)


def build_learner(
    classifier: ClassifierSettings, *, like: ImageSet, num_classes: int, seed: int
) -> Learner:
    """Return what builds a member's untrained classifier, for scans like those of a set."""

    def build(member: int) -> nn.Module:
        return build_classifier(
            classifier,
            num_sequences=len(like.sequences),
            num_classes=num_classes,
            dims=len(like.grid),
            rng=seeds.generator(seed, "classifier", member, "weights"),
        )

    return build


def visible_scans(
    name: str, images: Path, synthetic: Path, *, sites: Sequence[str]
) -> list[ImageSet]:
    """Return the scans that a strategy learns from and the hub may look at.

    Those of federated learning stay at their sites: none.
    """
    if stays_at_sites(name):
        return []
    chosen = members(name, sites)
    real = [read_images(images / site).in_split("train") for site in chosen if needs_real(name)]
    return real + [read_images(synthetic / site) for site in chosen if needs_synthetic(name)]


def count_learned(
    name: str, images: Path, mixes: Mapping[str, Mix], *, sites: Sequence[str], label: str
) -> dict[str, dict[str, int]]:
    """Count the scans that a strategy learns from, by origin and training site.

    Args:
        name: The strategy.
        images: Folder with each training site's image set, of which only the table is read.
        mixes: By name: how much of the synthetic pool to learn from.
        sites: The training sites.
        label: The task's label column; a scan of unknown label is not learned from.
    """
    chosen = members(name, sites)
    mix = mixes[mix_of(name)] if needs_synthetic(name) else {}
    train = {site: read_images(images / site).in_split("train") for site in chosen}
    return {
        "real": {site: len(train[site].labelled(label)) for site in chosen if needs_real(name)},
        "synthetic": {site: sum(mix[site].values()) for site in chosen if site in mix},
    }


@final
@dataclass(frozen=True, slots=True)
class SiteLoader:
    """Loads what a site offers to a task: scans to learn from, and judgements of models."""

    label: str
    classes: tuple[str, ...]
    positive: str | None

    def load(self, images: ImageSet, origin: str) -> Examples:
        """Load the labelled scans of one site."""
        return examples_of([images], label=self.label, classes=self.classes, origins=[origin])

    def validator(self, images: ImageSet) -> Validator:
        """Return a site's offer to try models on its validation scans."""
        held_out = load_held_out(images, label=self.label, classes=self.classes)
        return validator_of(held_out, classes=self.classes, positive=self.positive)
