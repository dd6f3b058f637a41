"""An encoder of scans that a site trains on its own, without labels: a third look for copies.

SimCLR (Chen et al., 2020): two views of the same scan, each changed in its own way, should lie
close together, and apart from all other scans of the batch. What the changes leave is the person.
Dar et al. (2024) look for copies by such an encoder.

A network knows the scans that it was trained on: it has pushed them apart from each other. So no
scan is judged by an encoder that learned from it. The site's training patients are dealt into
halves; an encoder learns from each, and looks at patients of the other one. Held-out patients are
dealt into the same halves, and learned from by neither. To its encoder a training patient is then
what a held-out one is, and what chance does can be told as in the other views.

The encoders are used and forgotten: neither is written anywhere, and no bundle has them.

Axes: n, m = scans, c = channels, d = numbers of an embedding, then the grid of thumbnails.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final, final

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sitesynth import seeds
from sitesynth.described import Described, shrink
from sitesynth.privacy.similarity import COARSE_VOXELS, RIGHT, SimilarityView
from sitesynth.settings import EncoderSettings
from sitesynth.training import best_device, channels_last, train


__all__ = ["Encoder", "contrastive_loss", "deal", "encoder_view", "train_encoder", "vary"]

NUM_HALVES: Final = 2
STRIDES: Final = (1, 2, 2)
EMBEDDING: Final = 64
"""Numbers of an embedding."""

TEMPERATURE: Final = 0.2
WEIGHT_DECAY: Final = 1e-2

MAX_TURN: Final = 0.35
"""Largest turn about each axis, in radians: 20 degrees."""
MAX_SHIFT: Final = 0.2
"""Largest shift along each axis, as a share of half the grid."""
MAX_LOG_ZOOM: Final = 0.15
MAX_LOG_GAMMA: Final = 0.4
MAX_GAIN: Final = 0.15
MAX_NOISE: Final = 0.06
HIDDEN: Final = 0.1
"""Probability that a sequence of a view is hidden."""


@final
class Encoder(nn.Module):
    """Three convolutions, the second and third to half the size, and two layers on their mean."""

    def __init__(self, num_channels: int, dims: int, width: int) -> None:
        super().__init__()
        convolution, norm = {2: (nn.Conv2d, nn.BatchNorm2d), 3: (nn.Conv3d, nn.BatchNorm3d)}[dims]
        widths = (num_channels, width, 2 * width, 4 * width)
        layers: list[nn.Module] = []
        for stride, (before, after) in zip(STRIDES, pairwise(widths), strict=True):
            layers += [
                convolution(before, after, 3, stride=stride, padding=1),
                norm(after),
                nn.GELU(),
            ]
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Linear(4 * width, 4 * width),
            nn.BatchNorm1d(4 * width),
            nn.GELU(),
            nn.Linear(4 * width, EMBEDDING),
            # Else all embeddings point the same way at first, and stay so for long.
            nn.BatchNorm1d(EMBEDDING, affine=False),
        )

    def forward(self, images: Float[Tensor, "n c ..."]) -> Float[Tensor, "n d"]:
        """Return embeddings of length 1."""
        found = self.head(self.body(images).flatten(2).mean(dim=2))
        return nn.functional.normalize(found, dim=1)


def vary(
    images: Float[Tensor, "n c ..."], presence: Bool[Tensor, "n c"], *, rng: torch.Generator
) -> Float[Tensor, "n c ..."]:
    """Return another view of each scan.

    Mirrored or not, turned, shifted and zoomed; then each channel's contrast is bent and its
    brightness changed, noise is added, and some channels are hidden.
    """
    count, channels = images.shape[:2]
    dims = images.ndim - 2

    def draw(*shape: int) -> Tensor:
        return 2 * torch.rand(count, *shape, generator=rng) - 1

    turn = MAX_TURN * draw(dims, dims).tril(-1)
    matrix = torch.linalg.matrix_exp(turn - turn.mT) * (MAX_LOG_ZOOM * draw(1, 1)).exp()
    # The first axis of the grid, toward the right, is the last coordinate of torch's samplers.
    matrix[:, :, -1] *= draw(1).sign()
    shift = MAX_SHIFT * draw(dims, 1)
    places = nn.functional.affine_grid(
        torch.cat([matrix, shift], dim=2), list(images.shape), align_corners=False
    )
    moved = nn.functional.grid_sample(
        images, places, padding_mode="border", align_corners=False
    ).clamp_min(0)
    shape = (channels, *([1] * dims))
    bent = moved ** (MAX_LOG_GAMMA * draw(*shape)).exp() * (1 + MAX_GAIN * draw(*shape))
    spread = MAX_NOISE * draw(1, *([1] * dims)).abs()
    noisy = bent + spread * torch.randn(images.shape, generator=rng)
    shown = presence & (torch.rand(count, channels, generator=rng) >= HIDDEN)
    return noisy * shown.reshape(count, *shape)


def contrastive_loss(
    first: Float[Tensor, "n d"],
    second: Float[Tensor, "n d"],
    *,
    owners: Sequence[str],
) -> Float[Tensor, ""]:
    """Return NT-Xent, the normalized temperature-scaled cross-entropy.

    Args:
        first: Embeddings of one view of each scan, of length 1.
        second: Embeddings of another view.
        owners: Whose each scan is: two scans of one patient are neither to be brought together nor
            to be told apart.
    """
    both = torch.cat([first, second])
    names = np.asarray([*owners, *owners])
    same = torch.from_numpy(names[:, None] == names[None, :])
    partner = torch.arange(len(both)).roll(len(first))
    same[torch.arange(len(both)), partner] = False
    alike = (both @ both.T / TEMPERATURE).masked_fill(same.to(both.device), -math.inf)
    return nn.functional.cross_entropy(alike, partner.to(both.device))


def train_encoder(
    scans: Described, *, settings: EncoderSettings, scope: Sequence[str | int], seed: int
) -> Encoder:
    """Train an encoder on some scans of a site.

    Args:
        scans: What to learn from.
        settings: The knob `privacy.encoder`.
        scope: Words that name this training's randomness.
        seed: Root seed of the study.

    Raises:
        TrainingError: If the loss diverges.
    """
    images, presence = _images(scans), torch.from_numpy(scans.presence)
    dims = images.ndim - 2
    with seeds.isolated(seeds.generator(seed, *scope, "weights")):
        encoder = Encoder(images.shape[1], dims, settings.width).to(best_device())
    channels_last(encoder, dims)

    def losses_at(step: int) -> dict[str, Tensor]:
        rng = seeds.generator(seed, *scope, "step", step)
        chosen = torch.randperm(len(images), generator=rng)[: settings.batch_size]
        views = torch.cat([vary(images[chosen], presence[chosen], rng=rng) for _ in range(2)])
        first, second = encoder(views.to(best_device())).chunk(2)
        owners = [scans.patients[number] for number in chosen.tolist()]
        return {"loss": contrastive_loss(first, second, owners=owners)}

    train(
        encoder,
        losses_at,
        num_steps=settings.num_steps,
        learning_rate=settings.learning_rate,
        weight_decay=WEIGHT_DECAY,
    )
    return encoder


def encoder_view(
    train_scans: Described,
    held_out: Described,
    *,
    settings: EncoderSettings,
    seed: int,
    site: str,
) -> SimilarityView:
    """Train a site's encoders, and return the view of what they see.

    Its second set must be of the patients given here; each is seen by the encoder that did not
    learn from the half the patient is in.
    """
    halves = deal(train_scans.patients, held_out.patients, seed=seed, site=site)
    is_first = np.array([halves[patient] == 0 for patient in train_scans.patients])
    encoders = [
        train_encoder(
            _chosen(train_scans, other), settings=settings, scope=("encoder", site, half), seed=seed
        )
        for half, other in enumerate((~is_first, is_first))
    ]

    def similarity(first: Described, second: Described) -> Float[np.ndarray, "n m"]:
        found = np.empty((len(first), len(second)))
        for half, encoder in enumerate(encoders):
            inside = np.array([halves[patient] == half for patient in second.patients], dtype=bool)
            a, b = (_embed(encoder, scans) for scans in (first, _chosen(second, inside)))
            found[:, inside] = a @ b.T
        return found

    return similarity


def deal(
    train_patients: Sequence[str], held_out_patients: Sequence[str], *, seed: int, site: str
) -> Mapping[str, int]:
    """Deal training and held-out patients into halves, at random, each kind evenly."""
    rng = seeds.numpy_generator(seed, "encoder", site, "halves")
    halves: dict[str, int] = {}
    for patients in (train_patients, held_out_patients):
        names = list(dict.fromkeys(patients))
        halves |= {
            names[place]: number % NUM_HALVES
            for number, place in enumerate(rng.permutation(len(names)).tolist())
        }
    return halves


@torch.no_grad()
def _embed(encoder: Encoder, scans: Described) -> Float[np.ndarray, "n d"]:
    """Return the embeddings of scans; a scan and its mirror image have the same."""
    images = _images(scans).to(best_device())
    both = encoder(images) + encoder(images.flip(RIGHT))
    found: np.ndarray = nn.functional.normalize(both, dim=1).double().cpu().numpy()
    return found


def _images(scans: Described) -> Float[Tensor, "n c ..."]:
    """Return thumbnails as coarse as the voxel view looks at them."""
    coarse = np.stack([shrink(one, most=COARSE_VOXELS) for one in scans.thumbnails])
    return torch.from_numpy(coarse.astype(np.float32))


def _chosen(scans: Described, which: Bool[np.ndarray, " n"]) -> Described:
    return Described(
        scans.features[which],
        scans.thumbnails[which],
        scans.presence[which],
        tuple(np.asarray(scans.patients)[which].tolist()),
    )
