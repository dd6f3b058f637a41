"""The hub's loop over rounds, whatever carries the weights.

A site tries the weights of the last round just before it trains on them, so that a round costs one
message each way; after the last round, one more question asks for the score alone. Which round was
best is therefore known a message later, and its losses are told then.

With `federated.encryption` the sites seal what they answer, the hub adds it, and what it sends next
is the sealed sum: the loop is the same, by scalars. In the end the sites open the best sum for it.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import final

import torch

from sitesynth import seeds
from sitesynth.classifiers.training import ValidationScore, pool_scores
from sitesynth.errors import TrainingError
from sitesynth.settings import FederatedSettings
from sitesynth.strategies.answers import Answer, Ask, Question, usable_answers
from sitesynth.strategies.averaging import Weights, average_weights, step_toward
from sitesynth.strategies.fixed_point import count_numbers
from sitesynth.strategies.sealed import is_sealed
from sitesynth.strategies.sealing import add_sealed
from sitesynth.tracking import OnStep


__all__ = ["Hub", "OnAbsence", "OnRound", "Standing", "steps_of_round"]

OnAbsence = Callable[[Question, Mapping[str, str]], None]
"""Told which sites' answers a round went on without, and why."""


def steps_of_round(number: int, *, num_rounds: int, num_steps: int) -> int:
    """Return the local steps of round `number`, from 1, so that all rounds add up to num_steps."""
    return number * num_steps // num_rounds - (number - 1) * num_steps // num_rounds


@final
@dataclass(frozen=True, slots=True)
class Standing:
    """Where a training stands after a complete round: all that its next round depends on."""

    number: int
    """The round; 0 before the first."""
    step: int
    """Local steps so far."""
    losses: tuple[float, ...]
    """Of the sites' steps in this round."""
    weights: Weights
    """What the hub has made of this round's answers, maybe sealed; not tried yet."""
    velocity: Weights
    """Of the hub's last step; empty without momentum."""
    best: Weights
    """Those of lowest validation loss so far."""
    lowest: float
    """Their loss; infinite while none has been tried."""
    best_number: int
    """The round that gave them; 0 for none."""


OnRound = Callable[[Standing], None]
"""Told where a training stands, after each round."""


@final
class Hub:
    """Who averages; it sees weights and sums, never a scan."""

    def __init__(
        self,
        ask: Ask,
        *,
        sites: Collection[str],
        trained: Collection[str],
        federated: FederatedSettings,
        num_steps: int,
        seed: int,
        on_absence: OnAbsence = lambda question, reasons: None,
    ) -> None:
        self.ask = ask
        self.sites = tuple(sorted(sites))
        self.trained = trained
        self.federated = federated
        self.num_steps = num_steps
        self.seed = seed
        self.on_absence = on_absence

    def train(
        self,
        initial: Weights,
        *,
        member: int,
        on_step: OnStep,
        resumed: Standing | None = None,
        on_round: OnRound = lambda standing: None,
    ) -> Weights:
        """Train one member in rounds.

        Args:
            initial: The weights to begin with.
            member: Number of this training among the strategy's seeds.
            on_step: Told the losses of each round, at the step that it reached.
            resumed: Where an interrupted training stood; None to begin.
            on_round: Told where the training stands, after each round.

        Returns:
            The weights of lowest pooled validation loss, opened; of equals, the earliest.

        Raises:
            TrainingError: If a round has too few usable answers, or the sites disagree on what the
                best sealed weights are.
        """
        standing = resumed or Standing(0, 0, (), initial, {}, initial, float("inf"), 0)
        rounds, patience = self.federated.num_rounds, self.federated.patience_rounds
        for number in range(standing.number + 1, rounds + 1):
            trained, tried = self._ask_round(member, number, standing.weights, initial)
            if number > 1:
                standing = judge(standing, tried, on_step)
                if patience is not None and standing.number - standing.best_number >= patience:
                    return self._open(member, standing, initial)
            standing = self._average(standing, trained)
            on_round(standing)
        question = Question("score", member, rounds)
        tried = self._ask(question, standing.weights, self.sites, like=initial)
        return self._open(member, judge(standing, tried, on_step), initial)

    def _open(self, member: int, standing: Standing, like: Weights) -> Weights:
        """Return the best weights; if they are sealed, as all sites open them."""
        if not is_sealed(standing.best):
            return standing.best
        question = Question("open", member, standing.best_number)
        answers = self._ask(question, standing.best, self.sites, like=like)
        first, *others = answers
        opened = answers[first].weights
        for site in others:
            told = answers[site].weights
            if not all(torch.equal(told[name], opened[name]) for name in opened):
                raise TrainingError(
                    f"{first} and {site} opened different weights from the same sum in the "
                    f"{question}. The sums are exact: find which of the two sites is not as it "
                    "should be, and run it again."
                )
        return opened

    def _ask_round(
        self, member: int, number: int, weights: Weights, like: Weights
    ) -> tuple[dict[str, Answer], dict[str, Answer]]:
        """Let some sites train from the weights, and all try them, from the second round on.

        Returns:
            The answers of those who trained, and of those who tried.
        """
        chosen = self._draw_sites(member, number)
        question = Question("train", member, number)
        trained = self._ask(question, weights, chosen, like=like)
        others = [site for site in self.sites if site not in chosen]
        if number == 1 or not others:
            return trained, trained
        least = self.federated.min_sites
        needed = len(others) if least is None else max(0, least - len(trained))
        question = Question("score", member, number - 1)
        return trained, trained | self._ask(question, weights, others, like=like, needed=needed)

    def _draw_sites(self, member: int, number: int) -> tuple[str, ...]:
        """Return who trains in a round."""
        count = self.federated.sites_per_round
        if count is None or count == len(self.sites):
            return self.sites
        rng = seeds.generator(self.seed, "classifier", member, "federated", "sites", number)
        order = torch.randperm(len(self.sites), generator=rng)[:count]
        return tuple(self.sites[place] for place in sorted(order.tolist()))

    def _average(self, standing: Standing, trained: Mapping[str, Answer]) -> Standing:
        """Return where a round leads to."""
        number = standing.number + 1
        steps = steps_of_round(
            number, num_rounds=self.federated.num_rounds, num_steps=self.num_steps
        )
        weights, velocity = self._combine(standing, trained)
        return replace(
            standing,
            number=number,
            step=standing.step + steps,
            losses=tuple(loss for answer in trained.values() for loss in answer.losses),
            weights=weights,
            velocity=velocity,
        )

    def _combine(
        self, standing: Standing, trained: Mapping[str, Answer]
    ) -> tuple[Weights, Weights]:
        """Return the next weights, and the hub's velocity."""
        if self.federated.encryption != "none":
            return add_sealed([answer.weights for answer in trained.values()]), {}
        by_scans = self.federated.weighting == "scans"
        average = average_weights(
            [answer.weights for answer in trained.values()],
            [answer.num_scans if by_scans else 1 for answer in trained.values()],
        )
        return step_toward(
            average,
            standing.weights,
            standing.velocity,
            trained=self.trained,
            learning_rate=self.federated.hub_learning_rate,
            momentum=self.federated.hub_momentum,
        )

    def decide(self, weights: Weights) -> ValidationScore:
        """Return how all members together do at all sites.

        Args:
            weights: All members' weights, named `<member>/<name>`.
        """
        question = Question("decide", 0, self.federated.num_rounds)
        return pool_scores(scores_of(self._ask(question, weights, self.sites, like=weights)))

    def _ask(
        self,
        question: Question,
        weights: Weights,
        sites: Collection[str],
        *,
        like: Weights,
        needed: int | None = None,
    ) -> dict[str, Answer]:
        """Return the usable answers.

        Args:
            question: What is asked.
            weights: What is sent along.
            sites: Who is asked.
            like: Weights of the names, shapes and types that an answer must have.
            needed: How many usable answers there must be; None for the quorum of those asked.
        """
        is_to_be_sealed = self.federated.encryption != "none"
        usable, reasons = usable_answers(
            self.ask(question, weights, sites),
            question,
            weights,
            like=like,
            sealed_numbers=count_numbers(like, len(self.sites)) if is_to_be_sealed else None,
            trained=self.trained,
            max_update_ratio=self.federated.max_update_ratio,
            needed=self.federated.quorum(len(sites)) if needed is None else needed,
        )
        if reasons:
            self.on_absence(question, reasons)
        return usable


def judge(standing: Standing, tried: Mapping[str, Answer], on_step: OnStep) -> Standing:
    """Return a standing whose weights have been tried, and tell its losses."""
    loss = pool_scores(scores_of(tried)).loss
    mean_loss = float(torch.tensor(standing.losses).mean())
    on_step(standing.step, {"loss": mean_loss, "validation_loss": loss})
    if loss < standing.lowest:
        return replace(standing, best=standing.weights, lowest=loss, best_number=standing.number)
    return standing


def scores_of(answers: Mapping[str, Answer]) -> list[ValidationScore]:
    """Return the scores of answers, in the order of the sites' names."""
    return [answers[site].score for site in sorted(answers)]  # type: ignore[misc]
