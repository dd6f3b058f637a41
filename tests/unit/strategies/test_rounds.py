"""Rounds against answers by hand, and against sites that fail in every way the hub documents."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sitesynth.errors import TrainingError
from sitesynth.settings import FederatedSettings
from sitesynth.strategies.answers import Absence, Answer, Answers, Ask, Question
from sitesynth.strategies.averaging import Weights, step_toward
from sitesynth.strategies.federated import ask_in_turn, trained_names
from sitesynth.strategies.participant import Participant, join_members, split_members, train_locally
from sitesynth.strategies.rounds import Hub
from tests.contracts.strategy import build, site_of
from tests.unit.strategies.test_strategies import CLASSIFIER, FEDERATED


SITES = ("alder", "birch", "cedar")
SICK = "birch"

Fault = Callable[[Answer], Answer | Absence]


def asking(*names: str) -> Ask:
    """Return what asks some sites."""
    return ask_in_turn(
        {
            name: Participant(
                name, site_of(name), build(0), settings=CLASSIFIER, federated=FEDERATED, seed=1
            )
            for name in names
        }
    )


def train(
    ask: Ask, federated: FederatedSettings = FEDERATED
) -> tuple[Weights, list[tuple[Question, dict[str, str]]]]:
    """Return the best weights, and what was gone on without."""
    absences: list[tuple[Question, dict[str, str]]] = []
    hub = Hub(
        ask,
        trained=trained_names(build(0)),
        federated=federated,
        num_steps=CLASSIFIER.num_steps,
        on_absence=lambda question, reasons: absences.append((question, dict(reasons))),
    )
    return hub.train(build(0).state_dict(), member=0, on_step=lambda s, v: None), absences


def with_fault(fault: Fault) -> Ask:
    """Return three sites of which one trains as it should and then answers wrongly."""
    honest = asking(*SITES)

    def ask(question: Question, weights: Weights) -> Answers:
        answers = dict(honest(question, weights))
        told = answers[SICK]
        if question.kind == "train" and isinstance(told, Answer):
            answers[SICK] = fault(told)
        return answers

    return ask


def without(site: str) -> Ask:
    """Return three sites of which one is only ever absent from training."""
    return with_fault(lambda answer: Absence("asleep"))


def changed(change: Callable[[Tensor], Tensor]) -> Fault:
    """Return the fault of a site whose weights went through `change`."""

    def fault(answer: Answer) -> Answer:
        return replace(answer, weights={k: change(v) for k, v in answer.weights.items()})

    return fault


FAULTS: dict[str, tuple[Fault, str]] = {
    "dies": (lambda answer: Absence("no answer in 60 s"), "birch: no answer in 60 s"),
    "NaN": (changed(lambda v: v * math.nan), "birch: its head.bias holds 2 numbers not finite"),
    "infinite": (changed(lambda v: v / 0), "not finite"),
    "another shape": (changed(lambda v: v[:1]), r"shape \[1\], not torch.float32 of shape \[2\]"),
    "another type": (changed(lambda v: v.double()), "torch.float64"),
    "another network": (
        lambda answer: replace(answer, weights={"tail": torch.zeros(1)}),
        "another network .3 names differ, first head.bias",
    ),
    "1000 x": (changed(lambda v: v * 1000), "times the median .* over federated.max_update_ratio"),
    "no scan": (lambda answer: replace(answer, num_scans=0), "trained on 0 scans"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_ends_the_study_by_name(name: str) -> None:
    """Where every site is asked for, the error names site, fault and knob."""
    fault, message = FAULTS[name]

    with pytest.raises(TrainingError, match=message) as caught:
        train(with_fault(fault))
    assert "got 2 usable answers of 3 sites" in str(caught.value)
    assert "federated.min_sites" in str(caught.value)


@pytest.mark.parametrize("name", FAULTS)
def test_a_quorum_goes_on_as_if_the_site_had_slept(name: str) -> None:
    """No trace of the bad answer is in the weights, and every round tells who was missing."""
    quorum = FEDERATED.model_copy(update={"min_sites": 2})
    found, absences = train(with_fault(FAULTS[name][0]), quorum)
    expected, _ = train(without(SICK), quorum)

    assert {name: value.tolist() for name, value in found.items()} == {
        name: value.tolist() for name, value in expected.items()
    }
    assert [question.number for question, _ in absences] == [1, 2, 3, 4]
    assert all(set(reasons) == {SICK} for _, reasons in absences)


def test_a_diverging_site_is_absent_with_its_own_words() -> None:
    """What a site raises is told to the hub, which decides what it means."""
    sick = Participant(
        SICK,
        site_of(SICK),
        build(0),
        settings=CLASSIFIER.model_copy(update={"learning_rate": math.inf}),
        federated=FEDERATED,
        seed=1,
    )
    healthy = Participant(
        "alder", site_of("alder"), build(0), settings=CLASSIFIER, federated=FEDERATED, seed=1
    )

    with pytest.raises(TrainingError, match="birch: TrainingError: the loss of step 2"):
        train(ask_in_turn({SICK: sick, "alder": healthy}))


def test_of_two_sites_the_larger_change_is_the_outlier() -> None:
    """The mean of two would hide any outlier; the lower median does not."""
    pair = asking("alder", SICK)

    def ask(question: Question, weights: Weights) -> Answers:
        answers = dict(pair(question, weights))
        told = answers[SICK]
        if question.kind == "train" and isinstance(told, Answer):
            answers[SICK] = changed(lambda v: v * 1000)(told)
        return answers

    with pytest.raises(TrainingError, match="birch: its change"):
        train(ask)


def test_a_score_that_is_not_a_number_chooses_no_round() -> None:
    """A site that cannot try a model is absent, and does not decide which one is best."""
    honest = asking(*SITES)

    def ask(question: Question, weights: Weights) -> Answers:
        answers = dict(honest(question, weights))
        told = answers[SICK]
        if question.kind == "score" and isinstance(told, Answer) and told.score is not None:
            answers[SICK] = replace(told, score=replace(told.score, loss_sum=math.nan))
        return answers

    with pytest.raises(TrainingError, match=r"validation of seed 0, round 4 got 2 .* is nan"):
        train(ask)


def test_a_healthy_federation_misses_nobody() -> None:
    """The rules above find nothing where nothing is wrong."""
    assert train(asking(*SITES))[1] == []


def test_the_hub_steps_by_hand() -> None:
    """From 1 toward 3 at rate 0.5: 2. Then toward 4 with momentum 0.9: 2 + 0.5 (2 + 1.8) = 3.9."""
    one = {"w": torch.tensor([1.0]), "running": torch.tensor([5.0])}

    def step(average: Weights, weights: Weights, velocity: Weights) -> tuple[Weights, Weights]:
        return step_toward(
            average, weights, velocity, trained=["w"], learning_rate=0.5, momentum=0.9
        )

    two, velocity = step({"w": torch.tensor([3.0]), "running": torch.tensor([7.0])}, one, {})
    three, _ = step({"w": torch.tensor([4.0]), "running": torch.tensor([8.0])}, two, velocity)

    assert two["w"].item() == 2.0
    assert three["w"].item() == pytest.approx(3.9)
    assert three["running"].item() == 8.0, "statistics are averaged, not stepped"


def test_a_full_step_without_momentum_is_the_average_itself() -> None:
    """0.1 + (0.3 - 0.1) is not 0.3; federated averaging must not notice the knob."""
    there = {"w": torch.tensor([0.3])}
    found, _ = step_toward(
        there, {"w": torch.tensor([0.1])}, {}, trained=["w"], learning_rate=1.0, momentum=0.0
    )

    assert torch.equal(found["w"], there["w"])


def one_round(mu: float, num_steps: int) -> Tensor:
    """Return where a site's training ends, `mu` pulling it back."""
    examples = site_of("alder").real
    assert examples is not None
    found = train_locally(
        build(0),
        build(0).state_dict(),
        examples,
        settings=CLASSIFIER.model_copy(update={"num_steps": num_steps}),
        federated=FEDERATED.model_copy(update={"num_rounds": 1, "proximal_weight": mu}),
        site="alder",
        member=0,
        number=1,
        seed=1,
    )
    return torch.cat([value.flatten() for value in found.values()])


def test_the_proximal_term_is_nothing_at_the_start_and_a_pull_later() -> None:
    """Its gradient is mu times the way gone: none in the first step, most of it in later ones."""
    start = torch.cat([value.flatten() for value in build(0).state_dict().values()])

    assert torch.equal(one_round(0.0, 1), one_round(10.0, 1))
    assert (one_round(10.0, 24) - start).norm() < 0.5 * (one_round(0.0, 24) - start).norm()


def test_members_are_joined_and_split_again() -> None:
    """Ten members keep their numeric order, in which their predictions are averaged."""
    members = {number: {"a/b.c": torch.tensor([float(number)])} for number in range(11)}
    back = split_members(join_members(members))

    assert list(back) == list(range(11))
    assert back[10]["a/b.c"].item() == 10.0


@pytest.mark.parametrize(
    ("knobs", "name"),
    [
        ({}, "fedavg"),
        ({"proximal_weight": 0.1}, "fedprox"),
        ({"hub_learning_rate": 0.5}, "fedopt"),
        ({"hub_momentum": 0.5}, "fedopt"),
        ({"hub_momentum": 0.5, "proximal_weight": 0.1}, "fedprox with fedopt"),
    ],
)
def test_the_algorithm_has_the_name_of_its_knobs(knobs: dict[str, float], name: str) -> None:
    assert FEDERATED.model_copy(update=knobs).algorithm == name
