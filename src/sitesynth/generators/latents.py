"""Latents of a site's training scans: encoded once, scaled once.

The encoder's mean and standard deviation are kept, so that each step draws a new latent from them
(as a step on the images would). Each scan is encoded in several views: as it is, mirrored, and then
shifted by a few voxels and, if asked for, warped, every other one mirrored too. A small site needs
the augmentation, against remembering its patients most of all, and it survives the caching this
way.

The flow works on *scaled* latents: each channel has mean 0, and one number for all channels makes
their mean square 1 over all training latents. One number, not one per channel, so that what is
faint in the images stays faint in the flow's loss. The scale is part of the generator: without it,
its weights mean nothing.

They may be kept in a file, for the next training on them. Its name is the digest of all that they
depend on: the autoencoder's weights, the preprocessed scans, the views' randomness, and the code.

Axes: n = scans, v = views, k = latent channels, then the latent grid.
"""

import hashlib
import inspect
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import torch
from jaxtyping import Bool, Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sitesynth import networks
from sitesynth.errors import MissingInputError, TrainingError
from sitesynth.generators import autoencoder as autoencoder_code
from sitesynth.generators import patches, views
from sitesynth.generators.autoencoder import Autoencoder
from sitesynth.generators.views import Warp, views_of
from sitesynth.images import ImageSet
from sitesynth.storage import read_json, replacing, sweep, write_json
from sitesynth.training import autocast


__all__ = [
    "SCALE_FILE",
    "LatentScale",
    "Latents",
    "encode_once",
    "encode_scans",
    "measure_scale",
    "read_scale",
    "scans_at_once",
    "write_scale",
]

SCALE_FILE: Final = "latent_scale.json"
"""Beside an autoencoder that was trained on phantoms."""

LATENTS_CODE = (sys.modules[__name__], autoencoder_code, networks, patches, views)
"""Modules whose change may change latents."""

BATCH_SIZE = 8

NUMBERS_AT_ONCE = 2**24
"""Voxels of all channels that an autoencoder is given at once: its feature maps are some twenty
times as large, and a card of 40 GiB has to hold them."""


@final
@dataclass(frozen=True)
class LatentScale:
    """Mean of each latent channel, and one standard deviation, over a site's training latents."""

    mean: tuple[float, ...]
    std: float

    def normalize(self, latents: Float[Tensor, "n k ..."]) -> Float[Tensor, "n k ..."]:
        """Bring raw latents to mean 0 and mean square 1."""
        return (latents - self._mean_like(latents)) / self.std

    def restore(self, scaled: Float[Tensor, "n k ..."]) -> Float[Tensor, "n k ..."]:
        """Undo `normalize`."""
        return scaled * self.std + self._mean_like(scaled)

    def _mean_like(self, latents: Tensor) -> Tensor:
        mean = torch.tensor(self.mean, device=latents.device)
        return mean.reshape(1, -1, *([1] * (latents.ndim - 2)))


@final
@dataclass(frozen=True)
class Latents:
    """What the encoder made of some scans, in several views each."""

    mean: Float[Tensor, "n v k ..."]
    std: Float[Tensor, "n v k ..."]
    presence: Bool[Tensor, "n c"]

    def draw(self, indices: Tensor, *, rng: torch.Generator) -> Float[Tensor, "m k ..."]:
        """Draw a raw latent of each chosen scan, from one of its views."""
        view = torch.randint(self.mean.shape[1], (len(indices),), generator=rng)
        mean, std = self.mean[indices, view], self.std[indices, view]
        return mean + std * torch.randn(mean.shape, generator=rng)


def scans_at_once(images: ImageSet, most: int) -> int:
    """Return how many scans an autoencoder is given together: `most`, or what memory holds."""
    return max(1, min(most, NUMBERS_AT_ONCE // (len(images.channels) * math.prod(images.grid))))


@torch.no_grad()
def encode_scans(
    images: ImageSet,
    autoencoder: Autoencoder,
    *,
    num_views: int,
    rng: torch.Generator,
    warp: Warp | None = None,
) -> Latents:
    """Encode scans in several views, a few scans at a time.

    In the precision that the autoencoder was trained in: what rounding takes is a tenth of the
    noise that is drawn beside.

    Args:
        images: The scans.
        autoencoder: What encodes them, on its device; the latents are returned on the CPU.
        num_views: Encodings of each scan: as it is, mirrored, and then shifted ones.
        rng: Source of the shifts.
        warp: What is done to shifted views beside.
    """
    means, stds = [], []
    device = autoencoder.typical.device
    size = scans_at_once(images, BATCH_SIZE)
    for start in range(0, len(images), size):
        stop = min(start + size, len(images))
        batch, has = images.load(range(start, stop)), images.presence[start:stop].to(device)
        with autocast(device):
            views = [
                autoencoder.encode(view.to(device), has)
                for view in views_of(batch, num_views=num_views, rng=rng, warp=warp)
            ]
        means.append(torch.stack([mean.float().cpu() for mean, _ in views], dim=1))
        stds.append(torch.stack([std.float().cpu() for _, std in views], dim=1))
    return Latents(torch.cat(means), torch.cat(stds), images.presence)


def encode_once(
    splits: Mapping[str, ImageSet],
    autoencoder: Autoencoder,
    *,
    num_views: int,
    rng: torch.Generator,
    warp: Warp | None = None,
    folder: Path | None,
) -> dict[str, Latents]:
    """Encode the scans of some splits, or read what an earlier call on the same ones has left.

    Args:
        splits: The scans.
        autoencoder: What encodes them, on its device.
        num_views: Encodings of each scan.
        rng: Source of the shifts, as it was seeded.
        warp: What is done to shifted views beside.
        folder: Where the latents are kept, those of other scans or weights no longer; None keeps
            them nowhere.

    Raises:
        MissingInputError: If the file that was left cannot be read.
    """

    def encode() -> dict[str, Latents]:
        return {
            split: encode_scans(images, autoencoder, num_views=num_views, rng=rng, warp=warp)
            for split, images in splits.items()
        }

    if folder is None:
        return encode()
    path = folder / f"{_digest_of_latents(splits, autoencoder, num_views, rng, warp)}.safetensors"
    if not path.exists():
        encoded = encode()
        with replacing(path) as temporary:
            save_file(
                {
                    f"{split}/{part}": getattr(latents, part).contiguous()
                    for split, latents in encoded.items()
                    for part in ("mean", "std")
                },
                temporary,
            )
        for other in folder.glob("*.safetensors"):
            if other != path:
                other.unlink()
        sweep(folder)
    try:
        kept = load_file(path)
    except SafetensorError as error:
        raise MissingInputError(
            f"{path} is damaged ({error}); delete it, and the next run encodes the scans again."
        ) from error
    return {
        split: Latents(kept[f"{split}/mean"], kept[f"{split}/std"], images.presence)
        for split, images in splits.items()
    }


def _digest_of_latents(
    splits: Mapping[str, ImageSet],
    autoencoder: Autoencoder,
    num_views: int,
    rng: torch.Generator,
    warp: Warp | None,
) -> str:
    """Return a digest of all that latents depend on."""
    device = autoencoder.typical.device.type
    drawn = f"{num_views} {warp} {rng.initial_seed()}"
    told = hashlib.sha256(f"{drawn} {device} {torch.__version__}".encode())
    for module in LATENTS_CODE:
        told.update(inspect.getsource(module).encode())
    for name, weight in sorted(autoencoder.state_dict().items()):
        told.update(name.encode())
        told.update(weight.cpu().contiguous().numpy().tobytes())
    for split, images in splits.items():
        told.update(f"{split} {len(images)} {images.channels} {images.grid}".encode())
        told.update(images.presence.numpy().tobytes())
        for index in range(len(images)):
            told.update(images.load([index]).numpy().tobytes())
    return told.hexdigest()[:32]


def write_scale(folder: Path, scale: LatentScale) -> None:
    """Write a scale beside the autoencoder whose latents it is of."""
    write_json(folder / SCALE_FILE, {"mean": list(scale.mean), "std": scale.std})


def read_scale(folder: Path) -> LatentScale:
    """Read what `write_scale` wrote.

    Raises:
        SitesynthError: If the autoencoder was not trained on phantoms, or by an older version.
    """
    told = read_json(folder / SCALE_FILE)
    return LatentScale(tuple(told["mean"]), told["std"])


def measure_scale(latents: Latents) -> LatentScale:
    """Measure the scale over all training latents, their drawn noise included.

    Raises:
        TrainingError: If the latents are constant or not finite: the autoencoder has failed.
    """
    channels = latents.mean.double().transpose(0, 2).flatten(1)
    mean = channels.mean(dim=1)
    spread = (channels - mean[:, None]).square().mean() + latents.std.double().square().mean()
    std = float(spread.sqrt())
    if not (math.isfinite(std) and std > 0):
        raise TrainingError(
            f"the latents' standard deviation is {std}; it must be finite and above 0. "
            "The autoencoder has collapsed: lower its kl_weight or its learning_rate."
        )
    return LatentScale(tuple(mean.tolist()), std)
