"""Rounds against answers by hand, and against sites that fail in every way the hub documents."""

import math
from collections.abc import Callable, Collection
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from sitesynth import seeds
from sitesynth.errors import TrainingError
from sitesynth.settings import FederatedSettings
from sitesynth.strategies.answers import Absence, Answer, Answers, Ask, Question, change_of
from sitesynth.strategies.averaging import Weights, step_toward
from sitesynth.strategies.federated import ask_in_turn
from sitesynth.strategies.participant import Participant, join_members, split_members, train_locally
from sitesynth.strategies.parts import normalization_names, trained_names
from sitesynth.strategies.rounds import Hub
from tests.contracts.strategy import build, site_of
from tests.unit.strategies.test_strategies import CLASSIFIER, FEDERATED


SITES = ("alder", "birch", "cedar")
SICK = "birch"
LONG = FEDERATED.model_copy(update={"num_rounds": 12})

Fault = Callable[[Answer], Answer | Absence]


def asking(*names: str, federated: FederatedSettings = FEDERATED) -> Ask:
    """Return what asks some sites."""
    return ask_in_turn(
        {
            name: Participant(
                name, site_of(name), build(0), settings=CLASSIFIER, federated=federated, seed=1
            )
            for name in names
        }
    )


def train(
    ask: Ask, federated: FederatedSettings = FEDERATED, sites: Collection[str] = SITES
) -> tuple[Weights, list[tuple[Question, dict[str, str]]]]:
    """Return the best weights, and what was gone on without."""
    absences: list[tuple[Question, dict[str, str]]] = []
    hub = Hub(
        ask,
        sites=sites,
        trained=trained_names(build(0)),
        federated=federated,
        num_steps=CLASSIFIER.num_steps,
        seed=1,
        on_absence=lambda question, reasons: absences.append((question, dict(reasons))),
    )
    return hub.train(build(0).state_dict(), member=0, on_step=lambda s, v: None), absences


def with_fault(fault: Fault) -> Ask:
    """Return three sites of which one trains as it should and then answers wrongly."""
    honest = asking(*SITES)

    def ask(question: Question, weights: Weights, sites: Collection[str]) -> Answers:
        answers = dict(honest(question, weights, sites))
        told = answers.get(SICK)
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
        train(ask_in_turn({SICK: sick, "alder": healthy}), sites=(SICK, "alder"))


def test_of_two_sites_the_larger_change_is_the_outlier() -> None:
    """The mean of two would hide any outlier; the lower median does not."""
    pair = asking("alder", SICK)

    def ask(question: Question, weights: Weights, sites: Collection[str]) -> Answers:
        answers = dict(pair(question, weights, sites))
        told = answers[SICK]
        if question.kind == "train" and isinstance(told, Answer):
            answers[SICK] = changed(lambda v: v * 1000)(told)
        return answers

    with pytest.raises(TrainingError, match="birch: its change"):
        train(ask, sites=("alder", SICK))


def test_a_score_that_is_not_a_number_chooses_no_round() -> None:
    """A site that cannot try a model is absent, and does not decide which one is best."""
    honest = asking(*SITES)

    def ask(question: Question, weights: Weights, sites: Collection[str]) -> Answers:
        answers = dict(honest(question, weights, sites))
        told = answers.get(SICK)
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
        ({"normalization": "local"}, "fedbn"),
    ],
)
def test_the_algorithm_has_the_name_of_its_knobs(knobs: dict[str, float], name: str) -> None:
    assert FEDERATED.model_copy(update=knobs).algorithm == name


def listening(ask: Ask) -> tuple[Ask, list[tuple[str, int, tuple[str, ...]]]]:
    """Return an asking that writes down what it asks whom."""
    heard: list[tuple[str, int, tuple[str, ...]]] = []

    def told(question: Question, weights: Weights, sites: Collection[str]) -> Answers:
        heard.append((question.kind, question.number, tuple(sites)))
        return ask(question, weights, sites)

    return told, heard


def test_some_sites_train_and_all_validate() -> None:
    """Each round two of three, not always the same; the third tries the same weights."""
    ask, heard = listening(asking(*SITES))
    train(ask, FEDERATED.model_copy(update={"sites_per_round": 2}))
    trained = [set(sites) for kind, _, sites in heard if kind == "train"]
    tried = [(number, set(sites)) for kind, number, sites in heard if kind == "score"]

    assert [len(sites) for sites in trained] == [2, 2, 2, 2]
    assert len(set(map(frozenset, trained))) > 1
    assert tried == [
        *((number, set(SITES) - trained[number]) for number in (1, 2, 3)),
        (4, set(SITES)),
    ]


def test_all_sites_per_round_is_no_knob() -> None:
    """Asking for all three draws nothing and changes nothing."""
    all_three = FEDERATED.model_copy(update={"sites_per_round": 3})

    assert torch.equal(
        train(asking(*SITES), all_three)[0]["head.weight"], train(asking(*SITES))[0]["head.weight"]
    )


def test_who_only_validates_may_sleep_where_a_quorum_allows_it() -> None:
    """Of two that train and one that tries, two suffice, and the third is told of."""
    honest = asking(*SITES)

    def ask(question: Question, weights: Weights, sites: Collection[str]) -> Answers:
        answers = dict(honest(question, weights, sites))
        if question.kind == "score" and question.number == 1:
            return dict.fromkeys(answers, Absence("asleep"))
        return answers

    knobs = FEDERATED.model_copy(update={"sites_per_round": 2})
    _, absences = train(ask, knobs.model_copy(update={"min_sites": 2}))

    assert [(question.kind, question.number) for question, _ in absences] == [("score", 1)]
    with pytest.raises(TrainingError, match="validation of seed 0, round 1 got 0 usable answers"):
        train(ask, knobs)


def test_a_training_ends_when_validation_does_not_fall() -> None:
    """Losses 3, 1, 2, 2, ...: after two rounds without a lower one, the second round's weights."""
    losses = {2: 3.0, 3: 1.0}
    honest = asking(*SITES, federated=LONG)
    sent: dict[int, Weights] = {}

    def ask(question: Question, weights: Weights, sites: Collection[str]) -> Answers:
        sent[question.number] = weights
        answers: dict[str, Answer | Absence] = {}
        for site, told in honest(question, weights, sites).items():
            assert isinstance(told, Answer)
            score = told.score
            if score is not None:
                loss = losses.get(question.number, 2.0)
                score = replace(score, loss_sum=loss * score.weight_sum)
            answers[site] = replace(told, score=score)
        return answers

    found, _ = train(ask, LONG.model_copy(update={"patience_rounds": 2}))

    assert max(sent) == 5, "round 4, tried with the question of round 5, is the second in vain"
    assert torch.equal(found["head.weight"], sent[3]["head.weight"])


class Normalized(nn.Module):
    """A network whose normalization decides what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1)
        self.head = nn.Linear(1, 2)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits from the normalized mean brightness."""
        logits: Tensor = self.head(self.norm(images.flatten(1).mean(dim=1, keepdim=True)))
        return logits


@pytest.mark.parametrize("where", ["local", "shared"])
def test_a_sites_normalization_is_its_own_or_the_hubs(where: str) -> None:
    """In the second round, an odd normalization from the hub is ignored, or is not."""
    federated = FEDERATED.model_copy(update={"normalization": where})
    with seeds.isolated(seeds.generator(0, "normalized")):
        model = Normalized()
    initial = {name: value.clone() for name, value in model.state_dict().items()}

    def second(odd: float) -> Answer:
        site = Participant(
            "alder", site_of("alder"), model, settings=CLASSIFIER, federated=federated, seed=1
        )
        sent = dict(site.answer(Question("train", 0, 1), initial).weights)
        sent["norm.weight"] = sent["norm.weight"] + odd
        sent["norm.running_mean"] = sent["norm.running_mean"] + odd
        return site.answer(Question("train", 0, 2), sent)

    plain, odd = second(0.0), second(9.0)
    is_same = all(torch.equal(value, odd.weights[name]) for name, value in plain.weights.items())

    assert is_same == (where == "local")
    assert plain.score != odd.score, "validation tries what an external site would get"
    assert normalization_names(model) == (
        "norm.bias",
        "norm.num_batches_tracked",
        "norm.running_mean",
        "norm.running_var",
        "norm.weight",
    )


def test_a_sites_noise_is_drawn_with_its_own_key() -> None:
    """Who knows the study's seed cannot take the noise off; the clipped norm is kept."""
    federated = FEDERATED.model_copy(update={"clip_norm": 0.1, "noise_multiplier": 1.0})

    def told(key: str, noise: float = 1.0) -> Weights:
        return (
            Participant(
                "alder",
                site_of("alder"),
                build(0),
                settings=CLASSIFIER,
                federated=federated.model_copy(update={"noise_multiplier": noise}),
                seed=1,
                noise_key=key,
            )
            .answer(Question("train", 0, 1), build(0).state_dict())
            .weights
        )

    assert torch.equal(told("a")["head.weight"], told("a")["head.weight"])
    assert not torch.equal(told("a")["head.weight"], told("b")["head.weight"])
    change = change_of(told("", 0.0), build(0).state_dict(), trained_names(build(0)))
    assert change == pytest.approx(0.1, rel=1e-4)
