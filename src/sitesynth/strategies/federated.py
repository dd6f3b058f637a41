"""Federated averaging in one process: weights travel, scans do not.

The hub's half is `rounds.Hub`, a site's half is `participant.Participant`. Whatever carries the
questions and answers, the calls below or a federated engine, runs the same two.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import final

from torch import nn

from sitesynth.errors import SitesynthError
from sitesynth.settings import ClassifierSettings, FederatedSettings
from sitesynth.strategies.answers import Absence, Answer, Answers, Ask, Question
from sitesynth.strategies.averaging import Weights
from sitesynth.strategies.participant import Participant
from sitesynth.strategies.parts import trained_names
from sitesynth.strategies.protocol import Consortium, Learner
from sitesynth.strategies.rounds import Hub
from sitesynth.strategies.sealing import Seal, SiteKey
from sitesynth.tracking import OnStep
from sitesynth.training import best_device


__all__ = ["Federated", "ask_in_turn"]


@final
@dataclass(frozen=True)
class Federated:
    """Train in rounds: every site from the hub's weights, then the hub averages."""

    settings: ClassifierSettings
    federated: FederatedSettings

    def fit(
        self, sites: Consortium, build: Learner, *, seed: int, member: int, on_step: OnStep
    ) -> nn.Module:
        """Learn one classifier; see `Strategy.fit`."""
        model = build(member)
        initial = {name: value.clone() for name, value in model.state_dict().items()}
        model.to(best_device())
        key = None if self.federated.encryption == "none" else SiteKey.draw()
        participants = {
            name: Participant(
                name,
                site,
                model,
                settings=self.settings,
                federated=self.federated,
                seed=seed,
                seal=None
                if key is None
                else Seal(key, site=name, sites=tuple(sites), federated=self.federated),
            )
            for name, site in sites.items()
        }
        hub = Hub(
            ask_in_turn(participants),
            sites=participants,
            trained=trained_names(model),
            federated=self.federated,
            num_steps=self.settings.num_steps,
            seed=seed,
        )
        model.load_state_dict(hub.train(initial, member=member, on_step=on_step))
        return model.eval().cpu()


def ask_in_turn(participants: Mapping[str, Participant]) -> Ask:
    """Return what asks one site after the other; a site that fails is absent."""

    def ask(question: Question, weights: Weights, sites: Collection[str]) -> Answers:
        answers: dict[str, Answer | Absence] = {}
        for name in sorted(sites):
            try:
                answers[name] = participants[name].answer(question, weights)
            except SitesynthError as error:
                answers[name] = Absence(f"{type(error).__name__}: {error}")
        return answers

    return ask
