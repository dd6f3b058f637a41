"""How far a generator's scans are from its site's held-out ones: shared by several benchmarks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, final

import numpy as np
from jaxtyping import Float

from sitesynth import seeds
from sitesynth.described import Described, describe_real
from sitesynth.features import Extractor, FeatureScale, extractor_for
from sitesynth.generators.generator import Generator
from sitesynth.images import ImageSet, read_images
from sitesynth.quality.fidelity import measure_distances
from sitesynth.sampling import write_samples
from sitesynth.settings import Settings


__all__ = ["HeldOut", "draw_cohort"]

NUM_RESAMPLES: Final = 200


@final
@dataclass(frozen=True)
class HeldOut:
    """Held-out scans of a site, compared in units of its training scans' spread."""

    training: Described
    scans: Described
    scale: FeatureScale
    extractor: Extractor

    @classmethod
    def of(cls, scans: ImageSet) -> Self:
        """Describe a site's scans."""
        training = describe_real(scans.in_split("train"))
        return cls(
            training,
            describe_real(scans.in_split("validation")),
            FeatureScale.of(training.features),
            extractor_for(scans.channels, len(scans.grid)),
        )

    def distances_to_training(self) -> str:
        """Return KID and FID of the training scans, with their intervals, as cells of a row."""
        return self.distances_of(self.training.features, self.training.patients)

    def distances_to(self, synthetic: ImageSet) -> str:
        """Return those of synthetic scans, as if they lacked the sequences that held-out ones lack.

        Args:
            synthetic: Scans with every channel.
        """
        described = describe_real(synthetic)
        return self.distances_of(self.lacking_alike(described.features), described.patients)

    def lacking_alike(self, features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """Hide of features what the held-out scans lack, scan by scan, over and over again."""
        lacking = np.resize(self.scans.presence, (len(features), self.scans.presence.shape[1]))
        return self.extractor.hide(features, lacking)

    def distances_of(self, features: Float[np.ndarray, "n d"], patients: Sequence[str]) -> str:
        """Return those of scans that are described already, and lack what they may."""
        told = measure_distances(
            self.scale.standardize(self.scans.features),
            self.scale.standardize(features),
            patients_x=self.scans.patients,
            patients_y=tuple(patients),
            num_resamples=NUM_RESAMPLES,
            rng=seeds.numpy_generator(0, "resamples"),
        )
        return " | ".join(
            f"{told[name]['value']:.1f} ({told[name]['low']:.1f} to {told[name]['high']:.1f})"
            for name in ("kid", "fid")
        )


def draw_cohort(
    folder: Path, generator: Generator, study: Settings, *, num_per_class: int
) -> ImageSet:
    """Draw scans of each class, as the hub would from the generator's bundle."""
    write_samples(
        folder,
        generator,
        counts=[num_per_class] * len(study.classes),
        settings=study.sampling,
        bundle_digest="never packed",
        seed=study.seed,
    )
    return read_images(folder)
