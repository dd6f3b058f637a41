"""An interrupted federation goes on as if nothing had happened."""

from pathlib import Path
from typing import Any

import pytest
import torch

from sitesynth.errors import SitesynthError
from sitesynth.settings import FederatedSettings
from sitesynth.strategies.averaging import Weights
from sitesynth.strategies.federation import announce
from sitesynth.strategies.parts import trained_names
from sitesynth.strategies.rounds import Hub, Standing
from sitesynth.strategies.standing import read_standing, standing_file, write_standing
from tests.contracts.strategy import build
from tests.unit.strategies import tiny_consortium as tiny
from tests.unit.strategies.test_rounds import SITES, asking
from tests.unit.strategies.test_strategies import CLASSIFIER, FEDERATED


KNOBS = FEDERATED.model_copy(
    update={"hub_momentum": 0.5, "sites_per_round": 2, "patience_rounds": 3}
)


def hub(federated: FederatedSettings = KNOBS) -> Hub:
    """Return the hub of three sites."""
    return Hub(
        asking(*SITES, federated=federated),
        sites=SITES,
        trained=trained_names(build(0)),
        federated=federated,
        num_steps=CLASSIFIER.num_steps,
        seed=1,
    )


def train(**how: Any) -> tuple[Weights, list[Any]]:
    """Return the best weights, and what was told."""
    told: list[Any] = []
    best = hub().train(
        build(0).state_dict(),
        member=0,
        on_step=lambda step, losses: told.append((step, dict(losses))),
        **how,
    )
    return best, told


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_resumed_training_equals_the_uninterrupted_one(number: int, tmp_path: Path) -> None:
    """From any complete round: the same weights and losses, momentum and draws included."""
    standings: list[Standing] = []
    expected, steps = train(on_round=standings.append)
    write_standing(tmp_path / "s", 0, standings[number - 1], {})
    member, standing, finished = read_standing(tmp_path / "s")
    found, rest = train(resumed=standing)

    assert (member, standing.number, finished) == (0, number, {})
    assert {name: v.tolist() for name, v in found.items()} == {
        name: v.tolist() for name, v in expected.items()
    }
    assert rest == steps[number - 1 :]


def test_a_standing_survives_its_file(tmp_path: Path) -> None:
    """Every number and bit, a first round's infinite loss and other members' included."""
    weights = {"a.b": torch.tensor([0.1, float("-0")]), "count": torch.tensor(7)}
    standing = Standing(1, 6, (0.1, 0.2), weights, {}, weights, float("inf"), 0)
    write_standing(tmp_path / "s", 2, standing, {0: weights, 1: weights})
    member, back, finished = read_standing(tmp_path / "s")

    assert member == 2
    assert (back.number, back.step, back.losses, back.lowest, back.best_number) == (
        1,
        6,
        (0.1, 0.2),
        float("inf"),
        0,
    )
    assert back.velocity == {}
    for part in (back.weights, back.best, finished[0], finished[1]):
        assert part["a.b"].numpy().tobytes() == weights["a.b"].numpy().tobytes()
        assert part["count"].item() == 7


def test_what_is_no_standing_is_told(tmp_path: Path) -> None:
    """By name, with the next step."""
    (tmp_path / "s").write_text("no")

    with pytest.raises(SitesynthError, match=r"s is no standing of a federation .* Delete it"):
        read_standing(tmp_path / "s")


def test_another_federation_has_another_file(tmp_path: Path) -> None:
    """Of another knob or other initial weights nothing can be resumed by mistake."""
    plan, initial = announce(**tiny.announced(tiny.settings()))
    other, _ = announce(**tiny.announced(tiny.settings(hub_momentum=0.5)))
    moved = {member: {k: v + 1 for k, v in part.items()} for member, part in initial.items()}
    files = {
        standing_file(tmp_path, plan, initial),
        standing_file(tmp_path, other, initial),
        standing_file(tmp_path, plan, moved),
    }

    assert len(files) == 3
    assert standing_file(tmp_path, plan, initial) in files
