"""Features of scans by a network: one vector per scan, a block of it per sequence.

A sequence's block is the mean over the slices of a plane, and then over planes; of a volume it is
the network's one output. A scan is one row however many slices are shown, because patients are
what is counted. The mask is not shown.

Axes: n = scans, c = channels, q = sequences, d = features.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, final

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import nn

from sitesynth.errors import ExtractorError
from sitesynth.extractors.files import read_network
from sitesynth.extractors.inputs import inputs_of
from sitesynth.features import FeatureScale, head_of
from sitesynth.settings import ExtractorSettings
from sitesynth.storage import digest_of


__all__ = ["NetworkExtractor", "NetworkFeatures", "check_varies", "read_extractors"]

VERSION: Final = 1
"""Raised with every change to what a network is shown, or to how its outputs are put together."""


@final
@dataclass(frozen=True)
class NetworkExtractor:
    """A network with the way in which it is shown scans."""

    name: str
    settings: ExtractorSettings
    network: nn.Module
    num_sequences: int

    @property
    def description(self) -> dict[str, Any]:
        """What a figure that rests on these features says of them."""
        told = self.settings.model_dump(mode="json", exclude={"weights"})
        return {
            "network": self.settings.network,
            "weights_sha256": self.settings.sha256,
            "digest": digest_of([VERSION, told]),
        }

    def extract(
        self, voxels: Float[np.ndarray, "c ..."], presence: Bool[np.ndarray, " c"]
    ) -> Float[np.ndarray, " d"]:
        """Return the features of one scan in [0, 1]; NaN for sequences that it lacks."""
        present = np.flatnonzero(presence[: self.num_sequences]).tolist()
        head = head_of(voxels[present])
        blocks: dict[int, np.ndarray] = {}
        with torch.inference_mode():
            for sequence in present:
                planes = inputs_of(voxels[sequence], head, self.settings)
                means = [self.network(inputs).mean(dim=0) for inputs in planes]
                blocks[sequence] = torch.stack(means).mean(dim=0).double().numpy()
        width = len(next(iter(blocks.values())))
        lacking = np.full(width, np.nan)
        return np.concatenate([blocks.get(q, lacking) for q in range(self.num_sequences)])

    def hide(
        self, features: Float[np.ndarray, "n d"], presence: Bool[np.ndarray, "n c"]
    ) -> Float[np.ndarray, "n d"]:
        """Return features with those of missing sequences NaN."""
        width = features.shape[1] // self.num_sequences
        lacking = np.repeat(~presence[:, : self.num_sequences], width, axis=1)
        hidden: np.ndarray = np.where(lacking, np.nan, features)
        return hidden


@final
@dataclass(frozen=True)
class NetworkFeatures:
    """Features of a set of scans by every extractor, filled one scan at a time."""

    extractors: tuple[NetworkExtractor, ...]

    presence: Bool[np.ndarray, "n c"]
    """The channels by which each scan is looked at."""

    rows: dict[str, dict[int, np.ndarray]] = field(default_factory=dict)
    """By extractor, and by scan from 0."""

    def observe(self, number: int, voxels: Float[np.ndarray, "c ..."]) -> None:
        """Look at scan `number`."""
        for extractor in self.extractors:
            features = extractor.extract(voxels, self.presence[number])
            self.rows.setdefault(extractor.name, {})[number] = features

    def of(self, name: str) -> Float[np.ndarray, "n d"]:
        """Return an extractor's features of all scans."""
        return np.stack([row for _, row in sorted(self.rows[name].items())])


def read_extractors(
    extractors: Mapping[str, ExtractorSettings], *, num_sequences: int
) -> tuple[NetworkExtractor, ...]:
    """Read every network that a study names.

    Raises:
        ExtractorError: If a file of weights is not what the study says.
    """
    return tuple(
        NetworkExtractor(name, settings, read_network(name, settings), num_sequences)
        for name, settings in extractors.items()
    )


def check_varies(name: str, scale: FeatureScale) -> None:
    """Make sure that an extractor tells a site's training scans apart.

    Raises:
        ExtractorError: If it makes the same of all.
    """
    if not scale.varies.any():
        raise ExtractorError(
            f"extractors.{name}: none of its {len(scale.mean)} features varies among training "
            "scans. Its mean and spread do not fit its network, or its weights are not trained."
        )
