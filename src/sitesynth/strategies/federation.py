"""Fitting the federated strategy on NVFlare: the caller is the hub, and opens no scan."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sitesynth import seeds
from sitesynth.classifiers.ensemble import ClassifierConfig, Ensemble
from sitesynth.classifiers.network import build_classifier
from sitesynth.classifiers.training import choose_threshold
from sitesynth.settings import (
    ClassifierSettings,
    CohortSettings,
    FederatedSettings,
    GridSettings,
    IntensitySettings,
    SiteSettings,
    TaskSettings,
)
from sitesynth.strategies.averaging import Weights
from sitesynth.strategies.nvflare_engine import read_score
from sitesynth.strategies.parts import trained_names
from sitesynth.strategies.plan import Plan
from sitesynth.strategies.simulation import Event, simulate
from sitesynth.strategies.traffic import summarize_traffic
from sitesynth.tracking import OnStep


__all__ = ["announce", "conclude", "fit_federation"]


def announce(
    *,
    cohort: CohortSettings,
    sites: SiteSettings,
    task: TaskSettings,
    grid: GridSettings,
    classifier: ClassifierSettings,
    federated: FederatedSettings,
    seed: int,
) -> tuple[Plan, dict[int, Weights]]:
    """Return what a study's federated strategy is to train, and the weights to begin with.

    The arguments are sections of params.yaml, and its root seed.
    """
    classes = cohort.labels[task.label]
    models = {
        member: build_classifier(
            classifier,
            num_sequences=len(cohort.sequences),
            num_classes=len(classes),
            dims=len(grid.shape),
            rng=seeds.generator(seed, "classifier", member, "weights"),
        )
        for member in range(classifier.num_seeds)
    }
    plan = Plan(
        sites=tuple(sorted(sites.training)),
        label=task.label,
        classes=classes,
        positive=task.positive,
        sequences=cohort.sequences,
        dims=len(grid.shape),
        trained=trained_names(models[0]),
        classifier=classifier,
        federated=federated,
        seed=seed,
    )
    return plan, {member: model.state_dict() for member, model in models.items()}


def conclude(
    plan: Plan,
    best: Mapping[int, Weights],
    events: Sequence[Event],
    *,
    grid: GridSettings,
    mask_labels: tuple[int, ...] | None,
    intensity: IntensitySettings,
) -> Ensemble:
    """Return the classifier that a federation has trained.

    Args:
        plan: What was trained.
        best: By member, its best weights.
        events: What the hub wrote down; the sites' score of all members decides the threshold.
        grid: How scans were brought to their grid; kept with the classifier, as the next two are.
        mask_labels: Values of a mask that are inside it; None takes every value above 0.
        intensity: How intensities were brought to [0, 1].
    """
    members = []
    for number in sorted(best):
        member = build_classifier(
            plan.classifier,
            num_sequences=len(plan.sequences),
            num_classes=len(plan.classes),
            dims=plan.dims,
            rng=seeds.generator(plan.seed, "overwritten"),
        )
        member.load_state_dict(dict(best[number]))
        members.append(member.eval())
    (pooled,) = [read_score(event["score"]) for event in events if event["event"] == "score"]
    config = ClassifierConfig(
        strategy="federated",
        label=plan.label,
        classes=plan.classes,
        positive=plan.positive,
        threshold=choose_threshold(pooled),
        stages=None,
        sequences=plan.sequences,
        grid=grid,
        mask_labels=mask_labels,
        intensity=intensity,
        classifier=plan.classifier,
    )
    return Ensemble(config, members)


def fit_federation(
    images: Path,
    *,
    cohort: CohortSettings,
    sites: SiteSettings,
    task: TaskSettings,
    grid: GridSettings,
    intensity: IntensitySettings,
    classifier: ClassifierSettings,
    federated: FederatedSettings,
    seed: int,
    standings: Path,
    on_step_of: Callable[[int], OnStep],
) -> tuple[Ensemble, dict[str, Any]]:
    """Fit every seed of the federated strategy in NVFlare's simulator.

    Args:
        images: Folder of the training sites' image sets; each is opened by its site's process.
        cohort: The `cohort` section of params.yaml.
        sites: The `sites` section.
        task: The `task` section.
        grid: The `grid` section; kept with the classifier.
        intensity: The `intensity` section; kept with the classifier.
        classifier: The `classifier` section.
        federated: The `federated` section.
        seed: Root seed of the study.
        standings: Folder that outlives an interruption, which is then gone on from.
        on_step_of: Gives each member, from 0, the callback to tell its steps to.

    Returns:
        The strategy's classifier, the same as that of the in-process engine to the bit, and what
        was sent, as `summarize_traffic` tells it.

    Raises:
        TrainingError: If too few sites answered usably, or NVFlare failed.
    """
    plan, initial = announce(
        cohort=cohort,
        sites=sites,
        task=task,
        grid=grid,
        classifier=classifier,
        federated=federated,
        seed=seed,
    )
    on_step = {member: on_step_of(member) for member in initial}
    events: list[Event] = []

    def heard(event: Event) -> None:
        events.append(event)
        if event["event"] == "step":
            on_step[event["member"]](event["step"], event["losses"])
        elif event["event"] == "absence":
            sys.stderr.write(f"federated: went on without {event['reasons']}\n")
        elif event["event"] == "resumed":
            sys.stderr.write(
                f"federated: goes on after round {event['number']} of seed {event['member']}\n"
            )

    best = simulate(
        plan,
        initial,
        {site: images / site for site in plan.sites},
        standings=standings,
        on_event=heard,
    )
    ensemble = conclude(
        plan, best, events, grid=grid, mask_labels=cohort.mask_labels, intensity=intensity
    )
    return ensemble, summarize_traffic(plan, events)
