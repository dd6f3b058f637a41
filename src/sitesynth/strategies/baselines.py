"""Fitting the baselines: what can be told without a network, on the scans of all training sites.

Scans weigh as in the networks' batches (each site and class alike) and the ridge penalty is chosen
as the networks' weights are, by the loss on the sites' validation scans. `baseline-site` alone is
fitted to the scans as they are, because under those weights a site tells nothing: it predicts the
share of positive scans at a training site, and of all training scans at a site that it does not
know, which every external site is. Its AUC there is 0.5 by construction.

Axes: n = scans, d = terms.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from sitesynth.classifiers.baseline import Baseline, Logistic, Term, standardize
from sitesynth.classifiers.predictors import facts_of
from sitesynth.classifiers.training import (
    ValidationScore,
    balance,
    choose_threshold,
    pool_scores,
    score_probabilities,
)
from sitesynth.errors import TrainingError
from sitesynth.images import ImageSet


__all__ = ["fit_baseline"]

STRENGTHS: Final = (0.001, 0.01, 0.1, 1.0, 10.0)
"""Inverse ridge penalties that are tried, for facts of unit variance."""

MIN_SPREAD: Final = 1e-6
"""A fact that varies less among training scans tells nothing."""

PRIOR: Final = 0.5
"""Scans of either class added to a site's counts (Jeffreys), lest its log odds be infinite."""

MAX_ITERATIONS: Final = 1000


def fit_baseline(
    name: str,
    *,
    real: Mapping[str, ImageSet],
    label: str,
    classes: Sequence[str],
    positive: str,
    covariates: Sequence[str],
) -> Baseline:
    """Fit a baseline to the training scans of all sites, and choose its threshold on validation.

    Args:
        name: The baseline.
        real: The scans of each training site.
        label: The task's label column.
        classes: Its classes, in order.
        positive: The class whose probability is predicted.
        covariates: What the cohort calls covariates.

    Raises:
        TrainingError: If a class has no scan to learn from or to choose with.
    """
    ordered = [real[site].labelled(label) for site in sorted(real)]
    train = [images.in_split("train") for images in ordered]
    held_out = [images.in_split("validation") for images in ordered]
    number = list(classes).index(positive)
    for purpose, sets in (("learn from", train), ("choose with", held_out)):
        _check_classes(sets, purpose, label=label, classes=classes)

    def facts(sets: Sequence[ImageSet]) -> list[pd.DataFrame]:
        return [facts_of(images, baseline=name, covariates=covariates) for images in sets]

    known = pd.concat(facts(train), ignore_index=True)
    is_positive = _concatenated(images.table[label] == positive for images in train)
    fits: list[tuple[float | None, Logistic]]
    if name == "baseline-site":
        fits = [(None, _fit_sites(known["site"], is_positive))]
    else:
        sites = _concatenated(images.table["site"] for images in train)
        fits = _fit_ridges(known, is_positive, sites)
    tables = facts(held_out)
    scored = [
        (
            pool_scores(
                [
                    _score(logistic.predict(table), images.labels(label, classes), number)
                    for table, images in zip(tables, held_out, strict=True)
                ]
            ),
            strength,
            logistic,
        )
        for strength, logistic in fits
    ]
    best, strength, logistic = min(scored, key=lambda entry: entry[0].loss)
    return Baseline(
        strategy=name,
        label=label,
        classes=tuple(classes),
        positive=positive,
        threshold=choose_threshold(best),
        covariates=tuple(covariates),
        strength=strength,
        logistic=logistic,
    )


def _fit_sites(sites: "pd.Series[str]", is_positive: Bool[np.ndarray, " n"]) -> Logistic:
    """Return each site's share of positive scans, as log odds beside those of all."""
    overall = _log_odds(is_positive)
    return Logistic(
        intercept=overall,
        terms=tuple(
            Term(
                fact="site",
                word=site,
                centre=0.0,
                spread=1.0,
                weight=_log_odds(is_positive[(sites == site).to_numpy()]) - overall,
            )
            for site in sorted(set(sites))
        ),
    )


def _log_odds(is_positive: Bool[np.ndarray, " n"]) -> float:
    count = int(is_positive.sum())
    return float(np.log((count + PRIOR) / (len(is_positive) - count + PRIOR)))


def _fit_ridges(
    facts: pd.DataFrame, is_positive: Bool[np.ndarray, " n"], sites: np.ndarray
) -> list[tuple[float | None, Logistic]]:
    """Return a logistic regression for every strength of the penalty."""
    # Half a second to import, which the strategies that fit networks need not pay.
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    strata = pd.factorize(pd.Series(sites) + " " + pd.Series(is_positive).astype(str), sort=True)
    weights = balance(torch.from_numpy(strata[0])).numpy()
    terms = _terms_of(facts)
    found: list[tuple[float | None, Logistic]] = []
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=MAX_ITERATIONS, tol=1e-6)
        model.fit(standardize(facts, terms), is_positive, sample_weight=weights / weights.mean())
        logistic = Logistic(
            intercept=float(model.intercept_[0]),
            terms=tuple(
                term.model_copy(update={"weight": float(weight)})
                for term, weight in zip(terms, model.coef_[0], strict=True)
            ),
        )
        found.append((strength, logistic))
    return found


def _terms_of(facts: pd.DataFrame) -> list[Term]:
    """Return a term of weight 0 for every number and every word that varies in training."""
    found = []
    for fact in facts:
        known = facts[fact].dropna()
        is_number = pd.api.types.is_numeric_dtype(known)
        for word in [None] if is_number else sorted(set(known)):
            values = known if word is None else (known == word).astype(float)
            spread = float(values.std(ddof=0)) if len(values) else 0.0
            if spread >= MIN_SPREAD:
                found.append(
                    Term(
                        fact=str(fact),
                        word=word,
                        centre=float(values.mean()),
                        spread=spread,
                        weight=0.0,
                    )
                )
    return found


def _score(chances: Float64[np.ndarray, " n"], labels: Tensor, positive: int) -> ValidationScore:
    """Sum up predictions of one site's held-out scans."""
    both = [1 - chances, chances] if positive == 1 else [chances, 1 - chances]
    return score_probabilities(
        torch.from_numpy(np.stack(both, axis=1)).float(), labels, positive=positive
    )


def _check_classes(
    sets: Sequence[ImageSet], purpose: str, *, label: str, classes: Sequence[str]
) -> None:
    """Refuse to go on without a class, as the networks do."""
    found = _concatenated(images.table[label] for images in sets)
    absent = [name for name in classes if name not in set(found)]
    if absent:
        raise TrainingError(
            f"none of the {len(found)} scans to {purpose} is labelled {label} = {absent}; "
            "a baseline needs scans of every class."
        )


def _concatenated(columns: Iterable["pd.Series[Any]"]) -> np.ndarray:
    return np.concatenate([column.to_numpy() for column in columns])
