"""What the hub asks of a site, what a site answers, and which answers the hub can use.

Nothing that is unusable reaches the average: an answer that did not come, has other names or
shapes, is not finite, or changes the weights far more than the other sites' do. What happens then
is a knob: a round goes on while at least `federated.min_sites` answers are usable, and ends the
study with an error otherwise. Either way the site and the reason are told.
"""

import math
import statistics
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Literal, final

import torch

from sitesynth.classifiers.training import ValidationScore
from sitesynth.errors import TrainingError
from sitesynth.strategies.averaging import Weights


__all__ = ["Absence", "Answer", "Answers", "Ask", "Question", "usable_answers"]


@final
@dataclass(frozen=True, slots=True)
class Question:
    """What the hub asks of every site, along with weights."""

    kind: Literal["train", "score", "decide"]
    """Train a round from the weights; try the weights; try all members' weights together."""
    member: int
    """Number of the training among the strategy's seeds."""
    number: int
    """Number of the round, from 1."""

    def __str__(self) -> str:
        """Return how messages call it."""
        what = {"train": "training", "score": "validation", "decide": "choice of a threshold"}
        return f"{what[self.kind]} of seed {self.member}, round {self.number}"


@final
@dataclass(frozen=True, slots=True)
class Answer:
    """What a site answers: weights and sums, no scan."""

    weights: Weights
    """Where the site's training ended; empty if it was asked for a score."""
    num_scans: int
    losses: tuple[float, ...]
    """Of each local step."""
    score: ValidationScore | None
    """Of the weights that came with the question; None before the first round."""


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
    trained: Collection[str],
    max_update_ratio: float,
    needed: int,
) -> tuple[dict[str, Answer], dict[str, str]]:
    """Sort out the answers that can be used.

    Args:
        answers: What came back, by site.
        question: What was asked.
        weights: What was sent along.
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
        elif (problem := _problem_of(answer, question, weights)) is not None:
            reasons[site] = problem
        else:
            usable[site] = answer
    if question.kind == "train":
        changes = {site: change_of(usable[site].weights, weights, trained) for site in usable}
        for site, reason in _outliers(changes, max_update_ratio).items():
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


def _problem_of(answer: Answer, question: Question, weights: Weights) -> str | None:
    """Return what is wrong with an answer by itself, or None."""
    problems = _problems_of_score(answer.score, question)
    if question.kind == "train":
        problems = chain(problems, _problems_of_training(answer, weights))
    return next(iter(problems), None)


def _problems_of_score(score: ValidationScore | None, question: Question) -> Iterator[str]:
    if score is None:
        if question.kind != "train" or question.number > 1:
            yield "its answer holds no validation score"
    elif not (math.isfinite(score.loss_sum) and score.weight_sum > 0 and score.num_scans > 0):
        yield f"its validation loss is {score.loss_sum} over {score.num_scans} scans"


def _problems_of_training(answer: Answer, weights: Weights) -> Iterator[str]:
    if answer.num_scans < 1 or not answer.losses:
        yield f"it trained on {answer.num_scans} scans in {len(answer.losses)} steps"
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
