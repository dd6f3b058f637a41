"""All strategies on the same external patients: the content of results/comparison.json.

Axes: n = patients, r = resamples.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Bool, Float

from sitesynth import seeds
from sitesynth.errors import CohortError
from sitesynth.evaluation.class_summaries import summarize_class_seeds, summarize_classes
from sitesynth.evaluation.intervals import CONFIDENCE, draw_resamples, percentile_interval
from sitesynth.evaluation.paired import (
    AucDifference,
    Discordance,
    adjust_by_holm,
    compare_correctness,
)
from sitesynth.evaluation.predictions import (
    AnyPredictions,
    ClassPredictions,
    FindingPredictions,
    Predictions,
    check_same_patients,
)
from sitesynth.evaluation.ranking import (
    auc_difference_of,
    auc_of_seeds,
    class_sizes,
    resampled_auc_of,
    smallest_class,
    who_is_right,
)
from sitesynth.evaluation.side_by_side import summarize_finding_seeds, summarize_findings
from sitesynth.evaluation.summaries import summarize, summarize_seeds, with_interval
from sitesynth.settings import BASELINES, STAGED


__all__ = ["choose_alpha", "choose_pairs", "compare_strategies"]

MIN_STRATUM = 5
"""Patients of a site with one pattern of findings, below whom it is no stratum of its own."""

LEVEL = 0.05
"""A Holm-adjusted p-value below this is called significant."""

ALPHA = 0.025
"""One-sided error of non-inferiority, and of either side of equivalence: a 95 % interval's."""

CEILING_AUC = 0.95
CEILING_PATIENTS = 80
CEILING_ALPHA = 0.01

ABOUT_INTERVALS = (
    "Intervals are 95 % and by patient, given the number of patients per site and class: AUC by "
    "DeLong on the logit scale; sensitivity and specificity by Wilson, accuracy and balanced "
    "accuracy by MOVER from those; Brier by stratified BCa bootstrap; ECE (15 equal-width bins) "
    "conservatively. Thresholds were chosen on validation patients."
)
ABOUT_SIGNIFICANCE = (
    "A difference is called significant if its DeLong p-value, adjusted by Holm over the "
    "comparisons of its family, is below 0.05. There are two families: strategies with one "
    "another, and baselines with the reference. Not significant does not mean equal: see "
    "non_inferior, equivalent and detectable_difference (80 % power, two-sided 5 %, before "
    "adjustment)."
)
ABOUT_CLASSES = (
    "Every class is predicted, and the most probable one is called. AUC (macro AUC), Brier, ECE "
    "and specificity are means over the classes, each against the rest, and every class counts "
    "alike; sensitivity is the mean recall, as balanced accuracy is. DeLong's variance is carried "
    "over to the mean of the AUCs; McNemar counts patients called their own class."
)
ABOUT_FINDINGS = (
    "Findings are told side by side, each from a probability of 0.5 on, and patients of whom each "
    "is known are judged. AUC is the mean over the findings, each counting alike, by DeLong's "
    "placements of the same patients; every other figure is such a mean, with the mean of the "
    "findings' ends, which is too wide. exact, and McNemar, count patients of whom every finding "
    "is called rightly. Differences of single findings are adjusted by Holm over the findings. In "
    "resamples, patterns of fewer than five patients of a site are drawn together."
)
ABOUT_NON_INFERIORITY = (
    "Non-inferior: the lower bounds by DeLong and by paired stratified bootstrap both lie above "
    "minus the margin. Equivalent: the upper bounds also lie below the margin. Their p-values are "
    "one-sided, by DeLong; that of equivalence is the larger of two (TOST). With seeds: the "
    "interval if the strategies were trained anew as well, by the spread of single trainings."
)

Labels = Bool[np.ndarray, " n"]
Weights = Float[np.ndarray, "r n"]
Json = dict[str, Any]


def family_of(strategy: str) -> str:
    """Return the family of tests that a strategy's comparisons belong to.

    That a network beats a baseline is no finding of the study but a condition of its having any:
    asking for it makes no other test stricter.
    """
    return "baselines" if strategy in BASELINES else "strategies"


def choose_pairs(strategies: Sequence[str], *, reference: str) -> list[tuple[str, str]]:
    """Return the comparisons of a study, each as (strategy, what it is compared with).

    Every strategy with the reference; a strategy on the tuned mix with the same on another one; the
    synthetic cohort with federated learning, which it would replace, and with each site alone; one
    that is learned in stages with the same at once, and with the reference in stages.
    """
    at_once = [name for name in strategies if not name.endswith(STAGED)]
    pairs = [(name, reference) for name in strategies if name != reference]
    pairs += [
        (tuned, name)
        for tuned in ("synthetic", "augmented")
        for name in at_once
        if tuned in strategies and name.startswith(f"{tuned}-")
    ]
    rivals = [name for name in at_once if name == "federated" or name.startswith("local-")]
    if "synthetic" in strategies and reference != "synthetic":
        pairs += [("synthetic", name) for name in rivals if name != reference]
    pairs += [
        (name, other)
        for name in strategies
        if name.endswith(STAGED)
        for other in (name.removesuffix(STAGED), f"{reference}{STAGED}")
        if other in strategies and other not in {name, reference}
    ]
    return pairs


def compare_strategies(
    predictions: Mapping[str, AnyPredictions],
    thresholds: Mapping[str, float | None],
    *,
    task: str,
    positive: str | None,
    sites: Sequence[str],
    reference: str,
    margin: float,
    num_resamples: int,
    test_sha256: str,
    seed: int,
) -> Json:
    """Compare strategies on the external sites.

    Args:
        predictions: By strategy, in reporting order.
        thresholds: By strategy: the probability from which a patient is called positive; None where
            every class is predicted.
        task: The label that is predicted.
        positive: Its positive class; None where every class is predicted.
        sites: The external sites, in reporting order; one without patients is reported with n = 0.
        reference: The strategy the others are compared with.
        margin: Largest loss of AUC that still counts as not inferior.
        num_resamples: Bootstrap resamples; all strategies share them.
        test_sha256: Digest of the frozen list of external patients.
        seed: Root seed. A site's resamples depend on nothing but it, the site and its patients.

    Returns:
        The content of results/comparison.json: `M` per strategy, overall and per site, and the
        paired comparisons of `choose_pairs`. What cannot be estimated is None, never NaN. Where
        every class is predicted, `M` is that of `summarize_classes`, of findings that of
        `summarize_findings`, and a comparison has the difference of each one's AUC in `classes`.

    Raises:
        CohortError: If strategies were tested on different patients, or on a site that is not
            external.
    """
    check_same_patients(predictions)
    test = next(iter(predictions.values()))
    strangers = sorted(set(test.sites) - set(sites))
    if strangers:
        raise CohortError(
            f"strategies are tested on external sites only ({list(sites)}), but predictions.csv "
            f"has patients of {strangers}. Run `dvc repro evaluate`."
        )
    weights = _draw_by_site(test, num_resamples=num_resamples, seed=seed)
    scopes = {site: np.array([name == site for name in test.sites]) for site in sites}
    scopes |= {"overall": np.ones(len(test.sites), dtype=bool)}
    described: Json = {}
    for name, predicted in predictions.items():
        figures = {
            scope: _summarize(
                predicted,
                inside,
                threshold=thresholds[name],
                weights=weights,
                rng=seeds.numpy_generator(seed, "evaluation", "calibration", name, scope),
            )
            for scope, inside in scopes.items()
        }
        described[name] = {
            "overall": figures.pop("overall"),
            "sites": figures,
            "threshold": thresholds[name],
            "seeds": _summarize_seeds(predicted),
        }
    right = {
        name: who_is_right(predicted, threshold=thresholds[name])
        for name, predicted in predictions.items()
    }
    resampled = {
        name: resampled_auc_of(predicted, weights)
        for name, predicted in predictions.items()
        if smallest_class(test, scopes["overall"])
    }
    pairs = [
        _Pair(
            a=a,
            b=b,
            predictions=(predictions[a], predictions[b]),
            discordance=compare_correctness(right[a], right[b]),
            seeds=(_known_aucs(predictions[a]), _known_aucs(predictions[b])),
            resampled=_defined(resampled[a] - resampled[b]) if resampled else None,
        )
        for a, b in choose_pairs(tuple(predictions), reference=reference)
    ]
    return {
        "task": task,
        "positive": positive,
        **({} if isinstance(test, Predictions) else {"classes": list(test.classes)}),
        **({"side_by_side": True} if isinstance(test, FindingPredictions) else {}),
        "strategies": described,
        "comparisons": _compare(pairs, margin=margin, scopes={s: scopes[s] for s in sites}),
        # The file's keys are sorted; these are in the order to report them in.
        "order": {"strategies": list(predictions), "sites": list(sites)},
        "reference": reference,
        "test_sha256": test_sha256,
        "num_resamples": num_resamples,
        "confidence": CONFIDENCE,
        "notes": [
            ABOUT_INTERVALS,
            ABOUT_SIGNIFICANCE,
            ABOUT_NON_INFERIORITY,
            *([ABOUT_CLASSES] if isinstance(test, ClassPredictions) else []),
            *([ABOUT_FINDINGS] if isinstance(test, FindingPredictions) else []),
        ],
    }


def _summarize(
    predicted: AnyPredictions,
    inside: Labels,
    *,
    threshold: float | None,
    weights: Weights,
    rng: np.random.Generator,
) -> Json:
    if isinstance(predicted, FindingPredictions):
        return summarize_findings(predicted, inside, weights=weights, rng=rng)
    if isinstance(predicted, ClassPredictions):
        return summarize_classes(predicted, inside, weights=weights, rng=rng)
    return summarize(predicted, inside, threshold=threshold, weights=weights, rng=rng)


def _summarize_seeds(predicted: AnyPredictions) -> Json:
    if isinstance(predicted, FindingPredictions):
        return summarize_finding_seeds(predicted)
    if isinstance(predicted, ClassPredictions):
        return summarize_class_seeds(predicted)
    return summarize_seeds(predicted)


def _defined(resampled: Float[np.ndarray, " r"]) -> Float[np.ndarray, " d"]:
    """Return the resamples that have an AUC: of findings, some may lack a rare one."""
    defined: Float[np.ndarray, " d"] = resampled[~np.isnan(resampled)]
    return defined


def _known_aucs(predicted: AnyPredictions) -> list[float]:
    """Return the AUC of each training alone; none if a class has no patient."""
    return [value for value in auc_of_seeds(predicted) if value is not None]


def _draw_by_site(test: AnyPredictions, *, num_resamples: int, seed: int) -> Weights:
    """Draw each site's resamples from its own generator, so that no site shifts another's."""
    sites = np.array(test.sites)
    weights = np.zeros((num_resamples, len(sites)))
    for site in np.unique(sites):
        members = sites == site
        weights[:, members] = draw_resamples(
            _strata(test, members),
            num_resamples=num_resamples,
            rng=seeds.numpy_generator(seed, "evaluation", "bootstrap", str(site)),
        )
    return weights


def _strata(test: AnyPredictions, members: Labels) -> list[str]:
    """Name the class of a site's patients; of findings their pattern, rare ones together."""
    names = [str(label) for label in test.labels[members]]
    if not isinstance(test, FindingPredictions):
        return names
    counts = Counter(names)
    return [name if counts[name] >= MIN_STRATUM else "rare" for name in names]


@final
@dataclass(frozen=True, slots=True)
class _Pair:
    """Two strategies on the same patients."""

    a: str
    b: str
    predictions: tuple[AnyPredictions, AnyPredictions]
    discordance: Discordance
    """Of patients called their own class."""
    seeds: tuple[Sequence[float], Sequence[float]]
    """The AUC of each training alone; empty if a class has no patient."""
    resampled: Float[np.ndarray, " r"] | None
    """Differences of AUC in paired resamples; None if a class has no patient."""

    @property
    def everyone(self) -> Labels:
        """All patients, as a group."""
        return np.ones(len(self.predictions[0].labels), dtype=bool)

    @property
    def sizes(self) -> list[int]:
        """Patients of each class."""
        return class_sizes(self.predictions[0], self.everyone)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The classes, where all are predicted, or the findings."""
        test = self.predictions[0]
        return None if isinstance(test, Predictions) else test.classes

    def difference(self, inside: Labels) -> AucDifference | None:
        """Compare the AUCs on some of the patients."""
        return auc_difference_of(*self.predictions, inside)


def _compare(pairs: Sequence[_Pair], *, margin: float, scopes: Mapping[str, Labels]) -> list[Json]:
    """Test every pair, and adjust the p-values for the number in each family."""
    differences = [pair.difference(pair.everyone) for pair in pairs]
    families = [family_of(pair.a) for pair in pairs]
    adjusted: dict[int, float] = {}
    for family in sorted(set(families)):
        known = {
            number: found.p
            for number, found in enumerate(differences)
            if found is not None and families[number] == family
        }
        adjusted |= dict(zip(known, adjust_by_holm([*known.values()]), strict=True))
    return [
        _compare_pair(pair, difference, p_holm=adjusted.get(number), margin=margin, scopes=scopes)
        for number, (pair, difference) in enumerate(zip(pairs, differences, strict=True))
    ]


def _compare_pair(
    pair: _Pair,
    difference: AucDifference | None,
    *,
    p_holm: float | None,
    margin: float,
    scopes: Mapping[str, Labels],
) -> Json:
    discordance, classes = pair.discordance, pair.classes
    entry: Json = {
        "a": pair.a,
        "b": pair.b,
        "family": family_of(pair.a),
        "n": len(pair.everyone),
        "positives": pair.sizes[1] if classes is None else None,
        "mcnemar_p": discordance.exact_p,
        "mcnemar_p_corrected": discordance.corrected_p,
        "n_discordant": discordance.num_patients,
        "only_a_right": discordance.only_first,
        "only_b_right": discordance.only_second,
        "margin": margin,
        "sites": _tell_each({site: pair.difference(inside) for site, inside in scopes.items()}),
    }
    if classes is not None:
        entry["counts"] = dict(zip(classes, pair.sizes, strict=True))
        entry["classes"] = _compare_classes(pair)
    if difference is None or pair.resampled is None or p_holm is None:
        nothing = with_interval(None, None)
        entry |= dict.fromkeys(
            ("auc_difference", "auc_difference_bootstrap", "auc_difference_with_seeds"), nothing
        )
        entry |= dict.fromkeys(("delong_p", "delong_p_holm", "detectable_difference", "alpha"))
        entry |= dict.fromkeys(("non_inferiority_p", "equivalence_p"))
        entry |= dict.fromkeys(("significant", "non_inferior", "equivalent"), False)
        return entry | {"statement": _undefined(pair)}
    alpha = choose_alpha(difference)
    bounds = (
        difference.interval(confidence=1 - 2 * alpha),
        percentile_interval(pair.resampled, confidence=1 - 2 * alpha),
    )
    non_inferior = all(bound.low > -margin for bound in bounds)
    entry |= {
        "auc_difference": with_interval(difference.value, difference.interval()),
        "auc_difference_bootstrap": with_interval(
            difference.value, percentile_interval(pair.resampled)
        ),
        "auc_difference_with_seeds": with_interval(
            difference.value, difference.interval_with_seeds(*pair.seeds)
        ),
        "delong_p": difference.p,
        "delong_p_holm": p_holm,
        "non_inferiority_p": difference.non_inferiority_p(margin),
        "equivalence_p": difference.equivalence_p(margin),
        "significant": p_holm < LEVEL,
        "detectable_difference": difference.detectable,
        "alpha": alpha,
        "non_inferior": non_inferior,
        "equivalent": non_inferior and all(bound.high < margin for bound in bounds),
    }
    return entry | {"statement": _state(entry)}


def _compare_classes(pair: _Pair) -> Json:
    """Return the difference in AUC of each class against the rest, on all patients."""
    first, second = pair.predictions
    if isinstance(first, Predictions) or isinstance(second, Predictions):
        return {}
    return _tell_each(
        {
            name: auc_difference_of(
                first.one_against_rest(number), second.one_against_rest(number), pair.everyone
            )
            for number, name in enumerate(first.classes)
        }
    )


def _tell_each(found: Mapping[str, AucDifference | None]) -> Json:
    """Return the difference at each site or of each class, with p-values adjusted over them."""
    known = {name: difference for name, difference in found.items() if difference is not None}
    adjusted = dict(
        zip(known, adjust_by_holm([difference.p for difference in known.values()]), strict=True)
    )
    return {
        name: {
            "auc_difference": with_interval(None, None)
            if difference is None
            else with_interval(difference.value, difference.interval()),
            "delong_p": None if difference is None else difference.p,
            "delong_p_holm": adjusted.get(name),
        }
        for name, difference in found.items()
    }


def choose_alpha(difference: AucDifference) -> float:
    """Return the one-sided error at which the bounds of non-inferiority are drawn.

    Near the ceiling with few patients in a class both bounds are too narrow: simulated type I
    error is .07 to .10 where .025 is asked for, and a stricter level brings it down
    (`benchmarks/coverage_of_intervals.py`).
    """
    is_at_ceiling = max(difference.first, difference.second) > CEILING_AUC
    smaller_class = min(difference.num_positives, difference.num_negatives)
    return CEILING_ALPHA if is_at_ceiling and smaller_class < CEILING_PATIENTS else ALPHA


def _state(entry: Json) -> str:
    """Say in one sentence what a comparison shows, and what it does not."""
    found = entry["auc_difference"]
    if round(found["value"], 3) == 0:
        change = "the same to three digits"
    else:
        direction = "higher" if found["value"] > 0 else "lower"
        change = f"{abs(found['value']):.3f} {direction}"
    if entry["significant"]:
        verdict = "a significant difference"
    elif entry["equivalent"]:
        verdict = "not significant"
    else:
        verdict = "not significant, which does not show equality"
    if entry["detectable_difference"] is not None and not entry["significant"]:
        power = (
            f"; these patients would have shown a true difference of "
            f"{entry['detectable_difference']:.3f} with 80 % power"
        )
    else:
        power = ""
    margin = entry["margin"]
    if entry["equivalent"]:
        shown = f"equivalent within {margin:g}"
    elif entry["non_inferior"]:
        shown = f"not inferior by more than {margin:g}"
    else:
        shown = f"non-inferiority at a margin of {margin:g} is not shown"
    return (
        f"{entry['a']} against {entry['b']} in {entry['n']} external patients "
        f"({_composition(entry)}): {_figure(entry)} {change} (95 % interval {found['low']:+.3f} to "
        f"{found['high']:+.3f}), {verdict} ({_shown_p(entry['delong_p'])}, adjusted "
        f"{_shown_p(entry['delong_p_holm'])}){power}; {shown}."
    )


def _composition(entry: Json) -> str:
    """Say how many patients there are of the positive class, or of each."""
    if entry["positives"] is not None:
        return f"{entry['positives']} positive"
    return ", ".join(f"{count} {name}" for name, count in entry["counts"].items())


def _figure(entry: Json) -> str:
    return "AUC" if entry["positives"] is not None else "macro AUC"


def _undefined(pair: _Pair) -> str:
    who = f"{pair.a} against {pair.b} in {len(pair.everyone)} external patients"
    if pair.classes is None:
        return f"{who}: all of one class, so no AUC is defined and nothing is shown."
    if isinstance(pair.predictions[0], FindingPredictions):
        return f"{who}: all or none have one of the findings, so no mean AUC is defined."
    absent = [name for name, count in zip(pair.classes, pair.sizes, strict=True) if not count]
    return f"{who}: none is {' or '.join(absent)}, so no macro AUC is defined; nothing is shown."


def _shown_p(p: float) -> str:
    """Show a p-value to three digits, and never as 0."""
    smallest = 0.001
    return f"p = {p:.3f}" if p >= smallest else f"p < {smallest:g}"
