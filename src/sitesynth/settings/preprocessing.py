"""Knobs of how scans are prepared: grid, registration, bias field, intensities."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sitesynth.settings.fields import Count, Landmarks, Name, Percentile, Positive, Section, Sha256


class TemplateSettings(Section):
    """A volume that every scan is moved onto."""

    path: str
    """A NIfTI file of the user's, such as SRI24 or MNI152; none comes with the repository."""

    sha256: Sha256
    """Digest that the file must have: every site, and whoever predicts, has the same one."""


class RegistrationSettings(Section):
    """How a scan's sequences are moved onto each other; see `sitesynth.preprocessing.alignment`."""

    reference: Name
    """The sequence that the others are moved onto, on which masks were drawn; where a scan lacks
    it, the first that it has."""

    transform: Literal["rigid", "affine"]
    """What moves a sequence onto the reference: a turn and a shift, or a stretch as well."""

    template: TemplateSettings | None
    """What the reference is then moved onto, by an affine transform; null leaves it in place."""


class GridSettings(Section):
    """The grid that every scan is brought to."""

    region: Literal["head", "tumour"]
    """What the grid is centred on: the foreground, or the mask (the foreground where none)."""

    shape: Annotated[tuple[Count, ...], Field(strict=False, min_length=2, max_length=3)]
    """Voxels along right, anterior (and superior): two numbers for 2D studies, three for 3D."""

    spacing_mm: Annotated[tuple[Positive, ...], Field(strict=False)] | None
    """Voxel size; null fits the longest foreground extent into the grid, keeping proportions."""

    registration: RegistrationSettings | None
    """How a scan's sequences are moved onto each other first; null trusts their headers."""

    @model_validator(mode="after")
    def _one_spacing_per_axis(self) -> Self:
        if self.spacing_mm is not None and len(self.spacing_mm) != len(self.shape):
            raise ValueError(
                f"`spacing_mm` {list(self.spacing_mm)} must have one number per axis of `shape` "
                f"{list(self.shape)}"
            )
        return self


class BiasFieldSettings(Section):
    """N4 (Tustison et al., 2010): slow changes of brightness over a scan, divided out."""

    shrink: Count
    """The field is estimated from one voxel of so many along each axis, and corrects them all."""

    iterations: Annotated[tuple[Count, ...], Field(strict=False, min_length=1)]
    """Most iterations at each resolution of the field, coarse ones first."""


class IntensitySettings(Section):
    """How each sequence of each scan is brought to [0, 1], from that scan alone."""

    bias_field: BiasFieldSettings | None
    """How each sequence's bias field is removed before its range is measured; null leaves it."""

    foreground: Literal["head", "brain"]
    """What is kept, and measured in: all that stands out from the air, or the `brain_mask`."""

    scale: Literal["range", "zscore"]
    """What becomes [0, 1]: the range between two percentiles, or what lies within four standard
    deviations of the mean, each of that scan's foreground."""

    low_percentile: Percentile
    """Percentile of the foreground that becomes 0; for zscore, what lies below is raised to it."""

    high_percentile: Percentile
    """Percentile of the foreground that becomes 1; for zscore, what lies above is lowered to it."""

    landmarks: dict[Name, Landmarks] | None
    """By sequence: what the deciles of a scan's range become (Nyul et al., 2000); null leaves them.
    `sitesynth landmarks` measures them, in training scans of training sites."""

    @model_validator(mode="after")
    def _low_below_high(self) -> Self:
        if self.low_percentile >= self.high_percentile:
            raise ValueError(
                f"low_percentile {self.low_percentile} must be below high_percentile "
                f"{self.high_percentile}"
            )
        for sequence, landmarks in (self.landmarks or {}).items():
            if sorted(set(landmarks)) != list(landmarks):
                raise ValueError(
                    f"landmarks of '{sequence}' must rise from decile to decile, got "
                    f"{list(landmarks)}"
                )
        if self.landmarks is not None and self.scale != "range":
            raise ValueError(
                f"landmarks are deciles of a range, but scale is '{self.scale}'; set scale to "
                "range, or landmarks to null"
            )
        return self


class PreprocessSettings(Section):
    """How a site's scans are worked through; no array depends on it."""

    num_workers: Count
    """Threads that prepare a scan each, and so have one scan in memory each."""
