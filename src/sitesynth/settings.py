"""The knobs of a study, one class per section of params.yaml, in the same order.

Nothing here computes, and nothing has a default: DVC tracks the values in params.yaml, so a value
that is not there is a value whose change reruns nothing.
"""

import io
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sitesynth.errors import SettingsError


__all__ = [
    "BASELINES",
    "AutoencoderSettings",
    "BiasFieldSettings",
    "CheckSettings",
    "ClassifierSettings",
    "CohortSettings",
    "ComputeSettings",
    "DiffusionSettings",
    "EvaluationSettings",
    "FederatedSettings",
    "GridSettings",
    "IntensitySettings",
    "MixingSettings",
    "Overrides",
    "PhantomSettings",
    "PhantomSiteSettings",
    "PreprocessSettings",
    "PrivacySettings",
    "PrivateTraining",
    "QualitySettings",
    "RegistrationSettings",
    "RegistrySettings",
    "SamplingSettings",
    "Section",
    "Settings",
    "SiteSettings",
    "SplitSettings",
    "SupplementationSettings",
    "TaskSettings",
    "TemplateSettings",
    "check_settings",
    "load_settings",
    "settings_text",
]

Count = Annotated[int, Field(gt=0)]
Positive = Annotated[float, Field(gt=0.0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
MultipleOf8 = Annotated[int, Field(gt=0, multiple_of=8)]
Percentile = Annotated[float, Field(ge=0.0, le=100.0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
"""A word that is safe as a folder, a DVC stage name and an MLflow tag."""

Landmarks = Annotated[tuple[Fraction, ...], Field(strict=False, min_length=9, max_length=9)]
"""Deciles, 10 % to 90 %."""

Names = Annotated[tuple[Name, ...], Field(strict=False, min_length=1)]

MASK_CHANNEL = "mask"
"""Column and channel of the mask, which no sequence may be called."""

BRAIN_MASK_COLUMN = "brain_mask"
"""Column of the brain's masks, which no sequence may be called either."""


class Section(BaseModel):
    """Base of every section: immutable, and closed to unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )


def _named_once(names: tuple[str, ...], kind: str) -> tuple[str, ...]:
    """Return the names if each occurs once."""
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise ValueError(
            f"{twice} are named more than once in {list(names)}; name each {kind} once"
        )
    return names


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
    """Every label column with its classes, in the order of their class numbers."""

    label_unit: Literal["patient", "scan"]
    """What a label belongs to: `scan` lets a patient's scans differ, e.g. in projection."""

    covariates: Annotated[tuple[Name, ...], Field(strict=False)]
    """Columns kept for subgroups and conditioning; age, field_strength_t are numbers."""

    @field_validator("labels")
    @classmethod
    def _classes_are_named_once(
        cls, labels: dict[str, tuple[str, ...]]
    ) -> dict[str, tuple[str, ...]]:
        return {label: _named_once(classes, "class") for label, classes in labels.items()}

    @field_validator("covariates")
    @classmethod
    def _covariates_are_named_once(cls, covariates: tuple[str, ...]) -> tuple[str, ...]:
        return _named_once(covariates, "covariate")

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
        return _named_once(sequences, "sequence")


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


class TaskSettings(Section):
    """What the classifiers learn to tell."""

    label: Name
    """A label column of the cohort, with two classes or more."""

    positive: Name | None
    """Of two classes, the one whose probability is predicted; null predicts every class, calls the
    most probable one, and judges by means over the classes: needed for three classes or more."""


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


class TemplateSettings(Section):
    """A volume that every scan is moved onto."""

    path: str
    """A NIfTI file of the user's, such as SRI24 or MNI152; none comes with the repository."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
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
    """Processes that prepare a scan each, and so have one scan in memory each; 1 starts none."""


class AutoencoderSettings(Section):
    """The autoencoder that defines a site's latent space."""

    patch: Annotated[tuple[Count, ...], Field(strict=False)]
    """Voxels folded into channels before the first convolution, per axis; 1 folds nothing."""

    channels: Annotated[tuple[Count, ...], Field(strict=False, min_length=1)]
    """Feature maps per level; each further level halves the grid."""

    latent_channels: Count
    """Channels of the latent grid."""

    kl_weight: Annotated[float, Field(ge=0.0)]
    """Weight of the KL term relative to the mean absolute error."""

    sequence_dropout: Fraction
    """Probability that a present sequence is hidden from the encoder, and still asked back."""

    learning_rate: Positive
    """Peak step size of AdamW."""

    batch_size: Count
    """Scans per step."""

    num_steps: Count
    """Optimizer steps, not epochs, so that sites of different size get equal training."""


class PrivateTraining(Section):
    """DP-SGD: what one patient can change of the flow's weights is bounded (ADR 26)."""

    noise_multiplier: Positive
    """Standard deviation of the noise on a step's gradients, in clip norms."""

    clip_norm: Positive
    """Largest norm of the gradient of one patient, who is drawn with one scan."""

    delta: Annotated[float, Field(gt=0.0, lt=1.0)]
    """The delta at which epsilon is told; well below 1 / patients."""


class DiffusionSettings(Section):
    """The conditional flow that generates a site's latents."""

    schedule: Literal["straight", "cosine"]
    """How data becomes noise: straight is rectified flow; cosine, a DDPM with v-prediction."""

    patch: Annotated[tuple[Count, ...], Field(strict=False)]
    """Latents per axis that make up one token of the transformer."""

    width: Annotated[int, Field(gt=0, multiple_of=32)]
    """Numbers per token; a head of attention has 32."""

    depth: Count
    """Blocks of the transformer."""

    num_views: Count
    """Encodings kept of each training scan: as it is, mirrored, and then shifted ones."""

    covariates: Annotated[tuple[Name, ...], Field(strict=False)]
    """What the flow is told beside the label, of cohort.covariates, the most important first; a
    number if it has more than six values at the site, else categories. [] for nothing."""

    condition_dropout: Fraction
    """Probability that a scan's label is hidden, which trains the unconditional flow; and, apart,
    each of its covariates."""

    ema_decay: Fraction
    """Decay per step of the averaged weights that are kept."""

    dp: PrivateTraining | None
    """Trains the flow with differential privacy, by patient, on a Gaussian that is not fitted;
    null trains as usual. The autoencoder is not covered: ADR 26 says what is."""

    learning_rate: Positive
    """Peak step size: of Muon in the blocks of the transformer, of AdamW in the rest."""

    batch_size: Count
    """Latents per step."""

    num_steps: Count
    """Optimizer steps."""

    validate_every: Count | None
    """Steps between looks at the loss on the site's validation scans, at each noise level; the
    weights of the best look are kept. Null never looks, and keeps the last."""

    patience_looks: Count | None
    """Looks without a lower loss after which training ends; null takes all steps. ADR 17."""

    @field_validator("covariates")
    @classmethod
    def _covariates_are_named_once(cls, covariates: tuple[str, ...]) -> tuple[str, ...]:
        return _named_once(covariates, "covariate")

    @model_validator(mode="after")
    def _patience_has_something_to_see(self) -> Self:
        if self.patience_looks is not None and self.validate_every is None:
            raise ValueError(
                f"patience_looks {self.patience_looks} needs validate_every, which is null: "
                "without looks there is nothing to be patient with (null trains to the end)"
            )
        return self


class LatentsSettings(Section):
    """Whose scans define the space of latents in which a site's generator works (ADR 29)."""

    source: Literal["own", "phantom"]
    """`own`: each site trains its autoencoder on its training scans. `phantom`: on phantoms, drawn
    alike everywhere, so that all sites have the same autoencoder and no patient is in it."""

    num_phantoms: Count
    """Phantoms that the shared autoencoder is trained on; not looked at with `own`."""


class GanSettings(Section):
    """What a GAN has beside the flow's network, whose architecture and batches are `diffusion`'s.

    The family is WGAN-GP (Gulrajani et al., 2017).
    """

    critic_width: Count
    """Feature maps of the critic's first layer; its second has twice as many."""

    critic_steps: Count
    """Steps of the critic for each one of the generator."""

    penalty_weight: Positive
    """Weight of the gradient penalty."""

    learning_rate: Positive
    """Peak step size of AdamW, for both players."""

    num_steps: Count
    """Optimizer steps of the critic; the generator takes one of `critic_steps` of them."""


class GeneratorSettings(Section):
    """What turns noise into latents (ADR 29)."""

    variant: Literal["flow", "gan", "gaussian"]
    """`flow` is the method; the others are baselines on the same latents: `gan`, a conditional
    WGAN-GP, and `gaussian`, what a flow starts from, without any network."""

    gan: GanSettings
    """Not looked at by other variants."""


class ComputeSettings(Section):
    """How trainings of generators use the machine; what they learn differs by rounding only."""

    autoencoder_at_once: Count | None
    """Scans of the autoencoder's batch in memory at once; the gradients of the batch's parts are
    added up. Null takes the whole batch."""

    diffusion_at_once: Count | None
    """Latents of the flow's batch in memory at once; null takes the whole batch."""

    recompute_blocks: bool
    """Keep what enters the transformer's blocks only, and compute the blocks again on the way back:
    a third more time, a fraction of the memory."""

    compile_blocks: bool
    """Let torch.compile write code for the transformer's blocks; needs a C++ compiler on the
    machine that trains."""


class SamplingSettings(Section):
    """How the hub draws from a bundle."""

    sampler: Literal["euler", "heun", "multistep", "ddim"]
    """How to follow the flow; heun calls the network twice a step, the others once."""

    num_steps: Count
    """Steps of the sampler from noise to latents."""

    guidance: Annotated[float, Field(ge=0.0)]
    """Classifier-free guidance scale: 0 ignores the label, 1 is the conditional flow itself."""

    guidance_interval: Annotated[tuple[Fraction, Fraction], Field(strict=False)]
    """Times, 0 = data and 1 = noise, between which guidance is applied; [0, 1] is always."""

    num_per_class: Count
    """Synthetic scans per training site and class."""

    batch_size: Count
    """Scans decoded at once; no image depends on it."""

    @model_validator(mode="after")
    def _interval_is_not_reversed(self) -> Self:
        low, high = self.guidance_interval
        if low > high:
            raise ValueError(
                f"guidance_interval [{low}, {high}] must name the earlier time, nearer to data, "
                "first: 0 is data, 1 is noise"
            )
        return self


class QualitySettings(Section):
    """How a generator's scans are compared with held-out real ones."""

    neighbours: Count
    """The k of precision, recall, density and coverage."""

    num_pairs: Count
    """Pairs of scans behind the mean similarity within a set."""

    num_resamples: Annotated[int, Field(ge=100)]
    """Bootstrap resamples of patients behind the 95 % intervals of KID and FID."""


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

    copy_level: Annotated[float, Field(gt=0.0, lt=0.5)]
    """Probability that an innocent generator is refused for copies, all views together."""

    max_membership_auc: Fraction
    """Refused where an attack's whole interval lies above this; 0.5 is chance."""

    min_held_out: Count
    """Held-out patients below which nothing can be audited, and so nothing is released."""

    powered_from: Count
    """Held-out patients below which the verdict says that it is underpowered."""


class ClassifierSettings(Section):
    """The one network that every strategy trains."""

    init_features: MultipleOf8
    """Feature maps of the first convolution."""

    growth_rate: MultipleOf8
    """Feature maps that each dense layer adds."""

    layers: Annotated[tuple[Count, ...], Field(strict=False, min_length=1)]
    """Dense layers per block; the grid is halved between blocks."""

    sequence_dropout: Fraction
    """Probability that a sequence is hidden in training, so that a missing one is no surprise."""

    learning_rate: Positive
    """Peak step size of AdamW."""

    weight_decay: Annotated[float, Field(ge=0.0)]
    """Decoupled weight decay of AdamW."""

    batch_size: Count
    """Scans per step."""

    num_steps: Count
    """Optimizer steps of every strategy; a federated model takes them in rounds."""

    validate_every: Count
    """Steps between looks at the validation loss; the best look is kept."""

    num_seeds: Count
    """Independent trainings; a strategy predicts the mean of their probabilities."""


class MixingSettings(Section):
    """How the hub finds the mix: the synthetic scans of each site and class to learn from."""

    num_trials: Annotated[int, Field(ge=0)]
    """Mixes tried, the equal and the proportional one among them; 0 takes the equal mix untried."""

    num_random: Count
    """Trials before the sampler proposes mixes by what it has seen, and before any is pruned."""

    max_total: Count
    """Budget: most synthetic scans of a mix, all sites and classes together."""

    min_per_class: Count
    """Fewest scans of each class, all sites together; a trial with fewer is not trained."""

    num_steps: Count
    """Optimizer steps of a trial's classifier, and of those that the finalists are judged by."""

    validate_every: Count
    """Steps between looks at the sites' validation, at which a trial may be pruned."""

    num_finalists: Count
    """Best trials that are trained again, beside the equal and the proportional mix."""

    num_seeds: Annotated[int, Field(ge=2)]
    """Trainings of each finalist, of seeds that no trial used. A tried mix is taken if it beats the
    fixed ones by more than one standard error over them."""

    num_workers: Count
    """Processes that try mixes at once; with one, the same seed gives the same trials."""

    storage: str | None
    """Where trials are kept: null is a journal file; else an address that Optuna knows, such as
    postgresql+psycopg://host/database, or grpc://host:port of a storage proxy."""

    @model_validator(mode="after")
    def _fixed_mixes_are_among_the_trials(self) -> Self:
        if self.num_trials == 1:
            raise ValueError(
                "num_trials 1 leaves no room for the equal and the proportional mix; 2 tries just "
                "these, 0 tries nothing and takes the equal one"
            )
        if self.validate_every > self.num_steps:
            raise ValueError(
                f"validate_every {self.validate_every} exceeds num_steps {self.num_steps}: a trial "
                "would be looked at only once it has ended"
            )
        return self


class SupplementationSettings(Section):
    """A curve: external AUC against the number of synthetic scans, added to real ones or alone.

    It describes the study and chooses nothing in it.
    """

    percentages: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False)]
    """Synthetic scans in percent of the real ones, ascending from 0, which is the reference; []
    measures nothing. The pool, `sampling.num_per_class`, bounds them."""

    num_seeds: Count
    """Replicates of each point: trainings, each on scans of its own drawn from the pool."""

    @field_validator("percentages")
    @classmethod
    def _ascend_from_zero(cls, percentages: tuple[int, ...]) -> tuple[int, ...]:
        if percentages and (percentages[0] != 0 or list(percentages) != sorted(set(percentages))):
            raise ValueError(
                f"percentages {list(percentages)} must ascend from 0, the real scans alone, e.g. "
                "[0, 50, 100]; [] measures nothing"
            )
        return percentages


class FederatedSettings(Section):
    """Federated averaging (McMahan et al., 2017), and ways to steady, shorten and damp it."""

    engine: Literal["in_process", "nvflare"]
    """A loop in one process, or NVFlare with one process per site; the weights are the same."""

    num_rounds: Count
    """Exchanges of weights between the sites and the hub."""

    batch_size: Count
    """Scans per local step; the centralized batch shared out keeps the scans seen equal."""

    weighting: Literal["scans", "equal"]
    """What a site's weights count by in the average."""

    normalization: Literal["shared", "local"]
    """Whether a site trains on from the hub's normalization layers or from its own (FedBN, Li et
    al., 2021). The hub averages them either way: an external site, which has none, is judged with
    the average, and so is every look at the validation loss."""

    sites_per_round: Count | None
    """Sites that train in a round, drawn anew each time; null for all. The others only validate."""

    patience_rounds: Count | None
    """Rounds without a lower validation loss after which a training ends early; null for none."""

    clip_norm: Positive | None
    """Longest change of the weights that a site sends, in Euclidean norm; a longer one is scaled
    down to it. Null for none. Running statistics are sent as they are."""

    noise_multiplier: Annotated[float, Field(ge=0.0)]
    """Standard deviation of the noise that a site adds to each weight's change, in units of
    clip_norm; 0 for none."""

    finetune_steps: Count
    """Steps on its own scans that a site takes after the last round, for `finetuned-<site>`."""

    proximal_weight: Annotated[float, Field(ge=0.0)]
    """The mu of FedProx (Li et al., 2020): holds local steps near the hub's weights; 0 for none."""

    hub_learning_rate: Positive
    """The hub's step along the average change (FedOpt, Reddi et al., 2021); 1 takes the average."""

    hub_momentum: Annotated[float, Field(ge=0.0, lt=1.0)]
    """Share of the hub's last step that is added to its next; 0 for none."""

    min_sites: Count | None
    """Usable answers without which a round ends the study; null asks for every training site."""

    max_update_ratio: Annotated[float, Field(gt=1.0)]
    """A change this many times the round's (lower) median change is not usable."""

    patience_s: Count
    """Seconds the hub waits for the sites' answers in a round; NVFlare only."""

    @property
    def algorithm(self) -> str:
        """Name of what the knobs amount to."""
        parts = {
            "fedprox": self.proximal_weight > 0,
            "fedbn": self.normalization == "local",
            "fedopt": self.hub_learning_rate != 1.0 or self.hub_momentum > 0,
        }
        return " with ".join(name for name, is_on in parts.items() if is_on) or "fedavg"

    @model_validator(mode="after")
    def _noise_has_a_unit(self) -> Self:
        if self.noise_multiplier > 0 and self.clip_norm is None:
            raise ValueError(
                f"noise_multiplier {self.noise_multiplier:g} is in units of clip_norm, which is "
                "null; set clip_norm, or noise_multiplier to 0"
            )
        return self


class EvaluationSettings(Section):
    """How strategies are compared on the external sites."""

    num_resamples: Annotated[int, Field(ge=200)]
    """Bootstrap resamples of patients behind each 95 % interval."""

    margin: Annotated[float, Field(gt=0.0, lt=0.5)]
    """Largest loss of AUC against centralized that still counts as not inferior."""

    min_subgroup: Annotated[int, Field(ge=2)]
    """Least patients of each class in a subgroup (sex, age band, scanner) that is judged."""


class RegistrySettings(Section):
    """When a registered classifier may be called champion."""

    min_auc: Fraction
    """The lower end of the external AUC's 95 % interval must lie above this."""

    max_ece: Fraction
    """The upper end of the external calibration error's (ECE) 95 % interval must lie below this;
    with few patients it is high by chance."""

    min_recall: Fraction
    """The lower end of every class's external recall's 95 % interval must lie above this."""

    candidates: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    """Strategies that may become champion: those whose training a consortium would accept."""

    @field_validator("candidates")
    @classmethod
    def _candidates_are_named_once(cls, candidates: tuple[str, ...]) -> tuple[str, ...]:
        return _named_once(candidates, "candidate")


Overrides = dict[str, dict[str, Any]]
"""By section, the keys that differ at one site."""

MIX_VARIANTS = (
    "synthetic-equal",
    "synthetic-proportional",
    "augmented-equal",
    "augmented-proportional",
)
"""Strategies that learn from another mix than the tuned one."""

BASELINES = ("baseline-covariates", "baseline-site", "baseline-intensity")
"""Strategies without a network, which show what can be told from less than the images."""

OVERRIDABLE = ("autoencoder", "diffusion", "compute", "sampling")

NUM_AXES_3D = 3

PHANTOM_SEQUENCES = ("t1", "t1c", "t2", "flair")
"""Sequences that a phantom can be scanned with."""

TWO_CLASSES = 2
"""As many as a task with a positive class has."""


class Settings(Section):
    """A whole study: params.yaml, typed and checked."""

    study: Name
    """Name of the study, as in `studies/`; MLflow's experiment bears it."""

    seed: int
    """Root of every random draw; see `sitesynth.seeds`."""

    cohort: CohortSettings
    sites: SiteSettings
    task: TaskSettings
    strategies: Names
    """What is compared: local-<site>, centralized, federated, synthetic, augmented; the last two
    also with `-equal` or `-proportional`, on that mix instead of the tuned one; finetuned-<site>,
    federated and then trained on at one site; baseline-covariates, baseline-site and
    baseline-intensity, logistic regressions on what their name says."""

    phantom: PhantomSettings | None
    """Needed when `cohort.table` is null."""

    check: CheckSettings
    split: SplitSettings
    grid: GridSettings
    intensity: IntensitySettings
    preprocess: PreprocessSettings
    autoencoder: AutoencoderSettings
    latents: LatentsSettings
    diffusion: DiffusionSettings
    generator: GeneratorSettings
    compute: ComputeSettings
    sampling: SamplingSettings
    quality: QualitySettings
    privacy: PrivacySettings
    classifier: ClassifierSettings
    mixing: MixingSettings
    supplementation: SupplementationSettings
    federated: FederatedSettings
    evaluation: EvaluationSettings
    registry: RegistrySettings

    overrides: dict[Name, Overrides]
    """By site: knobs of autoencoder, diffusion, compute or sampling that differ there; {} for
    none."""

    @field_validator("strategies")
    @classmethod
    def _strategies_are_named_once(cls, strategies: tuple[str, ...]) -> tuple[str, ...]:
        return _named_once(strategies, "strategy")

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of the task's label, in the order of their numbers."""
        return self.cohort.labels[self.task.label]

    def at_site(self, site: str) -> "Settings":
        """Return the settings with the overrides of `site` applied and checked."""
        raw = self.model_dump(mode="json")
        for section, knobs in self.overrides.get(site, {}).items():
            raw[section] |= knobs
        return Settings.model_validate(raw)

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        problems = list(_disagreements(self))
        if problems:
            raise ValueError("; ".join(problems))
        return self


def _disagreements(settings: Settings) -> Iterator[str]:
    """Yield what two sections of a study say that cannot both hold."""
    yield from _task_disagreements(settings.task, settings.cohort)
    yield from _site_disagreements(settings)
    yield from _baseline_disagreements(settings)
    yield from _grid_disagreements(settings)
    yield from _preparation_disagreements(settings)
    yield from _generator_disagreements(settings)
    yield from _mixing_disagreements(settings)
    if settings.supplementation.percentages and settings.task.positive is None:
        yield (
            f"supplementation.percentages {list(settings.supplementation.percentages)} ask for a "
            "curve of one AUC, and task.positive is null; name a positive class, or set [] here"
        )
    unknown = sorted(set(settings.diffusion.covariates) - set(settings.cohort.covariates))
    if unknown:
        yield (
            f"diffusion.covariates {unknown} are not among cohort.covariates "
            f"{list(settings.cohort.covariates)}: add them there, or take them out here"
        )
    if settings.federated.num_rounds > settings.classifier.num_steps:
        yield (
            f"federated.num_rounds {settings.federated.num_rounds} exceeds "
            f"classifier.num_steps {settings.classifier.num_steps}: a round needs a step"
        )
    quorum, sites = settings.federated.min_sites, len(settings.sites.training)
    if quorum is not None and quorum > sites:
        yield (
            f"federated.min_sites {quorum} exceeds the {sites} training sites "
            f"{list(settings.sites.training)}: no round could reach it (null asks for all of them)"
        )
    asked = settings.federated.sites_per_round
    if asked is not None and asked > sites:
        yield (
            f"federated.sites_per_round {asked} exceeds the {sites} training sites "
            f"{list(settings.sites.training)} (null asks all of them)"
        )


def _task_disagreements(task: TaskSettings, cohort: CohortSettings) -> Iterator[str]:
    classes = cohort.labels.get(task.label)
    if classes is None:
        yield f"task.label '{task.label}' is not in cohort.labels {list(cohort.labels)}"
    elif len(classes) < TWO_CLASSES:
        yield f"task.label '{task.label}' must have two classes or more, got {list(classes)}"
    elif task.positive is None:
        return
    elif task.positive not in classes:
        yield f"task.positive '{task.positive}' is not in the classes {list(classes)}"
    elif len(classes) != TWO_CLASSES:
        yield (
            f"task.positive '{task.positive}' is one of {len(classes)} classes {list(classes)}, "
            "and must be one of two; null tells all of them apart"
        )


def _site_disagreements(settings: Settings) -> Iterator[str]:
    sites, phantom = settings.sites, settings.phantom
    known = [f"{way}-{site}" for way in ("local", "finetuned") for site in sites.training]
    known += ["centralized", "federated", "synthetic", "augmented", *MIX_VARIANTS, *BASELINES]
    unknown = sorted(set(settings.strategies) - set(known))
    if unknown:
        yield f"unknown strategies {unknown}; there are {known}"
    if "centralized" not in settings.strategies:
        yield "strategies must contain centralized, which the others are compared with"
    absent = sorted(set(settings.registry.candidates) - set(settings.strategies))
    if absent:
        yield (
            f"registry.candidates {absent} are not among the strategies "
            f"{list(settings.strategies)}: add them there, or take them out here"
        )
    if settings.cohort.table is None and phantom is None:
        yield "cohort.table is null, which asks for the phantom, but phantom is null"
    if phantom is not None and set(phantom.sites) != set(sites.all):
        yield f"phantom.sites {sorted(phantom.sites)} must be sites.all {sorted(sites.all)}"
    if set(settings.overrides) != set(sites.all):
        yield (
            f"overrides names {sorted(settings.overrides)}, but must name every site of "
            f"{sorted(sites.all)} ({{}} for none)"
        )
    for site, sections in settings.overrides.items():
        closed = sorted(set(sections) - set(OVERRIDABLE))
        if closed:
            yield f"overrides.{site} may hold {list(OVERRIDABLE)}, not {closed}"


def _preparation_disagreements(settings: Settings) -> Iterator[str]:
    cohort, registration = settings.cohort, settings.grid.registration
    landmarks = settings.intensity.landmarks
    if landmarks is not None and set(landmarks) != set(cohort.sequences):
        yield (
            f"intensity.landmarks names {sorted(landmarks)}, but must name every sequence of "
            f"{sorted(cohort.sequences)}"
        )
    if registration is not None and registration.reference not in cohort.sequences:
        yield (
            f"grid.registration.reference '{registration.reference}' is none of cohort.sequences "
            f"{list(cohort.sequences)}"
        )
    if registration is not None and len(settings.grid.shape) != NUM_AXES_3D:
        yield f"grid.registration needs a grid of three axes, got {list(settings.grid.shape)}"
    if settings.intensity.foreground == "brain" and not cohort.has_brain_mask:
        yield (
            "intensity.foreground 'brain' needs cohort.has_brain_mask true and a brain_mask column "
            "in the table; 'head' finds what stands out from the air"
        )
    if cohort.mask_labels is not None and not cohort.has_mask:
        yield (
            f"cohort.mask_labels {list(cohort.mask_labels)} say what a mask holds, but "
            "cohort.has_mask is false; set mask_labels to null, or has_mask to true"
        )


def _baseline_disagreements(settings: Settings) -> Iterator[str]:
    if "baseline-covariates" in settings.strategies and not settings.cohort.covariates:
        yield "baseline-covariates needs cohort.covariates, of which there are none; leave it out"
    unfit = sorted(set(settings.registry.candidates) & set(BASELINES))
    if unfit:
        yield f"registry.candidates {unfit} are baselines, which are not registered; take them out"


def _mixing_disagreements(settings: Settings) -> Iterator[str]:
    mixing, num_sites = settings.mixing, len(settings.sites.training)
    num_classes = len(settings.cohort.labels.get(settings.task.label, ())) or TWO_CLASSES
    equal = min(mixing.max_total // (num_sites * num_classes), settings.sampling.num_per_class)
    if num_sites * equal < mixing.min_per_class:
        yield (
            f"mixing.min_per_class {mixing.min_per_class} exceeds the {num_sites * equal} scans "
            f"per class of the equal mix, by mixing.max_total {mixing.max_total} and "
            f"sampling.num_per_class {settings.sampling.num_per_class} at {num_sites} sites"
        )


def _generator_disagreements(settings: Settings) -> Iterator[str]:
    variant, guidance = settings.generator.variant, settings.sampling.guidance
    if settings.diffusion.covariates and settings.diffusion.dp is not None:
        yield (
            f"diffusion.dp does not cover what is told of diffusion.covariates "
            f"{list(settings.diffusion.covariates)}: set these to [], or dp to null"
        )
    if variant != "flow" and settings.diffusion.dp is not None:
        yield (
            f"diffusion.dp trains a flow with noise, but generator.variant is {variant}, which it "
            "does not cover: set diffusion.dp to null, or generator.variant to flow"
        )
    if variant != "flow" and guidance != 1:
        yield (
            f"generator.variant {variant} draws in one pass, which cannot be guided: "
            f"sampling.guidance must be 1, not {guidance:g}"
        )
    if variant != "flow" and settings.diffusion.covariates:
        yield (
            f"generator.variant {variant} knows the label only, and diffusion.covariates is "
            f"{list(settings.diffusion.covariates)}: set it to [], or variant to flow"
        )
    if settings.latents.source != "phantom":
        return
    unknown = sorted(set(settings.cohort.sequences) - set(PHANTOM_SEQUENCES))
    if settings.intensity.foreground == "brain":
        yield (
            "latents.source phantom draws heads, and intensity.foreground brain wants brain masks, "
            "which phantoms lack: set foreground to head, or latents.source to own"
        )
    if unknown or len(settings.grid.shape) != NUM_AXES_3D:
        yield (
            f"latents.source phantom needs sequences of {list(PHANTOM_SEQUENCES)} on a grid of "
            f"three axes, but cohort.sequences is {list(settings.cohort.sequences)} and grid.shape "
            f"{list(settings.grid.shape)}: set latents.source to own"
        )
    apart = sorted(site for site, knobs in settings.overrides.items() if "autoencoder" in knobs)
    if apart:
        yield (
            f"latents.source phantom asks for one autoencoder at all sites, but overrides changes "
            f"autoencoder at {apart}: drop those overrides, or set latents.source to own"
        )


def _grid_disagreements(settings: Settings) -> Iterator[str]:
    shape = settings.grid.shape
    patches = {
        "autoencoder.patch": settings.autoencoder.patch,
        "diffusion.patch": settings.diffusion.patch,
    }
    wrong = {name: patch for name, patch in patches.items() if len(patch) != len(shape)}
    for name, patch in wrong.items():
        yield f"{name} {list(patch)} must have one number per axis of grid.shape {list(shape)}"
    if wrong:
        return
    halvings = len(settings.autoencoder.channels) - 1
    for size, fold, token in zip(shape, *patches.values(), strict=True):
        needed = fold * token * 2**halvings
        if size % needed:
            yield (
                f"grid.shape {list(shape)}: {size} must be a multiple of {needed} "
                "(autoencoder.patch x its levels x diffusion.patch)"
            )


def load_settings(path: Path, *, site: str | None = None) -> Settings:
    """Read and check params.yaml.

    Args:
        path: A YAML 1.2 file, the dialect DVC itself reads.
        site: Apply this site's overrides; None applies none.

    Returns:
        The checked settings.

    Raises:
        SettingsError: If the file cannot be read, or a key is missing, unknown, ill-typed or out
            of range; names every such key.
    """
    # ruamel, not PyYAML: under YAML 1.1 `1e-4` is a string and `NO` is False.
    try:
        raw = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(
            f"{path} does not exist; `sitesynth study use phantom` writes it."
        ) from error
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read ({error.strerror}); name a study's YAML file."
        ) from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise SettingsError(
            f"{path} must hold the sections of a study, but holds {raw!r:.80}; `sitesynth study "
            "use phantom` writes one."
        )
    return check_settings(raw, named=str(path), site=site)


def check_settings(raw: Mapping[str, Any], *, named: str, site: str | None = None) -> Settings:
    """Check the content of a params file; `named` is what messages call it.

    Raises:
        SettingsError: As for `load_settings`.
    """
    try:
        settings = Settings.model_validate(raw)
        if site is None:
            return settings
        if site not in settings.sites.all:
            raise SettingsError(
                f"{named} has no site '{site}'; sites.all is {list(settings.sites.all)}."
            )
        return settings.at_site(site)
    except ValidationError as error:
        raise SettingsError(f"{named} is not a valid study:\n{_listed(error)}") from error


def settings_text(settings: Settings, *, about: str) -> str:
    """Return a study as the text of a params file, below a comment; `load_settings` reads it back.

    Args:
        settings: The study.
        about: What the comment says; its lines are kept.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None  # lists and innermost mappings on one line
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 100
    text = io.StringIO()
    yaml.dump(settings.model_dump(mode="json"), text)
    comment = "".join(f"# {line}\n" for line in about.splitlines())
    return f"{comment}\n{text.getvalue()}"


def _listed(error: ValidationError) -> str:
    """List each problem with its dotted key and the value that was found."""
    lines = []
    for problem in error.errors(include_url=False):
        key = ".".join(str(part) for part in problem["loc"]) or "(whole file)"
        is_told = problem["type"] in {"missing", "value_error"}
        shown = "" if is_told else f" (got {problem['input']!r:.80})"
        lines.append(f"  {key}: {problem['msg'].removeprefix('Value error, ')}{shown}")
    return "\n".join(lines)
