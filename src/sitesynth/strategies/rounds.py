"""The hub's loop over rounds, whatever carries the weights.

A site tries the weights of the last round just before it trains on them, so that a round costs one
message each way; after the last round, one more question asks for the score alone. Which round was
best is therefore known a message later, and its losses are told then.
"""

from collections.abc import Callable, Collection, Mapping
from typing import final

import torch
from torch import Tensor

from sitesynth.classifiers.training import ValidationScore, pool_scores
from sitesynth.settings import FederatedSettings
from sitesynth.strategies.answers import Answer, Ask, Question, usable_answers
from sitesynth.strategies.averaging import Weights, average_weights, step_toward
from sitesynth.tracking import OnStep


__all__ = ["Hub", "OnAbsence", "steps_of_round"]

OnAbsence = Callable[[Question, Mapping[str, str]], None]
"""Told which sites' answers a round went on without, and why."""


def steps_of_round(number: int, *, num_rounds: int, num_steps: int) -> int:
    """Return the local steps of round `number`, from 1, so that all rounds add up to num_steps."""
    return number * num_steps // num_rounds - (number - 1) * num_steps // num_rounds


@final
class Hub:
    """Who averages; it sees weights and sums, never a scan."""

    def __init__(
        self,
        ask: Ask,
        *,
        trained: Collection[str],
        federated: FederatedSettings,
        num_steps: int,
        on_absence: OnAbsence = lambda question, reasons: None,
    ) -> None:
        self.ask = ask
        self.trained = trained
        self.federated = federated
        self.num_steps = num_steps
        self.on_absence = on_absence

    def train(self, initial: Weights, *, member: int, on_step: OnStep) -> dict[str, Tensor]:
        """Train one member in rounds.

        Args:
            initial: The weights to begin with.
            member: Number of this training among the strategy's seeds.
            on_step: Told the losses of each round, at the step that it reached.

        Returns:
            The weights of lowest pooled validation loss; of equals, the earliest.

        Raises:
            TrainingError: If a round has too few usable answers.
        """
        rounds = self.federated.num_rounds
        weights, velocity = dict(initial), dict[str, Tensor]()
        best, lowest = weights, float("inf")
        step, losses = 0, [0.0]

        def judge(answers: Mapping[str, Answer]) -> None:
            nonlocal best, lowest
            loss = pool_scores(scores_of(answers)).loss
            if loss < lowest:
                best, lowest = weights, loss
            mean_loss = float(torch.tensor(losses).mean())
            on_step(step, {"loss": mean_loss, "validation_loss": loss})

        for number in range(1, rounds + 1):
            answers = self._ask(Question("train", member, number), weights)
            if number > 1:
                judge(answers)
            average = average_weights(
                [answer.weights for answer in answers.values()],
                [
                    answer.num_scans if self.federated.weighting == "scans" else 1
                    for answer in answers.values()
                ],
            )
            weights, velocity = step_toward(
                average,
                weights,
                velocity,
                trained=self.trained,
                learning_rate=self.federated.hub_learning_rate,
                momentum=self.federated.hub_momentum,
            )
            step += steps_of_round(number, num_rounds=rounds, num_steps=self.num_steps)
            losses = [loss for answer in answers.values() for loss in answer.losses]
        judge(self._ask(Question("score", member, rounds), weights))
        return best

    def decide(self, weights: Weights) -> ValidationScore:
        """Return how all members together do at all sites.

        Args:
            weights: All members' weights, named `<member>/<name>`.
        """
        question = Question("decide", 0, self.federated.num_rounds)
        return pool_scores(scores_of(self._ask(question, weights)))

    def _ask(self, question: Question, weights: Weights) -> dict[str, Answer]:
        usable, reasons = usable_answers(
            self.ask(question, weights),
            question,
            weights,
            trained=self.trained,
            federated=self.federated,
        )
        if reasons:
            self.on_absence(question, reasons)
        return usable


def scores_of(answers: Mapping[str, Answer]) -> list[ValidationScore]:
    """Return the scores of answers, in the order of the sites' names."""
    return [answers[site].score for site in sorted(answers)]  # type: ignore[misc]
