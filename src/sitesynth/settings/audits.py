"""Knobs of what is asked of a generator before it leaves: quality and privacy."""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from sitesynth.settings.fields import Count, Fraction, Positive, Section, Sha256


VOLUME_AXES: Final = 3


class QualitySettings(Section):
    """How a generator's scans are compared with held-out real ones."""

    neighbours: Count
    """The k of precision, recall, density and coverage."""

    num_pairs: Count
    """Pairs of scans behind the mean similarity within a set."""

    num_resamples: Annotated[int, Field(ge=100)]
    """Bootstrap resamples of patients behind the 95 % intervals of KID and FID."""


class ExtractorSettings(Section):
    """A network whose features are measured beside the default ones, as fidelity and matrix.

    The gate does not read them. docs/how-to-use-other-features.md has ready entries.
    """

    network: Literal[
        "medicalnet-resnet10",
        "medicalnet-resnet18",
        "medicalnet-resnet50",
        "radimagenet-resnet50",
        "radimagenet-densenet121",
        "program",
    ]
    """Whose weights they are; program for any network that was exported with torch.export."""

    weights: str
    """A file of the user's, safetensors or, of a program, pt2; none comes with the repository."""

    sha256: Sha256
    """Digest that the file must have: figures name it, and every training site has the same."""

    size: Annotated[tuple[Count, ...], Field(strict=False, min_length=2, max_length=3)]
    """Voxels or pixels per axis that the network is shown: three axes for volumes, two for
    slices."""

    channels: Literal[1, 3]
    """Of the network's input; a sequence has one, which is repeated."""

    mean: Annotated[tuple[float, ...], Field(strict=False)] | None
    """Taken off intensities in [0, 1], per channel; null: each scan's own, inside its head."""

    spread: Annotated[tuple[Positive, ...], Field(strict=False)] | None
    """Divides them, per channel; null exactly where `mean` is."""

    slices: Count | None
    """Slices of each plane that a network of two axes is shown; null for one of three."""

    @model_validator(mode="after")
    def _fits_its_network(self) -> Self:
        axes, family = len(self.size), self.network.split("-")[0]
        wanted = {"medicalnet": (3, 1), "radimagenet": (2, 3)}.get(family, (axes, self.channels))
        if (axes, self.channels) != wanted:
            raise ValueError(
                f"{self.network} needs a size of {wanted[0]} axes and {wanted[1]} channels, got "
                f"{list(self.size)} and {self.channels}"
            )
        if (self.slices is None) != (axes == VOLUME_AXES):
            raise ValueError(
                f"slices {self.slices} does not fit size {list(self.size)}: a number for two axes, "
                "null for three"
            )
        lengths = {None if values is None else len(values) for values in (self.mean, self.spread)}
        if lengths not in ({None}, {self.channels}):
            raise ValueError(
                f"mean {self.mean} and spread {self.spread} must both be null, or both have "
                f"{self.channels} values, one per channel"
            )
        return self


class EncoderSettings(Section):
    """A contrastive encoder that looks for copies beside features and voxels; ADR 65."""

    width: Count
    """Channels of its first convolution; the second and third have twice and four times as many."""

    batch_size: Annotated[int, Field(ge=2)]
    """Scans of a step, two views of each."""

    learning_rate: Positive
    """Peak step size of AdamW."""

    num_steps: Count
    """Steps of each of the two encoders of a site."""


class PrivacySettings(Section):
    """What a generator is asked before it may leave its site; ADR 21 argues the defaults."""

    samples_per_scan: Count
    """Synthetic scans drawn per training scan, and searched for copies."""

    noise_draws: Count
    """Noises per noise level with which the flow's error on a scan is measured."""

    num_splits: Count
    """Random splits of the members in the member-against-member control."""

    confidence: Annotated[float, Field(gt=0.5, lt=1.0)]
    """With which all membership attacks' intervals hold together."""

    encoder: EncoderSettings | None
    """Looks for copies a third time, by an encoder trained at the site; null looks twice."""

    copy_level: Annotated[float, Field(gt=0.0, lt=0.5)]
    """Probability that an innocent generator is refused for copies, all views together."""

    max_membership_auc: Fraction
    """Refused where an attack's whole interval lies above this; 0.5 is chance."""

    max_epsilon: Positive | None
    """Refused where the bundle's epsilon is above this or it has none; null asks for none. Needs
    diffusion.dp, latents.source phantom and diffusion.validate_every null: ADR 26."""

    min_held_out: Count
    """Held-out patients below which nothing can be audited, and so nothing is released."""

    powered_from: Count
    """Held-out patients below which the verdict says that it is underpowered."""
