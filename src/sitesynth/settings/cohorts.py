"""Knobs of who is studied: cohort, sites, task, the phantom, checks and splits."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from sitesynth.settings.fields import (
    BRAIN_MASK_COLUMN,
    FINDINGS,
    MASK_CHANNEL,
    Count,
    Fraction,
    Name,
    Names,
    Positive,
    Section,
    named_once,
)


LabelUnit = Literal["patient", "scan"]


class CohortSettings(Section):
    """Where the scans are, and how their table says things."""

    source: str
    """Folder or file that DVC watches: the folder of a real cohort; for the phantom, its code."""

    table: str | None
    """Table of scans (CSV, TSV or Parquet), relative to `source`; null makes the phantom."""

    columns: Annotated[dict[str, str], Field()]
    """Our column name to the table's, for those that differ."""

    codes: Annotated[dict[str, dict[str, str]], Field()]
    """By our column name: the table's value to ours, e.g. `sex: {female: F}`; "" is unknown."""

    sequences: Names
    """Image sequences, in channel order; each once, and none called mask."""

    has_mask: bool
    """Whether the table has a `mask` column: the whole tumour (or organ)."""

    mask_labels: Annotated[tuple[Count, ...], Field(strict=False, min_length=1)] | None
    """Values of a mask that are inside it, such as [1, 2, 4]; null takes every value above 0."""

    has_brain_mask: bool
    """Whether the table has a `brain_mask` column: 0 outside the brain, and one for every scan."""

    labels: Annotated[dict[Name, Names], Field(min_length=1)]
    """Every label column with its classes, in the order of their class numbers. `findings` is no
    column: it names labels of two classes that are told side by side, the second class of each
    meaning that a scan has it (ADR 51)."""

    label_unit: LabelUnit
    """What a label belongs to: `scan` lets a patient's scans differ, e.g. in projection."""

    covariates: Annotated[tuple[Name, ...], Field(strict=False)]
    """Columns kept for subgroups and conditioning; age, field_strength_t are numbers."""

    @field_validator("labels")
    @classmethod
    def _classes_arenamed_once(
        cls, labels: dict[str, tuple[str, ...]]
    ) -> dict[str, tuple[str, ...]]:
        _check_findings(labels)
        return {label: named_once(classes, "class") for label, classes in labels.items()}

    @field_validator("covariates")
    @classmethod
    def _covariates_arenamed_once(cls, covariates: tuple[str, ...]) -> tuple[str, ...]:
        return named_once(covariates, "covariate")

    @field_validator("sequences")
    @classmethod
    def _sequences_name_one_channel_each(cls, sequences: tuple[str, ...]) -> tuple[str, ...]:
        if MASK_CHANNEL in sequences:
            raise ValueError(
                f"'{MASK_CHANNEL}' is the channel of the mask, not a sequence: got "
                f"{list(sequences)}; remove it, and say with has_mask whether there are masks"
            )
        if BRAIN_MASK_COLUMN in sequences:
            raise ValueError(
                f"'{BRAIN_MASK_COLUMN}' is the column of brain masks, not a sequence: got "
                f"{list(sequences)}; remove it, and say with has_brain_mask whether there are any"
            )
        return named_once(sequences, "sequence")


def _check_findings(labels: Mapping[str, Sequence[str]]) -> None:
    """Refuse findings that are no labels of two classes."""
    for name in labels.get(FINDINGS, ()):
        if name in {FINDINGS, "none"} or len(labels.get(name, ())) != len(("without", "with")):
            raise ValueError(
                f"'{FINDINGS}' names '{name}', which must be another label of two classes, the "
                f"second of which means that a scan has it, and not be called none; the labels are "
                f"{list(labels)}"
            )


class SiteSettings(Section):
    """Which hospitals take part, and as what."""

    all: Names
    """Every site of the study: the training sites, then the external ones."""

    training: Names
    """Sites that train a generator and take part in every strategy."""

    external: Names
    """Sites that are only tested on."""

    @model_validator(mode="after")
    def _roles_partition_the_sites(self) -> Self:
        if self.all != self.training + self.external:
            raise ValueError(
                f"`all` must be `training` followed by `external`: got all={list(self.all)}, "
                f"training={list(self.training)}, external={list(self.external)}"
            )
        if len(set(self.all)) < len(self.all):
            raise ValueError(f"a site is named twice in {list(self.all)}")
        return self


class StageSettings(Section):
    """One of several questions that are asked of a scan in turn."""

    name: Name
    """What the answer is called."""

    groups: Annotated[
        tuple[Annotated[tuple[str, ...], Field(strict=False, min_length=1)], ...],
        Field(strict=False, min_length=2),
    ]
    """Classes that the question does not tell from each other, for each answer to it."""


class TaskSettings(Section):
    """What the classifiers learn to tell."""

    label: Name
    """A label column of the cohort, with two classes or more."""

    positive: Name | None
    """Of two classes, the one whose probability is predicted; null predicts every class, calls the
    most probable one, and judges by means over the classes: needed for three classes or more, and
    for `findings`, each of which is predicted by itself."""

    stages: Annotated[tuple[StageSettings, ...], Field(strict=False, min_length=1)] | None
    """Questions for strategies whose name ends in `-staged`. The first one's groups hold every
    class; a later one splits a group. Null where every classifier tells all classes at once."""


class PhantomSiteSettings(Section):
    """One hospital of the phantom consortium: its patients and its scanner."""

    num_patients: Count
    """Patients, one scan each."""

    mutant_fraction: Fraction
    """Prevalence of IDH mutation."""

    mean_age_shift: float
    """Years added to every patient's age."""

    contrast: Positive
    """Exponent of the tissue contrast; 1 is the reference scanner."""

    bias_field: Annotated[float, Field(ge=0.0)]
    """Peak-to-peak amplitude of the multiplicative bias field, as a share of the signal."""

    noise: Annotated[float, Field(ge=0.0)]
    """Standard deviation of the Rician noise, as a share of white matter's signal."""

    blur_mm: Annotated[float, Field(ge=0.0)]
    """Full width at half maximum of the scanner's point spread."""

    spacing_mm: Annotated[tuple[Positive, Positive, Positive], Field(strict=False)]
    """Voxel size of the files, right-left, posterior-anterior, inferior-superior."""

    orientation: Annotated[str, Field(pattern=r"^[RL][AP][SI]$")]
    """Axis codes of the files, e.g. RAS."""

    scanner: str
    """What the table's scanner column says."""

    field_strength_t: Positive
    """What the table's field_strength_t column says; the knobs above make the difference."""

    missing_fraction: Fraction
    """Probability that a scan lacks one sequence; which one is equally likely. None lacks two."""


class PhantomSettings(Section):
    """The phantom consortium; see docs/phantom.md."""

    separation: Positive
    """Distance between class means in units of the within-class spread; sets the best AUC."""

    astrocytoma_fraction: Fraction
    """Share of astrocytoma among the mutants; the others are oligodendroglioma."""

    sites: dict[Name, PhantomSiteSettings]
    """One entry per site."""


class CheckSettings(Section):
    """What a cohort must satisfy before anything is trained on it."""

    min_patients: Count
    """Patients per site."""

    min_patients_per_class: Count
    """Labelled patients per class at a training site, all splits together."""

    min_spacing_mm: Positive
    """Smallest plausible voxel edge."""

    max_spacing_mm: Positive
    """Largest plausible voxel edge."""

    grids: Literal["one", "any"]
    """Whether all files of a scan must lie on one grid, or each may have its own, for headers or
    `grid.registration` to bring together."""

    affine_tolerance_mm: Positive
    """How far the grids of a scan's sequences and mask may lie apart, where they must be one."""

    bad_scans: Literal["stop", "quarantine"]
    """What files that break a rule do: stop the study, or set their scan aside, with the reason."""

    near_duplicates: Literal["stop", "report"]
    """What scans of two patients that look like one do: stop the study, or stand in the report."""


class SplitSettings(Section):
    """How patients of training sites are divided where the table does not say."""

    validation_fraction: Fraction
    """Share of each class's patients held out for choices; 0 is refused when a choice is due."""
