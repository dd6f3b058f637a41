"""A site's generator: its config, its two networks, and the latents' scale between them.

Inside its site it lies in two folders, one per stage that made it:

    models/autoencoder/<site>/   autoencoder.safetensors
    models/diffusion/<site>/     flow.safetensors, config.json (schema `GeneratorConfig`)

`flow.safetensors` holds the flow, or what a study of variants has put in its place.

What leaves the site is a bundle; see `generators.bundle`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, final

from pydantic import Field, field_serializer, field_validator, model_validator
from safetensors.torch import load_file

from sitesynth.generators.autoencoder import Autoencoder
from sitesynth.generators.correction import SequenceCorrection, read_correction
from sitesynth.generators.covariates import Covariates, score_names
from sitesynth.generators.denoiser import Denoiser
from sitesynth.generators.latents import LatentScale
from sitesynth.generators.rivals import LatentModel, VariantName, as_variant
from sitesynth.generators.weights import AUTOENCODER_FILE, FLOW_FILE, write_weights
from sitesynth.images import MASK, TABLE_COLUMNS
from sitesynth.settings import PRESENCE, AutoencoderSettings, DiffusionSettings, Section
from sitesynth.storage import read_json, write_json


__all__ = [
    "CONFIG_FILE",
    "SCHEMA",
    "Generator",
    "GeneratorConfig",
    "build_networks",
    "latent_shape",
    "read_autoencoder",
    "read_generator",
    "write_flow",
]

CONFIG_FILE = "config.json"

SCHEMA: Final = 4
"""Of config.json; 1 to 3 were of networks without hints (ADR 54), that none can read now."""

UNSAID_OF_THE_AUTOENCODER: Final[Mapping[str, object]] = {
    "adversarial": None,
    "perceptual": None,
    "validate_every": None,
    "patience_looks": None,
}
"""Knobs that the file is silent about where they have these values, as every bundle had before
there was a choice."""

UNSAID_OF_THE_FLOW: Final[Mapping[str, object]] = {
    "convolutions": None,
    "label_score": False,
    "sizes": [],
    "warp": 0.0,
}
"""Likewise, of the flow; a generator has one size, whatever it was chosen from."""

Small = Annotated[int, Field(gt=0, le=4096)]


class GeneratorConfig(Section):
    """What rebuilds a generator and says how its images are to be read."""

    schema_version: Literal[4] = SCHEMA
    site: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=100)]
    label: Annotated[str, Field(max_length=100)]
    classes: Annotated[tuple[str, ...], Field(strict=False, min_length=1, max_length=100)]
    """Classes in the order of their numbers."""
    class_counts: Annotated[
        tuple[Annotated[int, Field(gt=0)], ...] | None,
        Field(strict=False, exclude_if=lambda counts: counts is None),
    ] = None
    """Where classes are patterns of findings: the site's training scans of each, in proportion to
    which they are drawn."""
    channels: Annotated[tuple[str, ...], Field(strict=False, min_length=1, max_length=64)]
    """Image channels in order: sequences, then `mask` if there is one."""
    grid: Annotated[tuple[Small, ...], Field(strict=False, min_length=2, max_length=3)]
    spacing_mm: Annotated[tuple[float, ...], Field(strict=False)] | None
    """Voxel size; None where each scan was fitted into the grid."""
    autoencoder: AutoencoderSettings
    diffusion: DiffusionSettings
    latent_mean: Annotated[tuple[float, ...], Field(strict=False)]
    latent_std: Annotated[float, Field(gt=0)]
    # Left out of the file where they say what every bundle was before there was a choice.
    variant: Annotated[VariantName, Field(exclude_if=lambda name: name == "flow")] = "flow"
    """What turns noise into latents."""
    latents_source: Annotated[
        Literal["own", "phantom"], Field(exclude_if=lambda source: source == "own")
    ] = "own"
    """Whose scans the autoencoder was trained on."""
    covariates: Covariates | None = None
    """What the flow is conditional on beside the label, and how it occurs at the site."""
    correction: Annotated[
        tuple[SequenceCorrection, ...] | None,
        Field(strict=False, exclude_if=lambda told: told is None),
    ] = None
    """What is done to each sequence of every sample."""

    @field_validator("autoencoder", mode="before")
    @classmethod
    def _unsaid_of_the_autoencoder(cls, told: object) -> object:
        return {**UNSAID_OF_THE_AUTOENCODER, **told} if isinstance(told, Mapping) else told

    @field_validator("diffusion", mode="before")
    @classmethod
    def _unsaid_of_the_flow(cls, told: object) -> object:
        return {**UNSAID_OF_THE_FLOW, **told} if isinstance(told, Mapping) else told

    @field_serializer("autoencoder")
    def _said_of_the_autoencoder(self, settings: AutoencoderSettings) -> dict[str, Any]:
        return _without(UNSAID_OF_THE_AUTOENCODER, settings.model_dump(mode="json"))

    @field_serializer("diffusion")
    def _said_of_the_flow(self, settings: DiffusionSettings) -> dict[str, Any]:
        return _without(UNSAID_OF_THE_FLOW, settings.model_dump(mode="json"))

    @model_validator(mode="after")
    def _covariates_are_those_of_the_flow(self) -> Self:
        names = () if self.covariates is None else self.covariates.names
        counts = self.class_counts
        if counts is not None and len(counts) != len(self.classes):
            raise ValueError(
                f"counts of {len(counts)} classes are told, but there are {len(self.classes)}"
            )
        scores = score_names(self.classes) if self.diffusion.label_score else ()
        if names != (*scores, *self.diffusion.covariates):
            raise ValueError(
                f"covariates {list(names)} must be those of diffusion "
                f"{[*scores, *self.diffusion.covariates]}"
            )
        taken = [name for name in names if name in (*TABLE_COLUMNS, self.label)]
        taken += [name for name in names if name.startswith(PRESENCE)]
        if taken:
            raise ValueError(f"covariates {taken} have the names of other columns of a table")
        num_sequences = len(self.channels) - (self.channels[-1] == MASK)
        if self.correction is not None and len(self.correction) != num_sequences:
            raise ValueError(
                f"corrections of {len(self.correction)} sequences are told, but there are "
                f"{num_sequences}"
            )
        if self.covariates is not None and len(self.covariates.cells) != len(self.classes):
            raise ValueError(
                f"cells of {len(self.covariates.cells)} classes are told, but there are "
                f"{len(self.classes)}"
            )
        return self


@final
@dataclass(frozen=True)
class Generator:
    """A site's generator, ready to sample from."""

    config: GeneratorConfig
    autoencoder: Autoencoder
    flow: LatentModel
    """The flow, or the variant in its place."""

    @property
    def scale(self) -> LatentScale:
        """The scale of the site's training latents."""
        return LatentScale(self.config.latent_mean, self.config.latent_std)


def _without(unsaid: Mapping[str, object], told: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in told.items() if name not in unsaid or value != unsaid[name]
    }


def build_networks(config: GeneratorConfig) -> tuple[Autoencoder, LatentModel]:
    """Build the networks that a config describes, in evaluation mode, with arbitrary weights."""
    dims = len(config.grid)
    autoencoder = Autoencoder(config.autoencoder, num_channels=len(config.channels), dims=dims)
    flow = Denoiser(
        config.diffusion,
        latent_shape=latent_shape(config),
        num_classes=len(config.classes),
        num_channels=len(config.channels),
        covariates=config.covariates,
    )
    return autoencoder.eval(), as_variant(flow, config.variant).eval()


def latent_shape(config: GeneratorConfig) -> tuple[int, ...]:
    """Return the shape of one scan's latents: channels, then the latent grid."""
    halvings = 2 ** (len(config.autoencoder.channels) - 1)
    grid = zip(config.grid, config.autoencoder.patch, strict=True)
    return (
        config.autoencoder.latent_channels,
        *(size // (fold * halvings) for size, fold in grid),
    )


def write_flow(folder: Path, generator: Generator) -> None:
    """Write the flow and the config of a generator, whose autoencoder has its own folder."""
    write_weights(folder / FLOW_FILE, generator.flow)
    write_json(folder / CONFIG_FILE, generator.config.model_dump(mode="json"))


def read_autoencoder(
    folder: Path, settings: AutoencoderSettings, *, num_channels: int, dims: int
) -> Autoencoder:
    """Read the autoencoder that this site has trained."""
    autoencoder = Autoencoder(settings, num_channels=num_channels, dims=dims)
    autoencoder.load_state_dict(load_file(folder / AUTOENCODER_FILE), strict=True)
    return autoencoder.eval()


def read_generator(
    autoencoder_folder: Path, flow_folder: Path, correction: Path | None = None
) -> Generator:
    """Read the generator that this site has trained, before it is packed.

    Args:
        autoencoder_folder: Its autoencoder's.
        flow_folder: Its flow's, and its config's.
        correction: What its samples are corrected by; None leaves them as the networks draw them.
    """
    config = GeneratorConfig.model_validate(read_json(flow_folder / CONFIG_FILE))
    if correction is not None:
        found = read_correction(correction)
        config = GeneratorConfig.model_validate({**dict(config), "correction": found})
    autoencoder, flow = build_networks(config)
    autoencoder.load_state_dict(load_file(autoencoder_folder / AUTOENCODER_FILE), strict=True)
    flow.load_state_dict(load_file(flow_folder / FLOW_FILE), strict=True)
    return Generator(config, autoencoder, flow)
