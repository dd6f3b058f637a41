"""Rounds whose weights the hub cannot read: the same training, and who refuses what."""

import math
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sitesynth.errors import TrainingError
from sitesynth.settings import FederatedSettings
from sitesynth.strategies.answers import Absence, Answer, Answers, Ask, Question
from sitesynth.strategies.averaging import Weights
from sitesynth.strategies.federated import ask_in_turn
from sitesynth.strategies.participant import Participant
from sitesynth.strategies.parts import trained_names
from sitesynth.strategies.rounds import Hub, Standing
from sitesynth.strategies.sealed import is_sealed
from sitesynth.strategies.sealing import Seal, SiteKey
from sitesynth.strategies.standing import read_standing, write_standing
from tests.contracts.strategy import build, site_of
from tests.unit.strategies.test_strategies import CLASSIFIER, FEDERATED


SITES = ("alder", "birch", "cedar")
SICK = "birch"
SEALED = FEDERATED.model_copy(update={"encryption": "bfv"})


@pytest.fixture(scope="module")
def key() -> SiteKey:
    return SiteKey.draw()


def sealing(key: SiteKey, *, federated: FederatedSettings = SEALED, **others: SiteKey) -> Ask:
    """Return three sites with one key, but for those who have another."""

    def seated(name: str) -> Participant:
        own = others.get(name, key)
        return Participant(
            name,
            site_of(name),
            build(0),
            settings=CLASSIFIER,
            federated=federated,
            seed=1,
            seal=Seal(own, site=name, sites=SITES, federated=federated),
        )

    return ask_in_turn({name: seated(name) for name in SITES})


def plain(federated: FederatedSettings = FEDERATED) -> Ask:
    """Return the same three sites, who hide nothing."""
    return ask_in_turn(
        {
            name: Participant(
                name, site_of(name), build(0), settings=CLASSIFIER, federated=federated, seed=1
            )
            for name in SITES
        }
    )


def train(ask: Ask, federated: FederatedSettings = SEALED, **how: Any) -> tuple[Weights, list[Any]]:
    """Return the best weights, and the losses of each round and who was absent."""
    told: list[Any] = []
    hub = Hub(
        ask,
        sites=SITES,
        trained=trained_names(build(0)),
        federated=federated,
        num_steps=CLASSIFIER.num_steps,
        seed=1,
        on_absence=lambda question, reasons: told.append((str(question), dict(reasons))),
    )
    best = hub.train(
        build(0).state_dict(),
        member=0,
        on_step=lambda step, losses: told.append((step, dict(losses))),
        **how,
    )
    return best, told


def furthest(one: Weights, two: Weights) -> float:
    return max(float((one[name] - two[name]).abs().max()) for name in one)


KNOBS: list[dict[str, Any]] = [
    {},
    {"weighting": "equal"},
    {"sites_per_round": 2},
    {"patience_rounds": 1},
    {"clip_norm": 0.05, "noise_multiplier": 0.1},
]


@pytest.mark.parametrize("knobs", KNOBS, ids=str)
def test_sealed_rounds_train_what_open_ones_do(key: SiteKey, knobs: dict[str, Any]) -> None:
    """Four rounds end within 1e-6 of each other, having moved ten thousand times as far."""
    sealed, told = train(
        sealing(key, federated=SEALED.model_copy(update=knobs)), SEALED.model_copy(update=knobs)
    )
    known = FEDERATED.model_copy(update=knobs)
    opened, heard = train(plain(known), known)

    assert furthest(sealed, opened) < 1e-6
    assert furthest(opened, build(0).state_dict()) > 1e-2
    assert [step for step, _ in told] == [step for step, _ in heard]
    for (_, one), (_, two) in zip(told, heard, strict=True):
        assert one == pytest.approx(two, abs=1e-6)


def test_the_hub_gets_ciphertexts_until_the_end(key: SiteKey) -> None:
    """What it sends after the first round, and what it gets from trainings, is sealed."""
    honest, seen = sealing(key), []

    def ask(question: Question, weights: Weights, sites: Collection[str]) -> Answers:
        answers = honest(question, weights, sites)
        got = {is_sealed(a.weights) for a in answers.values() if isinstance(a, Answer)}
        seen.append((question.kind, question.number, is_sealed(weights), got))
        return answers

    train(ask)

    assert seen == [
        ("train", 1, False, {True}),
        ("train", 2, True, {True}),
        ("train", 3, True, {True}),
        ("train", 4, True, {True}),
        ("score", 4, True, {False}),
        ("open", seen[-1][1], True, {False}),
    ]


def test_other_keys_give_the_same_bits(key: SiteKey) -> None:
    """So that a study with encryption repeats to the bit, though nothing of it is seeded."""
    one, told = train(sealing(key))
    two, heard = train(sealing(SiteKey.draw()))

    assert furthest(one, two) == 0.0
    assert told == heard


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_resumed_training_equals_the_uninterrupted_one(
    key: SiteKey, number: int, tmp_path: Path
) -> None:
    """The standing keeps ciphertexts, and the sites have the same key as before."""
    standings: list[Standing] = []
    expected, told = train(sealing(key), on_round=standings.append)
    write_standing(tmp_path / "s", 0, standings[number - 1], {})
    _, standing, _ = read_standing(tmp_path / "s")
    found, rest = train(sealing(key), resumed=standing)

    assert is_sealed(standing.weights)
    assert furthest(found, expected) == 0.0
    assert rest == told[number - 1 :]


def test_a_standing_of_another_key_is_refused(key: SiteKey) -> None:
    """Before anything is trained from it, by every site, in words that tell what to do."""
    standings: list[Standing] = []
    train(sealing(key), on_round=standings.append)

    with pytest.raises(TrainingError, match=r"got 0 usable .* Give all the same key") as caught:
        train(sealing(SiteKey.draw()), resumed=standings[0])
    assert all(site in str(caught.value) for site in SITES)


Fault = Callable[[Answer], Answer | Absence]


def with_fault(key: SiteKey, fault: Fault, *, kind: str = "train", **how: Any) -> Ask:
    """Return three sites of which one answers one kind of question wrongly."""
    honest = sealing(key, **how)

    def ask(question: Question, weights: Weights, sites: Collection[str]) -> Answers:
        answers = dict(honest(question, weights, sites))
        told = answers.get(SICK)
        if question.kind == kind and isinstance(told, Answer):
            answers[SICK] = fault(told)
        return answers

    return ask


def torn(answer: Answer) -> Answer:
    cut = {**answer.weights, "cipher": answer.weights["cipher"][:-9]}
    return replace(answer, weights=cut)


FAULTS: dict[str, tuple[Fault, str]] = {
    "plain text": (
        lambda answer: replace(answer, weights=build(0).state_dict()),
        "birch: its weights are not sealed, and federated.encryption asks for it",
    ),
    "torn": (torn, "birch: its ciphertexts of .* are not those that were sealed"),
    "1000 x": (
        lambda answer: replace(answer, change=1000 * (answer.change or 0)),
        "birch: its change of .* times the median .* over federated.max_update_ratio",
    ),
    "tells no change": (
        lambda answer: replace(answer, change=None),
        "birch: it says that it changed the weights by None",
    ),
    "tells NaN": (lambda answer: replace(answer, change=math.nan), "birch: it says .* by nan"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_the_hub_can_see_it_refuses_by_name(key: SiteKey, name: str) -> None:
    fault, message = FAULTS[name]

    with pytest.raises(TrainingError, match=message):
        train(with_fault(key, fault))


def test_a_quorum_goes_on_without_the_refused(key: SiteKey) -> None:
    """Sums tell the sites who is in them, and two of three are enough where the knob says so."""
    two = SEALED.model_copy(update={"min_sites": 2})
    found, told = train(with_fault(key, torn, federated=two), two)
    known = FEDERATED.model_copy(update={"min_sites": 2})
    honest = plain(known)

    def asleep(question: Question, weights: Weights, sites: Collection[str]) -> Answers:
        answers = dict(honest(question, weights, sites))
        if question.kind == "train":
            answers[SICK] = Absence("asleep")
        return answers

    expected, _ = train(asleep, known)

    assert furthest(found, expected) < 1e-6
    assert len([reasons for _, reasons in told if SICK in reasons]) == 4


def test_a_hub_that_leaves_a_site_out_is_refused_by_the_sites(key: SiteKey) -> None:
    """The count is in the ciphertext: a sum of two under the name of three is not trained from."""
    honest = sealing(key)
    kept: list[Answer] = []

    def ask(question: Question, weights: Weights, sites: Collection[str]) -> Answers:
        if question.number == 2 and question.kind == "train":
            weights = kept[0].weights
        answers = honest(question, weights, sites)
        kept.extend(a for a in answers.values() if isinstance(a, Answer))
        return answers

    with pytest.raises(TrainingError, match=r"weights of 1 sites \['alder'\], and a round needs 3"):
        train(ask)


def test_a_site_whose_weights_are_not_finite_sends_none(key: SiteKey) -> None:
    """The hub could not see it; the site refuses, and is named."""
    sick = Participant(
        SICK,
        site_of(SICK),
        build(0),
        settings=CLASSIFIER,
        federated=SEALED,
        seed=1,
        seal=Seal(key, site=SICK, sites=SITES, federated=SEALED),
    )
    bad = build(0).state_dict() | {"head.bias": torch.tensor([math.nan, 1.0])}
    assert sick.seal is not None

    with pytest.raises(TrainingError, match="holds 1 numbers not finite; nothing is sent"):
        sick.seal.seal(bad, num_scans=3)


def test_a_site_with_another_key_is_named(key: SiteKey) -> None:
    """By the hub, which knows keys by name only: one of three differs."""
    with pytest.raises(TrainingError, match=r"birch: it seals with the key .* and most with"):
        train(sealing(key, birch=SiteKey.draw()))


def test_sites_that_disagree_on_what_they_opened_end_it(key: SiteKey) -> None:
    def moved(answer: Answer) -> Answer:
        shifted = {name: value + 1e-3 for name, value in answer.weights.items()}
        return replace(answer, weights=shifted)

    with pytest.raises(TrainingError, match="alder and birch opened different weights"):
        train(with_fault(key, moved, kind="open"))


def test_nobody_sits_down_in_plain_text_by_mistake() -> None:
    with pytest.raises(AssertionError):
        Participant(
            "alder", site_of("alder"), build(0), settings=CLASSIFIER, federated=SEALED, seed=1
        )
