"""Fitting the baselines: what can be told without a network, on the scans of all training sites.

Scans weigh as in the networks' batches (each site and class alike) and the ridge penalty is chosen
as the networks' weights are, by the loss on the sites' validation scans. `baseline-site` alone is
fitted to the scans as they are, because under those weights a site tells nothing: it predicts the
classes' shares at a training site, and those of all training scans at a site that it does not know,
which every external site is. Its AUC there is 0.5 by construction.

A task that predicts every class has a multinomial regression in the place of a binary one; one of
findings, a binary regression for each.

Axes: n = scans, d = terms, c = classes of which a probability is predicted, k = classes.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from sitesynth.classifiers.baseline import Baseline, Logistic, Term, standardize
from sitesynth.classifiers.predictors import facts_of
from sitesynth.classifiers.training import (
    ValidationScore,
    balance,
    choose_threshold,
    pool_scores,
    score_findings,
    score_probabilities,
)
from sitesynth.errors import TrainingError
from sitesynth.images import ImageSet
from sitesynth.patterns import are_side_by_side
from sitesynth.settings import FINDINGS


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
    positive: str | None,
    covariates: Sequence[str],
) -> Baseline:
    """Fit a baseline to the training scans of all sites, and choose its threshold on validation.

    Args:
        name: The baseline.
        real: The scans of each training site.
        label: The task's label column.
        classes: Its classes, in order.
        positive: The class whose probability is predicted; None predicts every class.
        covariates: What the cohort calls covariates.

    Raises:
        TrainingError: If a class has no scan to learn from or to choose with.
    """
    ordered = [real[site].labelled(label) for site in sorted(real)]
    train = [images.in_split("train") for images in ordered]
    held_out = [images.in_split("validation") for images in ordered]
    if are_side_by_side(label):
        return _fit_findings(
            name, train=train, held_out=held_out, findings=classes, covariates=covariates
        )
    number = None if positive is None else list(classes).index(positive)
    for purpose, sets in (("learn from", train), ("choose with", held_out)):
        _check_classes(sets, purpose, label=label, classes=classes)

    def facts(sets: Sequence[ImageSet]) -> list[pd.DataFrame]:
        return [facts_of(images, baseline=name, covariates=covariates) for images in sets]

    known = pd.concat(facts(train), ignore_index=True)
    labels = np.concatenate([images.labels(label, classes).numpy() for images in train])
    outcomes = labels if number is None else (labels == number).astype(np.int64)
    fits: list[tuple[float | None, Logistic]]
    if name == "baseline-site":
        fits = [(None, _fit_sites(known["site"], outcomes, is_binary=number is not None))]
    else:
        sites = _concatenated(images.table["site"] for images in train)
        fits = _fit_ridges(
            known, outcomes, sites, is_binary=number is not None, terms=_terms_of(known)
        )
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


def _fit_findings(
    name: str,
    *,
    train: Sequence[ImageSet],
    held_out: Sequence[ImageSet],
    findings: Sequence[str],
    covariates: Sequence[str],
) -> Baseline:
    """Fit a regression to each finding, on the scans of which it is known; one penalty for all."""

    def facts(sets: Sequence[ImageSet]) -> list[pd.DataFrame]:
        return [facts_of(images, baseline=name, covariates=covariates) for images in sets]

    known = pd.concat(facts(train), ignore_index=True)
    sites = _concatenated(images.table["site"] for images in train)
    labels = np.concatenate([images.findings(findings).numpy() for images in train])
    columns = []
    for finding, column in zip(findings, labels.T, strict=True):
        inside = column >= 0
        if set(column[inside]) != {0, 1}:
            raise TrainingError(
                f"of the {int(inside.sum())} scans to learn from whose {finding} is known, all or "
                "none have it; a baseline needs both."
            )
        there = known[inside].reset_index(drop=True)
        if name == "baseline-site":
            fits: list[tuple[float | None, Logistic]] = [
                (None, _fit_sites(there["site"], column[inside], is_binary=True))
            ]
        else:
            # The terms of all findings are alike, lest what one lacks be another's.
            fits = _fit_ridges(
                there, column[inside], sites[inside], is_binary=True, terms=_terms_of(known)
            )
        columns.append(fits)
    tables = facts(held_out)
    scored = []
    for alike in zip(*columns, strict=True):
        logistic = _side_by_side([found for _, found in alike])
        scores = [
            score_findings(
                torch.from_numpy(logistic.predict(table)).float(), images.findings(findings)
            )
            for table, images in zip(tables, held_out, strict=True)
        ]
        scored.append((pool_scores(scores).loss, alike[0][0], logistic))
    _, strength, logistic = min(scored, key=lambda entry: entry[0])
    return Baseline(
        strategy=name,
        label=FINDINGS,
        classes=tuple(findings),
        positive=None,
        threshold=None,
        covariates=tuple(covariates),
        strength=strength,
        logistic=logistic,
    )


def _side_by_side(logistics: Sequence[Logistic]) -> Logistic:
    """Return several regressions on the same terms as one, with a score for each."""
    terms: dict[tuple[str, str | None], list[Term]] = {}
    for logistic in logistics:
        for term in logistic.terms:
            terms.setdefault((term.fact, term.word), []).append(term)
    return Logistic(
        intercepts=tuple(found.intercepts[0] for found in logistics),
        terms=tuple(
            same[0].model_copy(update={"weights": tuple(term.weights[0] for term in same)})
            for same in terms.values()
        ),
        side_by_side=True,
    )


def _fit_sites(
    sites: "pd.Series[str]", outcomes: Int64[np.ndarray, " n"], *, is_binary: bool
) -> Logistic:
    """Return each site's shares of the outcomes, as scores beside those of all."""
    num_outcomes = int(outcomes.max()) + 1

    def scores(inside: Bool[np.ndarray, " n"]) -> Float64[np.ndarray, " c"]:
        counts = np.bincount(outcomes[inside], minlength=num_outcomes) + PRIOR
        logs: Float64[np.ndarray, " k"] = np.log(counts / counts.sum())
        return logs[1:] - logs[0] if is_binary else logs

    overall = scores(np.ones(len(outcomes), dtype=bool))
    return Logistic(
        intercepts=tuple(overall.tolist()),
        terms=tuple(
            Term(
                fact="site",
                word=site,
                centre=0.0,
                spread=1.0,
                weights=tuple((scores((sites == site).to_numpy()) - overall).tolist()),
            )
            for site in sorted(set(sites))
        ),
    )


def _fit_ridges(
    facts: pd.DataFrame,
    outcomes: Int64[np.ndarray, " n"],
    sites: np.ndarray,
    *,
    is_binary: bool,
    terms: Sequence[Term],
) -> list[tuple[float | None, Logistic]]:
    """Return a logistic regression for every strength of the penalty."""
    # Half a second to import, which the strategies that fit networks need not pay.
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    strata = pd.factorize(pd.Series(sites) + " " + pd.Series(outcomes).astype(str), sort=True)
    weights = balance(torch.from_numpy(strata[0])).numpy()
    if not terms:
        raise TrainingError(
            f"nothing varies among the {len(facts)} scans to learn from in {list(facts)}, so a "
            "baseline of it tells nothing; leave it out of the strategies."
        )
    found: list[tuple[float | None, Logistic]] = []
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=MAX_ITERATIONS, tol=1e-6)
        model.fit(standardize(facts, terms), outcomes, sample_weight=weights / weights.mean())
        intercepts, coefficients = model.intercept_, model.coef_
        if not is_binary and len(intercepts) == 1:
            # Two classes, both predicted: half of the log odds for one, half against the other.
            intercepts, coefficients = (
                np.concatenate([-found / 2, found / 2]) for found in (intercepts, coefficients)
            )
        logistic = Logistic(
            intercepts=tuple(intercepts.tolist()),
            terms=tuple(
                term.model_copy(update={"weights": tuple(weights_of.tolist())})
                for term, weights_of in zip(terms, coefficients.T, strict=True)
            ),
        )
        found.append((strength, logistic))
    return found


def _terms_of(facts: pd.DataFrame) -> list[Term]:
    """Return a term without weights for every number and every word that varies in training."""
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
                        weights=(),
                    )
                )
    return found


def _score(
    chances: Float64[np.ndarray, "n c"], labels: Tensor, positive: int | None
) -> ValidationScore:
    """Sum up predictions of one site's held-out scans."""
    if positive is not None:
        both = [1 - chances, chances] if positive == 1 else [chances, 1 - chances]
        chances = np.concatenate(both, axis=1)
    return score_probabilities(torch.from_numpy(chances).float(), labels, positive=positive)


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
