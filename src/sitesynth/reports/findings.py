"""The study's question and its answer, in words, from results/comparison.json alone.

A verdict follows from the interval of the difference in AUC, strategy minus reference, and the
margin (Piaggio et al., 2012, JAMA 308:2594, Figure 1):

    non-inferior   the interval lies above minus the margin
    not shown      the interval contains minus the margin
    inferior       the interval lies below minus the margin

Non-inferiority itself is decided by the comparison, which looks at two intervals; see
`sitesynth.evaluation.comparisons`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, final

from sitesynth.reports.numbers import show_p, show_score, show_signed
from sitesynth.settings import BASELINES, STAGED


__all__ = [
    "Finding",
    "Verdict",
    "answer",
    "describe_strategy",
    "find_comparison",
    "judge",
    "question",
    "subject_of",
]

Json = Mapping[str, Any]


class Verdict(Enum):
    """What a comparison shows; the value is what a badge says."""

    NON_INFERIOR = "non-inferior"
    NOT_SHOWN = "not shown"
    INFERIOR = "inferior"
    UNDEFINED = "undefined"


@final
@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict and the sentence that says it with its numbers."""

    verdict: Verdict
    sentence: str


def judge(entry: Json) -> Verdict:
    """Return what one entry of `comparisons` shows."""
    high = entry["auc_difference"]["high"]
    if high is None:
        return Verdict.UNDEFINED
    if entry["non_inferior"]:
        return Verdict.NON_INFERIOR
    return Verdict.INFERIOR if high < -entry["margin"] else Verdict.NOT_SHOWN


def subject_of(comparison: Json) -> str | None:
    """Return the strategy that the question is about: synthetic, or else the first compared."""
    compared = [e["a"] for e in comparison["comparisons"] if e["b"] == comparison["reference"]]
    return "synthetic" if "synthetic" in compared else next(iter(compared), None)


def find_comparison(comparison: Json, strategy: str) -> Json | None:
    """Return the entry that compares a strategy with the reference; None if there is none."""
    for entry in comparison["comparisons"]:
        if (entry["a"], entry["b"]) == (strategy, comparison["reference"]):
            found: Json = entry
            return found
    return None


def question(comparison: Json, *, training: Sequence[str]) -> str:
    """Say in one sentence what the study asks."""
    external = comparison["order"]["sites"]
    return (
        f"Can {_counted(len(training), 'hospital')} share generators of synthetic scans, instead "
        "of their scans or the many rounds of federated learning, and still get a classifier of "
        f"{comparison['task']} ({_told_apart(comparison)}) that is as good at "
        f"{_counted(len(external), 'hospital')} it has never seen?"
    )


def answer(comparison: Json) -> Finding:
    """Say in one sentence what the study found, with n, the interval and what it does not show."""
    subject = subject_of(comparison)
    entry = None if subject is None else find_comparison(comparison, subject)
    if subject is None or entry is None:
        return Finding(Verdict.UNDEFINED, "The study compares no strategy with another.")
    verdict = judge(entry)
    scope = (
        f"{entry['n']} patients ({_composition(comparison, entry)}) of "
        f"{_counted(len(comparison['order']['sites']), 'external hospital')}"
    )
    if verdict is Verdict.UNDEFINED:
        lacking = "are of one class" if comparison["positive"] else "lack a class"
        return Finding(
            verdict, f"The study cannot tell: the {scope} {lacking}, so no AUC is defined."
        )
    reached = comparison["strategies"][subject]["overall"]["auc"]["value"]
    difference = entry["auc_difference"]
    measured = (
        f"on {scope}, a classifier {describe_strategy(subject)} reached "
        f"{_figure(comparison)} of "
        f"{show_score(reached)}, {_change(difference['value'])} one "
        f"{describe_strategy(comparison['reference'])} (95 % interval of the difference "
        f"{show_signed(difference['low'])} to {show_signed(difference['high'])})"
    )
    opening, meaning = _meaning(verdict, entry)
    return Finding(verdict, f"{opening}: {measured}; {meaning}.")


def _figure(comparison: Json) -> str:
    if comparison["positive"]:
        return "an AUC"
    return f"a mean AUC of the {'findings' if 'side_by_side' in comparison else 'classes'}"


def _told_apart(comparison: Json) -> str:
    """Say between which classes the study decides, or which findings it looks for."""
    if comparison["positive"] is not None:
        return f"{comparison['positive']} or not"
    *others, last = comparison["classes"]
    if "side_by_side" in comparison:
        return f"each of {', '.join(others)} and {last}"
    return f"{', '.join(others)} or {last}"


def _composition(comparison: Json, entry: Json) -> str:
    if comparison["positive"] is not None:
        return f"{entry['positives']} {comparison['positive']}"
    return ", ".join(f"{entry['counts'][name]} {name}" for name in comparison["classes"])


def _meaning(verdict: Verdict, entry: Json) -> tuple[str, str]:
    """Return how the answer begins, and what the interval means for the margin."""
    margin = entry["margin"]
    p = f"{_shown_p(entry['delong_p'])}, adjusted {_shown_p(entry['delong_p_holm'])}"
    is_lower = entry["auc_difference"]["value"] < 0
    if entry["significant"]:
        significance = f"the difference is significant ({p})"
    else:
        significance = f"that it is not significant ({p}) does not show that the two are equal"
    match verdict:
        case Verdict.NON_INFERIOR:
            if entry["significant"] and is_lower:
                significance += ", but smaller than that"
            opening = f"Yes, to within {margin:g}"
            return opening, f"a loss of {margin:g} or more is excluded, and {significance}"
        case Verdict.INFERIOR:
            return "No", f"it loses more than the margin of {margin:g}, and {significance}"
        case _:
            return (
                "Not shown",
                f"a loss of more than the margin of {margin:g} is not excluded, and {significance}",
            )


def describe_strategy(name: str) -> str:
    """Say how a strategy's classifier was trained, to follow the word classifier."""
    if name in BASELINES:
        return f"that is a logistic regression on {_LOOKED_AT[name]}"
    how = ", stage by stage" if name.endswith(STAGED) else ""
    return f"{_describe_training(name.removesuffix(STAGED))}{how}"


def _describe_training(name: str) -> str:
    base, _, mix = name.partition("-")
    mixed = f"the {mix} mix of " if mix else ""
    match base:
        case "centralized":
            return "trained on the pooled real scans"
        case "federated":
            return "trained by federated averaging"
        case "synthetic":
            return f"trained on {mixed}synthetic scans alone"
        case "augmented":
            return f"trained on pooled real and {mixed}synthetic scans"
        case _:
            return f"trained on the real scans of {name.removeprefix('local-')} alone"


_LOOKED_AT = {
    "baseline-covariates": "covariates, without the images",
    "baseline-site": "the hospital's name",
    "baseline-intensity": "first-order intensities",
}


def _change(difference: float) -> str:
    if round(difference, 3) == 0:
        return "the same to three decimals as"
    return f"{show_score(abs(difference))} {'higher' if difference > 0 else 'lower'} than"


def _shown_p(p: float | None) -> str:
    shown = show_p(p)
    return f"p {shown}" if shown.startswith("<") else f"p = {shown}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
