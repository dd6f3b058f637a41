"""The diffusion transformer: silent at first, told apart by what it is told, safe in bfloat16."""

import torch

from sitesynth import seeds
from sitesynth.generators.denoiser import Conditions, Denoiser
from sitesynth.generators.transformer import Transformer
from sitesynth.settings import DiffusionSettings
from tests.unit.generators.networks import check_samples_are_independent


SHAPE = (3, 4, 2, 2)
BOTH = torch.ones(1, 2, dtype=torch.bool)


def awake() -> Transformer:
    """Return a transformer whose zeroed layers have been given weights."""
    with seeds.isolated(seeds.generator(0, "transformer")):
        model = Transformer(
            SHAPE, patch=(2, 1, 1), width=32, depth=2, num_classes=2, num_channels=2
        )
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def latents_of(scope: str, count: int = 1) -> torch.Tensor:
    """Draw latents."""
    return torch.randn(count, *SHAPE, generator=seeds.generator(0, scope))


def test_an_untrained_transformer_says_nothing() -> None:
    """So that an untrained flow is the Gaussian it stands beside."""
    model = Transformer(SHAPE, patch=(2, 1, 1), width=32, depth=2, num_classes=2, num_channels=2)
    said = model(latents_of("x"), torch.tensor([0.3]), torch.tensor([1]), BOTH)

    assert said.shape == (1, *SHAPE)
    assert torch.equal(said, torch.zeros_like(said))


@torch.no_grad()
def test_time_label_and_missing_channels_all_reach_the_output() -> None:
    """Each of them, changed alone, changes what is said."""
    model, x = awake(), latents_of("x")
    said = model(x, torch.tensor([0.3]), torch.tensor([0]), BOTH)
    others = {
        "time": model(x, torch.tensor([0.31]), torch.tensor([0]), BOTH),
        "label": model(x, torch.tensor([0.3]), torch.tensor([-1]), BOTH),
        "missing": model(x, torch.tensor([0.3]), torch.tensor([0]), torch.tensor([[True, False]])),
    }

    for name, other in others.items():
        assert not torch.allclose(said, other), name


@torch.no_grad()
def test_a_token_knows_its_place_and_sees_the_others() -> None:
    """Equal patches are answered differently, and a change in one corner reaches the opposite."""
    model = awake()
    told = (torch.tensor([0.3]), torch.tensor([0]), BOTH)
    flat = model(torch.ones(1, *SHAPE), *told)
    x = latents_of("x")
    changed = x.clone()
    changed[:, :, 0, 0, 0] += 1.0

    assert not torch.allclose(flat[..., 0, 0], flat[..., 1, 1])
    assert not torch.allclose(
        model(x, *told)[..., -1, -1, -1], model(changed, *told)[..., -1, -1, -1]
    )


@torch.no_grad()
def test_a_sample_does_not_depend_on_the_others_of_its_batch() -> None:
    """Scan 17 is the same scan in any batch."""
    check_samples_are_independent(awake(), latents_of("x", 3))


def test_attention_is_the_same_with_and_without_gradients() -> None:
    """Plain products while a CPU trains, a fused kernel while it samples."""
    model, told = awake(), (torch.tensor([0.3, 0.8]), torch.tensor([0, 1]), BOTH.repeat(2, 1))
    trained = model(latents_of("attention", 2), *told)
    with torch.no_grad():
        sampled = model(latents_of("attention", 2), *told)

    assert trained.requires_grad
    assert sampled.std() > 0.1
    torch.testing.assert_close(trained.detach(), sampled, rtol=1e-4, atol=1e-4)


def test_the_flow_trains_under_bfloat16() -> None:
    """As on an accelerator: the network may round, the Gaussian beside it may not."""
    settings = DiffusionSettings(
        schedule="straight",
        patch=(2, 1, 1),
        width=32,
        depth=1,
        convolutions=None,
        sizes=(),
        components=2,
        detail=0.5,
        num_views=3,
        warp=0.0,
        covariates=(),
        label_score=False,
        condition_dropout=0.1,
        ema_decay=0.9,
        dp=None,
        learning_rate=1e-3,
        batch_size=2,
        num_steps=1,
        validate_every=None,
        patience_looks=None,
    )
    flow = Denoiser(settings, latent_shape=SHAPE, num_classes=2, num_channels=2)
    x, t = latents_of("x", 2), torch.tensor([0.2, 0.8])
    conditions = Conditions(torch.tensor([0, 1]), BOTH.expand(2, 2))
    exact = flow(x, t, conditions)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = flow(x, t, conditions)
    rounded.square().mean().backward()

    # An untrained network says 0 in any precision, so what remains is the Gaussian's part.
    assert torch.equal(rounded, exact)
    assert all(
        torch.isfinite(parameter.grad).all()
        for parameter in flow.parameters()
        if parameter.grad is not None
    )
