"""The transformer between convolutions: silent at first, told apart by what it is told."""

from functools import partial

import pytest
import torch

from sitesynth import seeds
from sitesynth.generators.transformer import Transformer
from sitesynth.generators.uvit import UViT
from tests.unit.generators.networks import check_samples_are_independent


SHAPE = (3, 4, 2, 2)
BOTH = torch.ones(1, 2, dtype=torch.bool)


def built(shape: tuple[int, ...] = SHAPE, patch: tuple[int, ...] = (2, 1, 1)) -> UViT:
    """Build a small one."""
    with seeds.isolated(seeds.generator(0, "uvit")):
        build = partial(Transformer, patch=patch, width=32, depth=1, num_classes=2, num_channels=2)
        return UViT(shape, build, feature_maps=16, num_blocks=2, num_hints=1)


def awake() -> UViT:
    """Return one whose zeroed layers have been given weights."""
    model = built()
    with seeds.isolated(seeds.generator(0, "awake")):
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def latents_of(scope: str, count: int = 1) -> torch.Tensor:
    """Draw latents, and as many hints."""
    return torch.randn(count, 2 * SHAPE[0], *SHAPE[1:], generator=seeds.generator(0, scope))


@pytest.mark.parametrize(("shape", "patch"), [(SHAPE, (2, 1, 1)), ((3, 4, 4), (2, 2))])
def test_an_untrained_network_says_nothing(shape: tuple[int, ...], patch: tuple[int, ...]) -> None:
    """So that an untrained flow is the Gaussian it stands beside, in two and three dimensions."""
    shown = torch.ones(1, 2 * shape[0], *shape[1:])
    said = built(shape, patch)(shown, torch.tensor([0.3]), torch.tensor([1]), BOTH)

    assert said.shape == (1, *shape)
    assert torch.equal(said, torch.zeros_like(said))


def test_every_weight_can_leave_zero() -> None:
    """Two zeroed layers in a row would never learn."""
    model = built()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    told = (torch.tensor([0.3]), torch.tensor([1]), torch.tensor([[True, False]]))
    for _ in range(4):
        optimizer.zero_grad()
        (model(latents_of("x"), *told) - 1).square().mean().backward()
        optimizer.step()

    silent = [
        name
        for name, weight in model.named_parameters()
        if weight.grad is None or not weight.grad.any()
    ]
    assert silent == []


@torch.no_grad()
def test_time_label_missing_channels_and_far_places_all_reach_the_output() -> None:
    """Each of them, changed alone, changes what is said."""
    model, x = awake(), latents_of("x")
    said = model(x, torch.tensor([0.3]), torch.tensor([0]), BOTH)
    moved = x.clone()
    moved[:, :, 0, 0, 0] += 1.0
    others = {
        "time": model(x, torch.tensor([0.31]), torch.tensor([0]), BOTH),
        "label": model(x, torch.tensor([0.3]), torch.tensor([-1]), BOTH),
        "missing": model(x, torch.tensor([0.3]), torch.tensor([0]), torch.tensor([[True, False]])),
        "place": model(moved, torch.tensor([0.3]), torch.tensor([0]), BOTH),
    }

    for name, other in others.items():
        assert not torch.allclose(said[..., -1, -1, -1], other[..., -1, -1, -1]), name


@torch.no_grad()
def test_a_sample_does_not_depend_on_the_others_of_its_batch() -> None:
    """Scan 17 is the same scan in any batch."""
    check_samples_are_independent(awake(), latents_of("x", 3))


def test_blocks_that_are_computed_again_have_the_same_gradients() -> None:
    """The knob saves memory and changes nothing else."""
    gradients = []
    for recomputes in (False, True):
        model = awake().train()
        model.recomputes = recomputes
        model(latents_of("x"), torch.tensor([0.3]), torch.tensor([0]), BOTH).sum().backward()
        gradients.append([weight.grad for weight in model.parameters()])

    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, again)


def test_inner_convolutions_are_matrices_for_muon() -> None:
    """Muon steps matrices; all of it but what looks outward, the conditions and the biases."""
    model = built()
    names = {id(weight): name for name, weight in model.named_parameters()}
    chosen = {names[id(matrix)] for matrix in model.matrices()}

    assert all(matrix.ndim == 2 for matrix in model.matrices())
    assert {"before.0.first.weight", "after.1.second.weight", "transformer.first.weight"} <= chosen
    assert not any("modulate" in name or name in {"first.weight", "last.weight"} for name in chosen)
