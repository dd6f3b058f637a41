"""What a classifier could learn instead of the label: content of results/confounding.json.

    label_by_site        whether hospitals differ in the share of each class
    covariates_by_site   whether their patients and scanners differ
    label_by_covariate   what tells the label without an image, at the training sites
    site_from_measures   how well a hospital is told from the quality of its images

Words are compared by Cramer's V, with an interval by resampling patients, what V would be by chance
(it is never below 0) and a permutation test; numbers by standardized mean differences (Cohen's d
with the mean of both variances; interval by Hedges and Olkin, 1985). Nothing here is adjusted for
the number of comparisons, and nothing stops a study: ADR 34.

Axes: n = scans, r = resamples, then the table's.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from jaxtyping import Float64

from sitesynth.cohorts.cells import NUMBERS
from sitesynth.cohorts.quality import MEASURES
from sitesynth.patterns import of_class
from sitesynth.seeds import numpy_generator


__all__ = ["associate", "compare_means", "describe_confounding", "tell_sites_apart"]

NUM_RESAMPLES: Final = 999
NUM_PERMUTATIONS: Final = 99
NUM_FOLDS: Final = 5
SHRINKAGE: Final = 0.1
"""Of the covariance of the measures towards independence, which few scans of many measures need."""

ENDS: Final = (0.025, 0.975)
NORMAL: Final = 1.959964
DIGITS: Final = 4

Json = dict[str, Any]


def describe_confounding(
    checks: Mapping[str, Mapping[str, Any]],
    *,
    training: Sequence[str],
    label: str,
    positive: str | None,
    classes: Sequence[str],
    covariates: Sequence[str],
    seed: int,
) -> Json:
    """Describe how label, covariates and site hang together.

    Args:
        checks: By site: what `check_site` found.
        training: The training sites; the label is set against covariates at these only.
        label: The task's label.
        positive: The class that is set against the other; None sets each against the others.
        classes: The label's classes.
        covariates: What the cohort calls so.
        seed: Root seed.
    """
    patients = pd.DataFrame(_patients(checks, [label, *covariates]))
    known = patients[patients[label] != ""]
    here = known[known["site"].isin(training)]
    words = [name for name in covariates if name not in NUMBERS]
    numbers = [name for name in covariates if name in NUMBERS]

    def associated(table: pd.DataFrame, first: str, second: str, scope: str) -> Json | None:
        both = table[(table[first] != "") & (table[second] != "")]
        rng = numpy_generator(seed, "confounding", scope, first, second)
        return associate(both[first].tolist(), both[second].tolist(), rng=rng)

    def by_class(name: str) -> Json | None:
        if positive is not None:
            return compare_means(here[name], here[label] == positive)
        return {
            one: compare_means(here[name], of_class(here[label], label, one)) for one in classes
        }

    return {
        "label": label,
        "positive": positive,
        "label_by_site": {
            "all": associated(known, label, "site", "all"),
            "training": associated(here, label, "site", "training"),
        },
        "covariates_by_site": {name: associated(patients, name, "site", "all") for name in words}
        | {
            name: {site: compare_means(patients[name], patients["site"] == site) for site in checks}
            for name in numbers
        },
        "label_by_covariate": {name: associated(here, label, name, "training") for name in words}
        | {name: by_class(name) for name in numbers},
        "site_from_measures": tell_sites_apart(
            pd.DataFrame(_measures(checks)), rng=numpy_generator(seed, "confounding", "measures")
        ),
    }


def associate(
    first: Sequence[str], second: Sequence[str], *, rng: np.random.Generator
) -> Json | None:
    """Return Cramer's V of two words of the same patients; None where one of them is constant."""
    # Half a second to import.
    from scipy.stats import random_table  # noqa: PLC0415

    table = pd.crosstab(pd.Series(list(first)), pd.Series(list(second)))
    if min(table.shape) < 2:  # noqa: PLR2004
        return None
    counts = table.to_numpy(dtype=np.float64)
    n = int(counts.sum())
    null = random_table(counts.sum(axis=1), counts.sum(axis=0)).rvs(
        size=NUM_RESAMPLES, random_state=rng
    )
    drawn = rng.multinomial(n, (counts / n).ravel(), size=NUM_RESAMPLES)
    value = float(_cramer(counts[None])[0])
    by_chance = _cramer(np.asarray(null, dtype=np.float64))
    low, high = np.quantile(_cramer(drawn.reshape(-1, *counts.shape).astype(np.float64)), ENDS)
    return {
        "n": n,
        "cramers_v": {
            "value": round(value, DIGITS),
            "low": round(float(low), DIGITS),
            "high": round(float(high), DIGITS),
        },
        "by_chance": round(float(by_chance.mean()), DIGITS),
        "p": (1 + int((by_chance >= value - 1e-12).sum())) / (1 + NUM_RESAMPLES),
        "counts": {
            str(row): {str(name): int(count) for name, count in cells.items()}
            for row, cells in table.to_dict("index").items()
        },
    }


def compare_means(values: "pd.Series[str]", inside: "pd.Series[bool]") -> Json | None:
    """Return the standardized mean difference of some patients from all others.

    None where either has fewer than two known values, or none varies.
    """
    numbers = pd.to_numeric(values)
    ours, others = numbers[inside].dropna(), numbers[~inside].dropna()
    a, b = len(ours), len(others)
    if min(a, b) < 2:  # noqa: PLR2004
        return None
    spread = float(np.sqrt((ours.var(ddof=1) + others.var(ddof=1)) / 2))
    if spread == 0.0:
        return None
    value = float(ours.mean() - others.mean()) / spread
    half = NORMAL * float(np.sqrt((a + b) / (a * b) + value**2 / (2 * (a + b))))
    return {
        "n": [a, b],
        "mean": [round(float(ours.mean()), DIGITS), round(float(others.mean()), DIGITS)],
        "smd": {
            "value": round(value, DIGITS),
            "low": round(value - half, DIGITS),
            "high": round(value + half, DIGITS),
        },
    }


def tell_sites_apart(table: pd.DataFrame, *, rng: np.random.Generator) -> Json | None:
    """Return how well a linear discriminant tells sites from measures of scans it has not seen.

    Args:
        table: site, patient_id, and measures; NaN where not measured.
        rng: Source of the folds and permutations.

    Returns:
        Cross-validated balanced accuracy, by patient, beside that of permuted sites; None where a
        site has fewer patients than there are folds, or nothing was measured.
    """
    names = [
        name
        for name in table.columns
        if name not in {"site", "patient_id"} and table[name].std() > 0
    ]
    patients = table.groupby("patient_id")["site"].first()
    sites = sorted(set(patients))
    if not names or len(sites) < 2 or patients.value_counts().min() < NUM_FOLDS:  # noqa: PLR2004
        return None
    values = table[names].fillna(table[names].mean())
    x = ((values - values.mean()) / values.std(ddof=0)).to_numpy(dtype=np.float64)
    numbers = patients.map({site: number for number, site in enumerate(sites)})
    found = _balanced_accuracy(x, table["patient_id"], numbers, rng)
    permuted = [
        _balanced_accuracy(
            x,
            table["patient_id"],
            pd.Series(rng.permutation(numbers.to_numpy()), index=numbers.index),
            rng,
        )
        for _ in range(NUM_PERMUTATIONS)
    ]
    return {
        "n": len(table),
        "sites": len(sites),
        "measures": names,
        "balanced_accuracy": round(found, DIGITS),
        "by_chance": {
            "mean": round(float(np.mean(permuted)), DIGITS),
            "high": round(float(np.quantile(permuted, ENDS[1])), DIGITS),
        },
        "p": (1 + sum(value >= found for value in permuted)) / (1 + NUM_PERMUTATIONS),
    }


def _balanced_accuracy(
    x: Float64[np.ndarray, "n d"],
    patient_of: "pd.Series[str]",
    number_of: "pd.Series[int]",
    rng: np.random.Generator,
) -> float:
    """Return the mean over sites of how many scans are put there rightly, each left out once."""
    # A second to import, which the other stages that read cohorts need not pay.
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis  # noqa: PLC0415

    fold = pd.Series(0, index=number_of.index)
    for _, members in number_of.groupby(number_of):
        fold[members.index] = rng.permutation(np.arange(len(members)) % NUM_FOLDS)
    site, left_out = patient_of.map(number_of).to_numpy(), patient_of.map(fold).to_numpy()
    count = int(number_of.max()) + 1
    right = np.zeros(len(site), dtype=bool)
    for number in range(NUM_FOLDS):
        learn = left_out != number
        model = LinearDiscriminantAnalysis(
            solver="lsqr", shrinkage=SHRINKAGE, priors=np.full(count, 1 / count)
        ).fit(x[learn], site[learn])
        right[~learn] = model.predict(x[~learn]) == site[~learn]
    return float(np.mean([right[site == number].mean() for number in range(count)]))


def _cramer(tables: Float64[np.ndarray, "r a b"]) -> Float64[np.ndarray, " r"]:
    """Return Cramer's V of each table; a row or column without anybody adds nothing."""
    n = tables.sum(axis=(1, 2), keepdims=True)
    expected = tables.sum(axis=2, keepdims=True) * tables.sum(axis=1, keepdims=True) / n
    terms = np.divide(
        (tables - expected) ** 2, expected, out=np.zeros_like(tables), where=expected > 0
    )
    smaller = min(tables.shape[1:]) - 1
    values: Float64[np.ndarray, " r"] = np.sqrt(terms.sum(axis=(1, 2)) / n.ravel() / smaller)
    return values


def _scans(checks: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every scan that is in the study, with its site."""
    for site, result in checks.items():
        aside = {row["scan_id"] for row in result["quarantine"]}
        yield from ((site, scan) for scan in result["scans"] if scan["scan_id"] not in aside)


def _patients(
    checks: Mapping[str, Mapping[str, Any]], names: Sequence[str]
) -> Iterator[dict[str, str]]:
    """Yield each patient once, by the first scan of each label."""
    seen = set()
    for site, scan in _scans(checks):
        key = scan["patient_id"], scan["values"][names[0]]
        if key not in seen:
            seen.add(key)
            yield {"site": site} | {name: scan["values"][name] for name in names}


def _measures(checks: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for site, scan in _scans(checks):
        yield {"site": site, "patient_id": scan["patient_id"]} | {
            f"{column} {measure}": file.get(measure, np.nan)
            for column, file in scan["files"].items()
            if "likeness" in file
            for measure in MEASURES
        }
