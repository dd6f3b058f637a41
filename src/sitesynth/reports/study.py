"""Everything that a finished study has to say, as read from its folders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import pandas as pd

from sitesynth.errors import MissingInputError
from sitesynth.evaluation.predictions import AnyPredictions, read_evaluations
from sitesynth.images import ImageSet, read_images
from sitesynth.privacy.pairs import NearestPairs, read_pairs
from sitesynth.settings import (
    BASELINES,
    CohortSettings,
    GridSettings,
    SiteSettings,
    TaskSettings,
)
from sitesynth.storage import read_json


__all__ = ["Results", "Study", "in_reading_order", "read_cards", "read_histories", "read_results"]

LOCAL = "local-"
"""How the strategies of one site begin."""

Json = Mapping[str, Any]


@final
@dataclass(frozen=True, slots=True)
class Study:
    """What the study is, from params.yaml and git."""

    name: str
    seed: int
    cohort: CohortSettings
    sites: SiteSettings
    task: TaskSettings
    grid: GridSettings
    is_phantom: bool
    """Whether its patients were made up."""
    num_resamples: int
    """Bootstrap resamples behind a band."""
    commit: str

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of the task's label, in order."""
        return self.cohort.labels[self.task.label]

    @property
    def negative(self) -> str | None:
        """The class that is not the positive one; None where every class is predicted."""
        if self.task.positive is None:
            return None
        return next(name for name in self.classes if name != self.task.positive)


@final
@dataclass(frozen=True, slots=True)
class Results:
    """What the study's stages found."""

    comparison: Json
    quality: Json
    privacy: Json
    exchange: Json
    registry: Json
    mixing: Json
    supplementation: Json
    frozen: Json
    predictions: Mapping[str, AnyPredictions]
    """By strategy, in reporting order."""
    checks: Mapping[str, Json]
    confounding: Json
    cards: Mapping[str, Json]
    images: Mapping[str, ImageSet]
    """By site, every site."""
    synthetic: Mapping[str, ImageSet]
    """By training site."""
    pairs: Mapping[str, Mapping[str, NearestPairs]]
    """By training site and kind of scan: those most like a training scan."""
    autoencoders: Mapping[str, pd.DataFrame]
    """Losses by step; by training site."""
    flows: Mapping[str, pd.DataFrame]
    classifiers: Mapping[str, pd.DataFrame]
    """Losses by step and member; by strategy, without the baselines, which are not trained."""


def read_results(
    study: Study,
    *,
    comparison: Path,
    quality: Path,
    privacy: Path,
    registry: Path,
    mixing: Path,
    supplementation: Path,
    evaluation: Path,
    checks: Path,
    confounding: Path,
    splits: Path,
    images: Path,
    synthetic: Path,
    pairs: Path,
    autoencoders: Path,
    flows: Path,
    classifiers: Path,
    bundles: Path,
) -> Results:
    """Read what every stage wrote; arguments are files, or folders with an entry per site.

    The ledger, exchange.json, lies beside the comparison, by the same stage: it holds times, so
    DVC does not hash it.

    Raises:
        SitesynthError: If something is missing or damaged; names it.
    """
    compared = in_reading_order(read_json(comparison))
    strategies = compared["order"]["strategies"]
    training = study.sites.training
    predictions, _ = read_evaluations(evaluation, strategies, test_sha256=compared["test_sha256"])
    return Results(
        comparison=compared,
        quality=read_json(quality),
        privacy=read_json(privacy),
        exchange=read_json(comparison.parent / "exchange.json"),
        registry=read_json(registry),
        mixing=read_json(mixing),
        supplementation=read_json(supplementation),
        frozen=read_json(splits / "frozen.json"),
        predictions=predictions,
        checks={site: read_json(checks / f"{site}.json") for site in study.sites.all},
        confounding=read_json(confounding),
        cards=read_cards(bundles, training),
        images={site: read_images(images / site) for site in study.sites.all},
        synthetic={site: read_images(synthetic / site) for site in training},
        pairs={site: read_pairs(pairs / f"{site}.safetensors") for site in training},
        autoencoders=read_histories(autoencoders, training),
        flows=read_histories(flows, training),
        classifiers=read_histories(
            classifiers, [name for name in strategies if name not in BASELINES]
        ),
    )


def in_reading_order(comparison: Json) -> Json:
    """Return a comparison with the reference first, then each site alone, and baselines last.

    The strategies of the question are then on one screen, as in the CATphishing paper's table.
    """
    reference, order = comparison["reference"], comparison["order"]

    def rank(name: str) -> int:
        if name in BASELINES:
            return 3
        return 0 if name == reference else 2 if name.startswith(LOCAL) else 1

    ordered = sorted(
        comparison["comparisons"],
        key=lambda entry: (entry["b"] != reference, rank(entry["a"]), rank(entry["b"])),
    )
    strategies = sorted(order["strategies"], key=rank)
    return {
        **comparison,
        "comparisons": ordered,
        "order": {**order, "strategies": strategies},
    }


def read_cards(bundles: Path, sites: Sequence[str]) -> dict[str, Json]:
    """Read the card of every site's bundle."""
    return {site: read_json(bundles / site / "card.json") for site in sites}


def read_histories(folder: Path, names: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Read the losses of several trainings; an empty cell is a loss not measured at that step.

    Raises:
        MissingInputError: If a training left none.
    """
    found = {}
    for name in names:
        path = folder / name / "history.csv"
        if not path.exists():
            raise MissingInputError(f"{path} does not exist; the training writes it, `dvc repro`.")
        found[name] = pd.read_csv(path)
    return found
