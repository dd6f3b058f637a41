"""Any strategy, in stages: what each stage may see, and what comes of it."""

from collections.abc import Sequence

import pytest
import torch
from torch import nn

from sitesynth import seeds
from sitesynth.classifiers.stages import Stage, number_stages
from sitesynth.classifiers.training import Examples, ValidationScore, balance, predict, score
from sitesynth.settings import StageSettings
from sitesynth.strategies.catalogue import is_staged, members, needs_real, stays_at_sites
from sitesynth.strategies.federated import Federated
from sitesynth.strategies.mixes import mix_of
from sitesynth.strategies.pooled import Pooled
from sitesynth.strategies.protocol import Consortium, Learner, Site, Strategy
from sitesynth.strategies.staged import fit_in_stages, sites_of_stage
from tests.unit.strategies.test_strategies import CLASSIFIER, FEDERATED


STAGES = number_stages(
    [
        StageSettings(name="first", groups=(("dark",), ("grey", "bright"))),
        StageSettings(name="second", groups=(("grey",), ("bright",))),
    ],
    ("dark", "grey", "bright"),
)
LONG = CLASSIFIER.model_copy(update={"num_steps": 48, "validate_every": 16})


class Net(nn.Module):
    """Logits that are linear in the brightest voxel, which no shift takes away."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.head = nn.Linear(1, count)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return a logit for each answer."""
        logits: torch.Tensor = self.head(8 * images.flatten(1).amax(dim=1, keepdim=True) - 4)
        return logits


def build_of(stage: Stage, seed: int) -> Learner:
    def build(member: int) -> nn.Module:
        with seeds.isolated(seeds.generator(seed, "net", member)):
            return Net(len(stage.groups))

    return build


def shades(scope: str) -> Examples:
    """Return scans of brightness 0, a half and 1, by class."""
    labels = torch.tensor([0, 1, 2] * 6)
    noise = 0.05 * torch.rand(18, 1, 4, 4, generator=seeds.generator(0, scope))
    presence = torch.ones(18, 1, dtype=torch.bool)
    return Examples(noise + labels.reshape(-1, 1, 1, 1) / 2, presence, labels, balance(labels))


def sites() -> Consortium:
    def site(name: str) -> Site:
        held_out = shades(f"{name} held out")

        def validate(models: Sequence[nn.Module]) -> ValidationScore:
            return score(models, held_out, positive=None)

        return Site(real=shades(name), synthetic=None, validate=validate)

    return {name: site(name) for name in ("alder", "birch")}


@pytest.mark.parametrize(
    "strategy", [Pooled(LONG), Federated(LONG, FEDERATED.model_copy(update={"num_rounds": 4}))]
)
def test_stages_learn_what_one_network_could(strategy: Strategy) -> None:
    """Dark, grey and bright are told apart on held-out images, whatever the strategy."""
    told: list[int] = []
    model = fit_in_stages(
        strategy,
        STAGES,
        sites(),
        build_of,
        seed=1,
        member=0,
        on_step=lambda step, losses: told.append(step),
    )
    test = shades("test")

    assert predict(model, test.images).argmax(dim=1).tolist() == test.labels.tolist()
    assert not model.training
    assert (told[-1], told == sorted(told)) == (2 * 48, True)


def test_a_stage_is_not_shown_other_classes() -> None:
    """The second stage is of grey and bright: nothing that it may see is dark."""
    shown = sites_of_stage(sites(), STAGES[1], STAGES)

    for site in shown.values():
        assert site.real is not None
        assert len(site.real) == 12
        assert float(site.real.images.min()) >= 0.5


def test_trying_a_network_leaves_it_in_its_mode() -> None:
    """Training goes on with batch statistics, and a finished network stays finished."""
    shown = sites_of_stage(sites(), STAGES[0], STAGES)
    training, finished = Net(2).train(), Net(2).eval()
    shown["alder"].validate([training])
    shown["alder"].validate([finished])

    assert (training.training, finished.training) == (True, False)


def test_a_staged_strategy_is_otherwise_the_one_of_its_name() -> None:
    assert is_staged("local-alder-staged")
    assert members("local-alder-staged", ["alder", "birch"]) == ["alder"]
    assert mix_of("synthetic-equal-staged") == "equal"
    assert mix_of("augmented-staged") == "tuned"
    assert stays_at_sites("federated-staged")
    assert not needs_real("synthetic-staged")
