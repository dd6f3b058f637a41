"""Hiding channels, and what the loss may ask for."""

import pytest
import torch
from torch import nn

from sitesynth import seeds
from sitesynth.generators.autoencoder import Autoencoder, neighbourhoods
from sitesynth.generators.autoencoder_training import (
    hide_channels,
    mirror_some,
    reconstruction_error,
)
from sitesynth.generators.patches import unfold
from sitesynth.settings import AutoencoderSettings


def test_a_missing_channel_does_not_enter_the_loss() -> None:
    """Scan 0 lacks channel 1, where it is off by 9: only the error of 2 in channel 0 counts."""
    images = torch.zeros(1, 2, 4, 4)
    reconstructed = torch.stack([torch.full((4, 4), 2.0), torch.full((4, 4), 9.0)])[None]

    error = reconstruction_error(reconstructed, images, torch.tensor([[True, False]]))
    assert error == 2


def test_hiding_never_takes_the_last_channel() -> None:
    """With probability 1 every channel would go, so the scan is shown whole."""
    presence = torch.tensor([[True, True], [True, False], [False, True]])

    shown = hide_channels(presence, probability=1.0, rng=seeds.generator(0, "hide"))
    assert torch.equal(shown, presence)


def test_hiding_takes_about_the_share_asked_for() -> None:
    """4000 channels, each hidden with probability 0.25: three standard errors are 0.02."""
    presence = torch.ones(1000, 4, dtype=torch.bool)
    shown = hide_channels(presence, probability=0.25, rng=seeds.generator(0, "share"))

    assert abs(float(shown.float().mean()) - 0.75) < 0.025


def test_what_a_missing_channel_holds_does_not_matter() -> None:
    """It is shown as its typical intensity, so zeros and anything else give the same latents."""
    model = untrained((8, 8), latent_channels=3)
    images = torch.rand(2, 2, 8, 8)
    presence = torch.tensor([[True, False], [True, False]])
    model.fit_shortcuts(images, torch.ones(2, 2, dtype=torch.bool))
    other = images.clone()
    other[:, 1] = 7.0

    assert torch.equal(model.encode(images, presence)[0], model.encode(other, presence)[0])


def test_before_any_step_almost_nothing_is_lost_between_as_many_numbers(
    rng: torch.Generator,
) -> None:
    """With as many latent channels as a block has numbers, only the ridge changes something."""
    model = untrained((8, 8), latent_channels=2 * 4 * 4)
    images = torch.rand(60, 2, 8, 8, generator=rng)
    presence = torch.ones(60, 2, dtype=torch.bool)
    model.fit_shortcuts(images, presence)
    mean, _ = model.encode(images, presence)

    torch.testing.assert_close(model.decode(mean), images, atol=0.03, rtol=0)
    assert float(mean.detach().square().mean()) == pytest.approx(1.0, rel=1e-3)


def test_small_components_are_drawn_nearer_to_large_ones(rng: torch.Generator) -> None:
    """A latent's spread is the root of its component's, up to one factor for all."""
    model = untrained((8, 8), latent_channels=4)
    spreads = torch.tensor([8.0, 4.0, 2.0, 1.0])
    patterns = torch.linalg.qr(torch.randn(32, 4, generator=rng))[0].T
    # Blocks of 4 x 4 places and two channels, as `fold` lays them out.
    blocks = (torch.randn(2000, 4, generator=rng) * spreads) @ patterns
    images = unfold(blocks.reshape(500, 2, 2, 32).permute(0, 3, 1, 2), (4, 4))
    presence = torch.ones(500, 2, dtype=torch.bool)
    model.fit_shortcuts(images, presence)
    latents, _ = model.encode(images, presence)
    found = latents.detach().transpose(0, 1).flatten(1).std(dim=1)

    torch.testing.assert_close(found / found[-1], (spreads / spreads[-1]).sqrt(), atol=0, rtol=0.1)


def test_scans_of_one_shade_have_finite_latents() -> None:
    """Where no block differs from another, no direction has a spread to divide by."""
    model = untrained((8, 8), latent_channels=3)
    images, presence = torch.full((4, 2, 8, 8), 0.5), torch.ones(4, 2, dtype=torch.bool)
    model.fit_shortcuts(images, presence)

    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_decoding_looks_at_neighbours() -> None:
    """Waves longer than a block: what two latents of 32 numbers leave open, neighbours say.

    The principal components alone are the same network with a way out that sees one place.
    """
    places = torch.arange(32)
    phases = 2 * torch.pi * torch.rand(40, 1, 1)
    waves = torch.sin(2 * torch.pi * places / 11 + phases).expand(40, 32, 32)[:, None]
    images = torch.cat([waves, waves], dim=1)
    presence = torch.ones(40, 2, dtype=torch.bool)
    model = untrained((32, 32), latent_channels=1)
    model.fit_shortcuts(images, presence)
    latents, _ = model.encode(images, presence)
    # One unit component, scaled so that latents have size 1: its way back is w / |w| ** 2.
    way_in = model.shortcut_in.weight.flatten()
    back = torch.einsum("f,nxy->nfxy", way_in / way_in.square().sum(), latents[:, 0])
    alone = unfold(back + model.shortcut_out.get_parameter("bias")[:, None, None], model.block)

    with_neighbours = (model.decode(latents) - images).square().mean()
    assert with_neighbours.item() < 0.5 * (alone - images).square().mean().item()


def test_neighbourhoods_are_ordered_like_a_convolutions_weight() -> None:
    latents = torch.rand(2, 4, 5, 3)
    weight = torch.rand(7, 2, 3, 3, 3)
    expected = nn.functional.conv3d(
        nn.functional.pad(latents[None], (1,) * 6, mode="replicate"), weight
    )[0]

    found = neighbourhoods(latents) @ weight.flatten(1).T
    torch.testing.assert_close(found.T.reshape(7, 4, 5, 3), expected)


def test_mirroring_swaps_right_and_left_only() -> None:
    """Each scan is itself or its mirror image along the first axis of the grid."""
    images = torch.rand(16, 1, 4, 3)
    mirrored = mirror_some(images, rng=seeds.generator(0, "mirror"))
    kept = (mirrored == images).flatten(1).all(dim=1)
    flipped = (mirrored == images.flip(2)).flatten(1).all(dim=1)

    assert (kept ^ flipped).all()
    assert kept.any()
    assert flipped.any()


def untrained(grid: tuple[int, ...], *, latent_channels: int) -> Autoencoder:
    """Return an autoencoder of two channels that shrinks each axis by four."""
    settings = AutoencoderSettings(
        patch=(2,) * len(grid),
        channels=(8, 8),
        latent_channels=latent_channels,
        kl_weight=0.0,
        adversarial=None,
        perceptual=None,
        sequence_dropout=0.0,
        learning_rate=1e-3,
        batch_size=1,
        num_steps=1,
        validate_every=None,
        patience_looks=None,
    )
    return Autoencoder(settings, num_channels=2, dims=len(grid))


@pytest.mark.parametrize("grid", [(8, 8), (8, 8, 4)])
def test_latents_have_the_grid_that_the_config_promises(grid: tuple[int, ...]) -> None:
    """A patch of 2 and one halving shrink each axis by four, in 2D and 3D."""
    model = untrained(grid, latent_channels=3)
    mean, std = model.encode(torch.rand(1, 2, *grid), torch.ones(1, 2, dtype=torch.bool))

    assert mean.shape == (1, 3, *(size // 4 for size in grid))
    assert (std > 0).all()
    assert model.decode(mean).shape == (1, 2, *grid)
