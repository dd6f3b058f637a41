"""The strategies keep their promises, and see no more than they may."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sitesynth.classifiers.training import score
from sitesynth.errors import SettingsError
from sitesynth.settings import ClassifierSettings, FederatedSettings
from sitesynth.strategies.averaging import average_weights
from sitesynth.strategies.catalogue import admit, build_strategy, choosers
from sitesynth.strategies.federated import Federated
from sitesynth.strategies.finetuned import Finetuned
from sitesynth.strategies.fitting import count_learned
from sitesynth.strategies.participant import train_locally
from sitesynth.strategies.pooled import Pooled
from sitesynth.strategies.protocol import Site, Strategy
from sitesynth.strategies.rounds import steps_of_round
from tests.contracts.strategy import StrategyContract, bright_and_dark, build, site_of
from tests.unit.strategies import tiny_consortium as tiny


CLASSIFIER = ClassifierSettings(
    init_features=8,
    growth_rate=8,
    layers=(1,),
    sequence_dropout=0.0,
    learning_rate=0.3,
    weight_decay=0.0,
    batch_size=8,
    num_steps=24,
    validate_every=8,
    num_seeds=1,
)
FEDERATED = FederatedSettings(
    engine="in_process",
    num_rounds=4,
    batch_size=8,
    weighting="scans",
    normalization="shared",
    sites_per_round=None,
    patience_rounds=None,
    clip_norm=None,
    noise_multiplier=0.0,
    encryption="none",
    finetune_steps=12,
    proximal_weight=0.0,
    hub_learning_rate=1.0,
    hub_momentum=0.0,
    min_sites=None,
    max_update_ratio=10.0,
    patience_s=60,
)


class TestPooled(StrategyContract):
    """Keeps the promises of every strategy."""

    @pytest.fixture
    def strategy(self) -> Strategy:
        """Return what centralized, local, synthetic and augmented are made of."""
        return Pooled(CLASSIFIER)


class TestFederated(StrategyContract):
    """Keeps the promises of every strategy."""

    @pytest.fixture
    def strategy(self) -> Strategy:
        """Return federated averaging of four rounds."""
        return Federated(CLASSIFIER, FEDERATED)


class TestFinetuned(StrategyContract):
    """Keeps the promises of every strategy."""

    last_step = 24 + 12

    @pytest.fixture
    def strategy(self) -> Strategy:
        """Return federated averaging and twelve steps at one of its sites."""
        return Finetuned("alder", CLASSIFIER, FEDERATED)


def test_finetuning_learns_what_its_site_holds() -> None:
    """A site whose labels are the other way round gets a classifier of its own."""
    alder, birch = site_of("alder"), site_of("birch")
    assert birch.real is not None
    odd = replace(birch.real, labels=1 - birch.real.labels)
    held_out = bright_and_dark("birch held out")
    turned = replace(held_out, labels=1 - held_out.labels)
    sites = {
        "alder": alder,
        "birch": Site(odd, None, lambda models: score(models, turned, positive=1)),
    }
    model = Finetuned("birch", CLASSIFIER, FEDERATED).fit(
        sites, build, seed=1, member=0, on_step=lambda s, v: None
    )
    test = bright_and_dark("test")

    assert torch.equal(model(test.images).argmax(dim=1), 1 - test.labels)


def test_a_finetuned_classifier_is_chosen_by_its_site_alone() -> None:
    """Its threshold is its site's; every other strategy's is all its sites'."""
    sites = {name: site_of(name) for name in ("alder", "birch")}

    assert list(choosers("finetuned-birch", sites)) == ["birch"]
    assert list(choosers("federated", sites)) == ["alder", "birch"]


def test_the_average_weighs_sites_by_their_counts() -> None:
    """(1 x 10 + 3 x 30) / 40 = 2.5, in the type of the weights."""
    models = [{"w": torch.tensor([10.0])}, {"w": torch.tensor([30.0])}]
    average = average_weights(models, [1, 3])["w"]

    assert average.item() == 25.0
    assert average.dtype == torch.float32


def test_a_round_of_one_site_is_that_site_training_alone() -> None:
    """The hub's average of one model is the model, bit for bit."""
    site = site_of("alder")
    assert site.real is not None
    told: list[float] = []
    federated = Federated(CLASSIFIER, FEDERATED.model_copy(update={"num_rounds": 1}))
    model = federated.fit(
        {"alder": site}, build, seed=1, member=0, on_step=lambda s, v: told.append(v["loss"])
    )
    alone = train_locally(
        build(0),
        build(0).state_dict(),
        site.real,
        settings=CLASSIFIER,
        federated=federated.federated,
        site="alder",
        member=0,
        number=1,
        seed=1,
    )

    assert len(told) == 1
    for name, value in model.state_dict().items():
        assert torch.equal(value, alone[name])


@pytest.mark.parametrize(("rounds", "steps"), [(4, 24), (5, 24), (7, 7), (12, 120)])
def test_local_steps_add_up_to_the_centralized_ones(rounds: int, steps: int) -> None:
    """No round is empty, and none differs from another by more than one step."""
    each = [steps_of_round(n, num_rounds=rounds, num_steps=steps) for n in range(1, rounds + 1)]

    assert sum(each) == steps
    assert min(each) >= 1
    assert max(each) - min(each) <= 1


@pytest.mark.parametrize(
    ("name", "sites", "sees_real", "sees_synthetic"),
    [
        ("local-alder", ["alder"], True, False),
        ("centralized", ["alder", "birch"], True, False),
        ("federated", ["alder", "birch"], True, False),
        ("synthetic", ["alder", "birch"], False, True),
        ("augmented", ["alder", "birch"], True, True),
        ("synthetic-equal", ["alder", "birch"], False, True),
        ("augmented-proportional", ["alder", "birch"], True, True),
    ],
)
def test_a_strategy_is_shown_what_it_may_see(
    name: str, sites: list[str], *, sees_real: bool, sees_synthetic: bool
) -> None:
    """The synthetic strategy has no real scan in reach, and local no other site."""
    scans = {site: bright_and_dark(site) for site in ("alder", "birch")}
    validators = {site: site_of(site).validate for site in scans}
    admitted = admit(name, real=scans, synthetic=scans, validators=validators)

    assert sorted(admitted) == sites
    for site in admitted.values():
        assert (site.real is not None) == sees_real
        assert (site.synthetic is not None) == sees_synthetic


def test_a_site_that_gives_nothing_to_the_mix_still_tries_models() -> None:
    """Its validation counts, whatever its generator is worth."""
    validators = {site: site_of(site).validate for site in ("alder", "birch")}
    admitted = admit(
        "synthetic", real={}, synthetic={"alder": bright_and_dark("alder")}, validators=validators
    )

    assert sorted(admitted) == ["alder", "birch"]
    assert admitted["birch"].synthetic is None


@pytest.mark.parametrize("name", ["synthetic-equal", "augmented-proportional"])
def test_a_strategy_on_another_mix_learns_as_its_original_does(name: str) -> None:
    """What differs is what `admit` shows it."""
    strategy = build_strategy(name, classifier=CLASSIFIER, federated=FEDERATED)

    assert strategy == Pooled(CLASSIFIER)


def test_an_unknown_strategy_is_named_with_those_there_are() -> None:
    """A typo in params.yaml is told where it can be mended."""
    with pytest.raises(SettingsError, match="no strategy 'sinthetic'"):
        build_strategy("sinthetic", classifier=CLASSIFIER, federated=FEDERATED)


def test_what_a_strategy_learns_from_is_counted(tmp_path: Path) -> None:
    """Eight training scans a site; of the pool, what the strategy's own mix takes."""
    images = tiny.write_sites(tmp_path)
    mixes = {
        "tuned": {"alder": {"mutant": 3, "wildtype": 4}, "birch": {"mutant": 0, "wildtype": 2}},
        "equal": {"alder": {"mutant": 1, "wildtype": 1}, "birch": {"mutant": 1, "wildtype": 1}},
    }

    def counted(name: str) -> dict[str, dict[str, int]]:
        return count_learned(name, images, mixes, sites=["alder", "birch"], label="idh")

    real = {"alder": 8, "birch": 8}
    assert counted("local-birch") == {"real": {"birch": 8}, "synthetic": {}}
    assert counted("federated") == {"real": real, "synthetic": {}}
    assert counted("synthetic-equal") == {"real": {}, "synthetic": {"alder": 2, "birch": 2}}
    assert counted("augmented") == {"real": real, "synthetic": {"alder": 7, "birch": 2}}
