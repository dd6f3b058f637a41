"""Training a GAN on a site's latents: a conditional WGAN-GP (Gulrajani et al., 2017).

The critic's mean score of real latents, less that of drawn ones, estimates their Wasserstein
distance as long as its slope is 1; a penalty holds the slope there. The generator lowers it.

Both players are trained by the one loop, as two parts of one model. A step's loss is the sum of
both players' losses, each of which is cut off from the other's weights; in steps that are not the
generator's turn its weights have no gradient, and the optimizer leaves them. The critic stays here:
it is neither kept nor released.

Axes: n = samples, k = latent channels, c = image channels, then the latent grid.
"""

from collections.abc import Callable, Sequence
from math import ceil, prod
from pathlib import Path
from typing import Final, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from sitesynth import seeds
from sitesynth.generators.denoiser import Conditions, Denoiser
from sitesynth.generators.latents import Latents, LatentScale
from sitesynth.generators.rivals import Gan
from sitesynth.settings import DiffusionSettings, GanSettings
from sitesynth.tracking import OnStep
from sitesynth.training import Average, best_device, train


__all__ = ["Critic", "gradient_penalty", "train_gan"]

BETAS: Final = (0.0, 0.9)
"""Of AdamW: momentum would follow where the other player no longer is (Gulrajani et al., 2017)."""

SLOPE: Final = 0.2
"""Of a leaky unit below zero."""


@final
class Critic(nn.Module):
    """Scores latents: two convolutions, and a projection on the class (Miyato and Koyama, 2018).

    Without normalization between samples, which the gradient penalty forbids.
    """

    def __init__(
        self, latent_shape: Sequence[int], *, width: int, num_classes: int, num_channels: int
    ) -> None:
        super().__init__()
        channels, *grid = latent_shape
        convolution = {2: nn.Conv2d, 3: nn.Conv3d}[len(grid)]
        self.features = nn.Sequential(
            convolution(channels, width, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            convolution(width, 2 * width, 3, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Flatten(),
        )
        numbers = 2 * width * prod(ceil(size / 2) for size in grid)
        self.score = nn.Linear(numbers, 1)
        self.label = nn.Embedding(num_classes + 1, numbers)
        self.missing = nn.Linear(num_channels, numbers, bias=False)
        nn.init.normal_(self.label.weight, std=numbers**-0.5)

    def forward(
        self, latents: Float[Tensor, "n k ..."], conditions: Conditions
    ) -> Float[Tensor, " n"]:
        """Return a score per sample, higher the more real it looks."""
        features = self.features(latents)
        # Row 0 is the unknown label.
        asked = self.label(conditions.labels + 1)
        asked = asked + self.missing((~conditions.presence).float())
        score: Tensor = self.score(features)[:, 0] + (features * asked).sum(dim=1)
        return score


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Float[Tensor, "n ..."],
    drawn: Float[Tensor, "n ..."],
    *,
    shares: Float[Tensor, " n"],
) -> Float[Tensor, ""]:
    """Return the mean of (slope - 1)^2 at points between real and drawn samples.

    Args:
        critic: Scores samples.
        real: Real samples.
        drawn: As many drawn ones.
        shares: How far from real to drawn each point lies.
    """
    share = shares.reshape(-1, *([1] * (real.ndim - 1)))
    between = real.lerp(drawn, share).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    penalty: Tensor = (slope.flatten(1).norm(dim=1) - 1).square().mean()
    return penalty


@final
class _Players(nn.Module):
    """Both players as one model, for the one loop."""

    def __init__(self, gan: Gan, critic: Critic) -> None:
        super().__init__()
        self.gan = gan
        self.critic = critic


def train_gan(
    flow: Denoiser,
    latents: Latents,
    labels: Tensor,
    scale: LatentScale,
    *,
    settings: GanSettings,
    diffusion: DiffusionSettings,
    seed: int,
    site: str,
    checkpoint: Path | None = None,
    on_step: OnStep = lambda step, losses: None,
) -> tuple[Gan, Critic]:
    """Train the conditional GAN of one site.

    Args:
        flow: An untrained flow, whose network and fitted Gaussian the GAN takes over.
        latents: Encoded training scans.
        labels: Their class numbers, -1 for unknown.
        scale: The scale of all training latents.
        settings: The `generator.gan` section of params.yaml.
        diffusion: The `diffusion` section: batches, condition dropout and averaging.
        seed: Root seed of the study.
        site: Whose GAN it is; names the randomness.
        checkpoint: Where the state is kept, for a run that is killed.
        on_step: Told each step's losses.

    Returns:
        Both players with their averaged weights, in evaluation mode, on the CPU.

    Raises:
        TrainingError: If the loss diverges.
    """
    device = best_device()
    with seeds.isolated(seeds.generator(seed, "gan", site, "weights")):
        critic = Critic(
            latents.mean.shape[2:],
            width=settings.critic_width,
            num_classes=len(flow.mean) - 1,
            num_channels=latents.presence.shape[1],
        )
    players = _Players(Gan(flow), critic).to(device)
    average = Average(players, diffusion.ema_decay)

    def losses_at(step: int) -> dict[str, Tensor]:
        rng = seeds.generator(seed, "gan", site, "step", step)
        chosen = torch.randint(len(labels), (diffusion.batch_size,), generator=rng)
        real = scale.normalize(latents.draw(chosen, rng=rng)).to(device)
        conditions = (
            Conditions(labels[chosen], latents.presence[chosen])
            .hide_labels(probability=diffusion.condition_dropout, rng=rng)
            .to(device)
        )
        noise = torch.randn(real.shape, generator=rng).to(device)
        shares = torch.rand(len(chosen), generator=rng).to(device)
        is_its_turn = step % settings.critic_steps == 0
        with torch.set_grad_enabled(is_its_turn):
            drawn = players.gan(noise, conditions)
        fixed = drawn.detach()
        distance = (critic(real, conditions) - critic(fixed, conditions)).mean()
        penalty = gradient_penalty(lambda x: critic(x, conditions), real, fixed, shares=shares)
        loss = settings.penalty_weight * penalty - distance
        if is_its_turn:
            frozen = {name: value.detach() for name, value in critic.named_parameters()}
            loss = loss - functional_call(critic, frozen, (drawn, conditions)).mean()
        return {"loss": loss, "distance": distance, "penalty": penalty}

    train(
        players,
        losses_at,
        num_steps=settings.num_steps,
        learning_rate=settings.learning_rate,
        betas=BETAS,
        average=average,
        checkpoint=checkpoint,
        on_step=on_step,
    )
    players.load_state_dict(average.weights)
    players.cpu()
    return players.gan, critic
