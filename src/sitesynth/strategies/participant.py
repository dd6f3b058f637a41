"""A site's half of a round: try the hub's weights, and train from them."""

import copy
import time
from collections.abc import Callable, Mapping
from typing import final

import torch
from torch import Tensor, nn

from sitesynth import seeds
from sitesynth.classifiers.training import Examples, ValidationScore, train_on
from sitesynth.settings import ClassifierSettings, FederatedSettings
from sitesynth.strategies.answers import Answer, Question, change_of
from sitesynth.strategies.averaging import Weights
from sitesynth.strategies.damping import damp
from sitesynth.strategies.parts import normalization_names, trained_names
from sitesynth.strategies.protocol import Site
from sitesynth.strategies.rounds import steps_of_round
from sitesynth.strategies.sealed import is_sealed
from sitesynth.strategies.sealing import Seal
from sitesynth.tracking import OnStep
from sitesynth.training import learning_rate_at


__all__ = ["Participant", "join_members", "split_members", "train_locally"]


@final
class Participant:
    """A site that answers the hub's questions."""

    def __init__(
        self,
        name: str,
        site: Site,
        model: nn.Module,
        *,
        settings: ClassifierSettings,
        federated: FederatedSettings,
        seed: int,
        noise_key: str = "",
        seal: Seal | None = None,
    ) -> None:
        """Sit down with one's scans.

        Args:
            name: The site's name; names the randomness.
            site: Its scans.
            model: A classifier to work in, on its device; what it holds does not matter.
            settings: The `classifier` section of params.yaml.
            federated: The `federated` section of params.yaml.
            seed: Root seed of the study.
            noise_key: What nobody else knows, so that nobody else can draw the noise that damps
                the site's updates, and take it off. Empty where all are on one machine.
            seal: How its weights are sealed, with `federated.encryption`; None without.
        """
        # Never in plain text by mistake.
        assert (seal is None) == (federated.encryption == "none")  # noqa: S101
        self.name = name
        self.site = site
        self.model = model
        self.settings = settings
        self.federated = federated
        self.seed = seed
        self.noise_key = noise_key
        self.seal = seal
        self.protection_s = 0.0
        """Processor seconds spent so far on sealing, opening and damping."""
        self.own: dict[int, Weights] = {}
        """By member: the normalization that stays here from round to round."""

    def answer(self, question: Question, weights: Weights) -> Answer:
        """Answer one question about some weights.

        Raises:
            TrainingError: If the local training diverges, or weights cannot be sealed or opened.
        """
        if question.kind == "decide":
            return Answer({}, 0, (), self.site.validate(self._members(weights)))
        weights = self._opened(weights)
        if question.kind == "open":
            return Answer(weights, 0, (), None)
        self.model.load_state_dict(dict(weights))
        if question.kind == "score":
            return Answer({}, 0, (), self.site.validate([self.model]))
        is_judged = question.number > 1
        score = self.site.validate([self.model]) if is_judged else None
        assert self.site.real is not None  # noqa: S101
        losses: list[float] = []

        def heard(_: int, told: Mapping[str, float]) -> None:
            losses.append(told["loss"])

        trained = train_locally(
            self.model,
            {**weights, **self.own.get(question.member, {})},
            self.site.real,
            settings=self.settings,
            federated=self.federated,
            site=self.name,
            member=question.member,
            number=question.number,
            seed=self.seed,
            on_step=heard,
        )
        if self.federated.normalization == "local":
            names = normalization_names(self.model)
            self.own[question.member] = {name: trained[name] for name in names}
        return self._protected(trained, weights, question, tuple(losses), score)

    def _opened(self, weights: Weights) -> Weights:
        """Return the hub's weights as numbers."""
        if not is_sealed(weights):
            return weights
        assert self.seal is not None  # noqa: S101
        started = time.thread_time()
        opened = self.seal.open(weights, like=self.model.state_dict())
        self.protection_s += time.thread_time() - started
        return opened

    def _protected(
        self,
        trained: Weights,
        weights: Weights,
        question: Question,
        losses: tuple[float, ...],
        score: ValidationScore | None,
    ) -> Answer:
        """Return the answer of a training: damped and sealed as the knobs ask for."""
        assert self.site.real is not None  # noqa: S101
        num_scans = len(self.site.real)
        started = time.thread_time()
        leaving, change = self._damped(trained, weights, question), None
        if self.seal is not None:
            change = change_of(leaving, weights, trained_names(self.model))
            leaving = self.seal.seal(leaving, num_scans=num_scans)
        self.protection_s += time.thread_time() - started
        return Answer(leaving, num_scans, losses, score, change)

    def _damped(self, trained: Weights, weights: Weights, question: Question) -> Weights:
        """Return what leaves the site of a training that began at the hub's weights."""
        if self.federated.clip_norm is None:
            return trained
        member, number = question.member, question.number
        scope = ("classifier", member, "federated", self.name, number, "noise", self.noise_key)
        return damp(
            trained,
            weights,
            trained=trained_names(self.model),
            clip_norm=self.federated.clip_norm,
            noise_multiplier=self.federated.noise_multiplier,
            rng=seeds.generator(self.seed, *scope),
        )

    def _members(self, weights: Weights) -> list[nn.Module]:
        """Return the classifiers whose weights were joined."""
        members = []
        for part in split_members(weights).values():
            model = copy.deepcopy(self.model)
            model.load_state_dict(part)
            members.append(model)
        return members


def join_members(members: Mapping[int, Weights]) -> dict[str, Tensor]:
    """Return the weights of all members under the names `<member>/<name>`."""
    return {
        f"{number}/{name}": value
        for number in sorted(members)
        for name, value in members[number].items()
    }


def split_members(joined: Weights) -> dict[int, dict[str, Tensor]]:
    """Return the weights of each member, in the order of their numbers."""
    parts: dict[int, dict[str, Tensor]] = {}
    for full, value in joined.items():
        member, _, name = full.partition("/")
        parts.setdefault(int(member), {})[name] = value
    return dict(sorted(parts.items()))


def train_locally(
    model: nn.Module,
    weights: Weights,
    examples: Examples,
    *,
    settings: ClassifierSettings,
    federated: FederatedSettings,
    site: str,
    member: int,
    number: int,
    seed: int,
    on_step: OnStep = lambda step, losses: None,
) -> dict[str, Tensor]:
    """Do one site's half of a round: start from the hub's weights, return the site's own.

    The optimizer starts anew each round, since its state never leaves the site; the peak step size
    follows the cosine that a centralized training would be on by then.

    Args:
        model: A classifier to work in; what it holds on entry does not matter.
        weights: The hub's weights.
        examples: The site's training scans.
        settings: The `classifier` section of params.yaml.
        federated: The `federated` section of params.yaml.
        site: The site's name; names the randomness.
        member: Number of this training among the strategy's seeds.
        number: Number of the round, from 1.
        seed: Root seed of the study.
        on_step: Told each step's loss.
    """
    model.load_state_dict(dict(weights))
    rounds = federated.num_rounds
    peak = learning_rate_at(number, num_steps=rounds + 1, peak=settings.learning_rate)
    steps = steps_of_round(number, num_rounds=rounds, num_steps=settings.num_steps)
    train_on(
        model,
        examples,
        settings=settings.model_copy(
            update={"learning_rate": peak, "batch_size": federated.batch_size}
        ),
        scope=("classifier", member, "federated", site, number),
        seed=seed,
        num_steps=steps,
        penalty=_pull(model, federated.proximal_weight),
        on_step=on_step,
    )
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def _pull(model: nn.Module, mu: float) -> Callable[[], Tensor] | None:
    """Return the proximal term (Li et al., 2020): mu / 2 of the squared distance from here."""
    if mu == 0:
        return None
    here = [(value, value.detach().clone()) for value in model.parameters()]

    def penalty() -> Tensor:
        squares = [(value.float() - start.float()).square().sum() for value, start in here]
        return mu / 2 * torch.stack(squares).sum()

    return penalty
