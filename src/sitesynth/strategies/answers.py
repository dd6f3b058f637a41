"""What the hub asks of a site, what a site answers, and which answers the hub can use.

Nothing that is unusable reaches the average: an answer that did not come, has other names or
shapes, is not finite, or changes the weights far more than the other sites' do. Where weights are
sealed, the hub sees their size, their key and how much the site says that it changed; the rest is
judged by the sites, before they seal and after they open. What happens then is a knob: a round goes
on while at least `federated.min_sites` answers are usable, and ends the study with an error
otherwise. Either way the site and the reason are told.
"""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Literal, final

import torch

from sitesynth.classifiers.training import ValidationScore
from sitesynth.errors import TrainingError
from sitesynth.strategies.averaging import Weights
from sitesynth.strategies.sealed import key_of
from sitesynth.strategies.sealing import check_sealed


__all__ = ["Absence", "Answer", "Answers", "Ask", "Question", "usable_answers"]


@final
@dataclass(frozen=True, slots=True)
class Question:
    """What the hub asks of every site, along with weights."""

    kind: Literal["train", "score", "open", "decide"]
    """Train a round from the weights; try the weights; open the best of a training, if sealed; try
    all members' weights together."""
    member: int
    """Number of the training among the strategy's seeds."""
    number: int
    """Number of the round, from 1."""

    def __str__(self) -> str:
        """Return how messages call it."""
        what = {
            "train": "training",
            "score": "validation",
            "open": "opening",
            "decide": "choice of a threshold",
        }
        return f"{what[self.kind]} of seed {self.member}, round {self.number}"


@final
@dataclass(frozen=True, slots=True)
class Answer:
    """What a site answers: weights and sums, no scan."""

    weights: Weights
    """Where the site's training ended, or what a sum opens to; empty if only a score was asked."""
    num_scans: int
    losses: tuple[float, ...]
    """Of each local step."""
    score: ValidationScore | None
    """Of the weights that came with the question; None before the first round."""
    change: float | None = None
    """Length of what the training changed, where the hub cannot see it; see `change_of`."""


@final
@dataclass(frozen=True, slots=True)
class Absence:
    """That a site did not answer, or not usably, and why."""

    reason: str


Answers = Mapping[str, Answer | Absence]
"""By site, every one that was asked."""

Ask = Callable[[Question, Weights, Collection[str]], Answers]
"""Whatever carries a question and weights to the sites of these names, and their answers back."""


def usable_answers(
    answers: Answers,
    question: Question,
    weights: Weights,
    *,
    like: Weights,
    sealed_numbers: int | None,
    trained: Collection[str],
    max_update_ratio: float,
    needed: int,
) -> tuple[dict[str, Answer], dict[str, str]]:
    """Sort out the answers that can be used.

    Args:
        answers: What came back, by site.
        question: What was asked.
        weights: What was sent along.
        like: Weights of the names, shapes and types that an answer must have.
        sealed_numbers: How many numbers a site's sealed weights must hold; None if the hub reads
            weights.
        trained: Names of the weights that have gradients.
        max_update_ratio: See `federated.max_update_ratio` in params.yaml.
        needed: The least number of usable answers.

    Returns:
        The usable answers in the order of the sites' names, and why each other site has none.

    Raises:
        TrainingError: If fewer than `needed` are usable.
    """
    usable: dict[str, Answer] = {}
    reasons: dict[str, str] = {}
    for site in sorted(answers):
        answer = answers[site]
        if isinstance(answer, Absence):
            reasons[site] = answer.reason
        elif (problem := _problem_of(answer, question, like, sealed_numbers)) is not None:
            reasons[site] = problem
        else:
            usable[site] = answer
    if question.kind == "train":
        odd = {} if sealed_numbers is None else _other_keys(usable)
        changes = {
            site: _change_of(answer, weights, trained, is_sealed=sealed_numbers is not None)
            for site, answer in usable.items()
            if site not in odd
        }
        for site, reason in (odd | _outliers(changes, max_update_ratio)).items():
            reasons[site] = reason
            del usable[site]
    if len(usable) < needed:
        told = "; ".join(f"{site}: {reasons[site]}" for site in sorted(reasons))
        raise TrainingError(
            f"the {question} got {len(usable)} usable answers of {len(answers)} sites, and "
            f"federated.min_sites asks for {needed}. {told}. Mend the site, or lower "
            "federated.min_sites to go on without it."
        )
    return usable, reasons


def change_of(there: Weights, here: Weights, trained: Collection[str]) -> float:
    """Return the Euclidean norm of what a site's training changed."""
    squares = [(there[n].double() - here[n].double()).square().sum() for n in sorted(trained)]
    return math.sqrt(float(torch.stack(squares).sum()))


def _change_of(
    answer: Answer, weights: Weights, trained: Collection[str], *, is_sealed: bool
) -> float:
    """Return how much a site has changed: as it says where weights are sealed, else as it did."""
    if is_sealed:
        assert answer.change is not None  # noqa: S101 - see `_problems_of_sealed`
        return answer.change
    return change_of(answer.weights, weights, trained)


def _problem_of(
    answer: Answer, question: Question, like: Weights, sealed_numbers: int | None
) -> str | None:
    """Return what is wrong with an answer by itself, or None."""
    problems: Iterator[str] = iter(())
    if question.kind != "open":
        problems = _problems_of_score(answer.score, question)
    if question.kind == "train":
        problems = chain(problems, _problems_of_training(answer))
    if question.kind == "train" and sealed_numbers is not None:
        problems = chain(problems, _problems_of_sealed(answer, sealed_numbers))
    elif question.kind in {"train", "open"}:
        problems = chain(problems, _problems_of_weights(answer, like))
    return next(iter(problems), None)


def _problems_of_score(score: ValidationScore | None, question: Question) -> Iterator[str]:
    if score is None:
        if question.kind != "train" or question.number > 1:
            yield "its answer holds no validation score"
    elif not (math.isfinite(score.loss_sum) and score.weight_sum > 0 and score.num_scans > 0):
        yield f"its validation loss is {score.loss_sum} over {score.num_scans} scans"


def _problems_of_training(answer: Answer) -> Iterator[str]:
    if answer.num_scans < 1 or not answer.losses:
        yield f"it trained on {answer.num_scans} scans in {len(answer.losses)} steps"


def _problems_of_sealed(answer: Answer, num_numbers: int) -> Iterator[str]:
    if answer.change is None or not math.isfinite(answer.change):
        yield f"it says that it changed the weights by {answer.change}"
    try:
        check_sealed(answer.weights, num_numbers=num_numbers)
    except TrainingError as error:
        yield str(error)


def _other_keys(answers: Mapping[str, Answer]) -> dict[str, str]:
    """Return the sites that seal with another key than most; of equals, than the first."""
    keys = {site: key_of(answer.weights) for site, answer in answers.items()}
    if not keys:
        return {}
    ((usual, _),) = Counter(keys.values()).most_common(1)
    return {
        site: f"it seals with the key {key}, and most with {usual}; give all sites the same "
        "(`sitesynth federate prepare --key`)"
        for site, key in keys.items()
        if key != usual
    }


def _problems_of_weights(answer: Answer, weights: Weights) -> Iterator[str]:
    odd = sorted(set(answer.weights) ^ set(weights))
    if odd:
        yield f"its weights are of another network ({len(odd)} names differ, first {odd[0]})"
        return
    for name in sorted(weights):
        value, asked = answer.weights[name], weights[name]
        if value.shape != asked.shape or value.dtype != asked.dtype:
            yield (
                f"its {name} is {value.dtype} of shape {list(value.shape)}, not {asked.dtype} of "
                f"shape {list(asked.shape)}"
            )
        elif not bool(torch.isfinite(value).all()):
            yield f"its {name} holds {int((~torch.isfinite(value)).sum())} numbers not finite"


def _outliers(changes: Mapping[str, float], ratio: float) -> dict[str, str]:
    """Return the sites whose change exceeds `ratio` times the lower median change."""
    if not changes:
        return {}
    # The lower one, so that of two sites the larger is measured against the smaller.
    median = statistics.median_low(changes.values())
    return {
        site: f"its change of {change:.3g} is {change / median:.3g} times the median {median:.3g}, "
        f"over federated.max_update_ratio {ratio:g}"
        for site, change in changes.items()
        if change > ratio * median > 0
    }
