"""Where patients are too few for what a reader would ask of the study.

Nothing is measured here. Three powers that the stages have stated are held against a floor:

- external patients against the least of each class with which the study judges a subgroup
  (`evaluation.min_subgroup`): a whole that is smaller than its parts may be is not judged either;
- the AUC difference that the external patients can detect against the margin: where it is larger,
  a strategy that loses nothing is shown to be non-inferior in fewer than 80 % of studies, since
  that takes a margin of (1.96 + 0.84) standard errors, as the detectable difference is;
- the leak that a site's held-out patients can detect against `LARGE_LEAK`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from sitesynth.evaluation.ranking import smallest_class
from sitesynth.reports.findings import (
    Verdict,
    describe_strategy,
    find_comparison,
    judge,
    subject_of,
)
from sitesynth.reports.numbers import show_score
from sitesynth.reports.study import Results


__all__ = ["LARGE_LEAK", "tell_too_few"]

Json = Mapping[str, Any]

LARGE_LEAK: Final = 0.75
"""Membership AUC midway between guessing and certainty: three of four times the member is told from
the other patient. A gate that misses this in more than a fifth of audits supports no pass. Beside
four times as many training patients it takes 14 held-out ones with one attack, and 19 with four."""


def tell_too_few(results: Results) -> Iterator[str]:
    """Yield a sentence for each thing that patients are too few for; none where they are enough."""
    comparison = results.comparison
    yield from _of_external(results)
    yield from _of_the_margin(comparison)
    yield from _of_held_out(results.privacy)


def _of_external(results: Results) -> Iterator[str]:
    """Say that a class is too small for any answer, or for one at a hospital alone."""
    comparison = results.comparison
    predicted = results.predictions[comparison["reference"]]
    least = comparison["subgroups"]["min_patients"]
    asked = f"{least} of each class, with which this study judges a subgroup"
    everyone = np.ones(len(predicted.patients), dtype=bool)
    found = smallest_class(predicted, everyone)
    if found < least:
        yield (
            f"Too few external patients to support an answer, whatever it says: the smallest class "
            f"has {found} of {len(everyone)}, fewer than the {asked}."
        )
        return
    sizes = {
        site: smallest_class(predicted, np.array([of == site for of in predicted.sites]))
        for site in comparison["order"]["sites"]
    }
    few = [f"{site} ({size})" for site, size in sizes.items() if size < least]
    if few and len(sizes) > 1:
        yield (
            f"Too few patients for an answer at one hospital alone: {_listed(few)} in its smallest "
            f"class, fewer than the {asked}."
        )


def _of_the_margin(comparison: Json) -> Iterator[str]:
    """Say that non-inferiority could hardly have been shown, where it was not."""
    subject = subject_of(comparison)
    entry = None if subject is None else find_comparison(comparison, subject)
    if subject is None or entry is None or judge(entry) is not Verdict.NOT_SHOWN:
        return
    detectable, margin = entry["detectable_difference"], entry["margin"]
    if detectable is not None and detectable > margin:
        yield (
            f"Too few external patients to settle the question: with these {entry['n']}, a "
            f"classifier {describe_strategy(subject)} that truly loses nothing would be shown to "
            f"be within {margin:g} in fewer than 80 % of studies. That it is not shown says little."
        )


def _of_held_out(privacy: Json) -> Iterator[str]:
    """Say at which training hospitals a large leak would often pass."""
    few, leaks = [], []
    for site, found in privacy["sites"].items():
        leak = found["gate"]["detectable"]["membership_auc"]
        if leak > LARGE_LEAK:
            few.append(f"{site} ({found['patients']['held_out']})")
            leaks.append(show_score(leak))
    if few:
        ends = min(leaks) if min(leaks) == max(leaks) else f"{min(leaks)} to {max(leaks)}"
        yield (
            f"Too few held-out patients to judge generators by: {_listed(few)}. A generator that "
            f"gives away who was in training at an AUC of {ends} would still pass the gate in a "
            "fifth of audits or more, and its quality is measured with these patients, too."
        )


def _listed(words: list[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last
