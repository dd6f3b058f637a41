"""A whole study: every section, and what two sections cannot both say."""

from collections.abc import Iterator
from typing import Any, Self

from pydantic import field_validator, model_validator

from sitesynth.settings.audits import ExtractorSettings, PrivacySettings, QualitySettings
from sitesynth.settings.classifiers import (
    ClassifierSettings,
    FederatedSettings,
    MixingSettings,
    SupplementationSettings,
)
from sitesynth.settings.cohorts import (
    CheckSettings,
    CohortSettings,
    PhantomSettings,
    SiteSettings,
    SplitSettings,
    TaskSettings,
)
from sitesynth.settings.evaluation import EvaluationSettings, RegistrySettings
from sitesynth.settings.fields import FINDINGS, LABEL_SCORE, Name, Names, Section, named_once
from sitesynth.settings.generators import (
    AutoencoderSettings,
    ComputeSettings,
    DiffusionSettings,
    GeneratorSettings,
    LatentsSettings,
    SamplingSettings,
)
from sitesynth.settings.preprocessing import GridSettings, IntensitySettings, PreprocessSettings


Overrides = dict[str, dict[str, Any]]
"""By section, the keys that differ at one site."""

MIX_VARIANTS = (
    "synthetic-equal",
    "synthetic-proportional",
    "augmented-equal",
    "augmented-proportional",
)
"""Strategies that learn from another mix than the tuned one."""

STAGED = "-staged"
"""What follows the name of a strategy that is fitted once for each of `task.stages`."""

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
    federated and then trained on at one site; each of these with `-staged`, once for each of
    `task.stages`; baseline-covariates, baseline-site and baseline-intensity, logistic regressions
    on what their name says."""

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
    extractors: dict[Name, ExtractorSettings]
    """Networks whose features are measured beside the default ones, by name; {} for none."""

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
    def _strategies_arenamed_once(cls, strategies: tuple[str, ...]) -> tuple[str, ...]:
        return named_once(strategies, "strategy")

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
    yield from _stage_disagreements(settings)
    yield from _site_disagreements(settings)
    yield from _baseline_disagreements(settings)
    yield from _grid_disagreements(settings)
    yield from _preparation_disagreements(settings)
    yield from _generator_disagreements(settings)
    yield from _extractor_disagreements(settings)
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
    encryption = settings.federated.encryption
    if encryption != "none" and sites == 1:
        yield (
            f"federated.encryption {encryption} hides a site among others, but "
            f"{list(settings.sites.training)} is the only training site; set it to none"
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
    elif task.label == FINDINGS:
        yield (
            f"task.positive '{task.positive}' is one finding, and {FINDINGS} are told side by side:"
            " set it to null, or task.label to that finding"
        )
    elif task.positive not in classes:
        yield f"task.positive '{task.positive}' is not in the classes {list(classes)}"
    elif len(classes) != TWO_CLASSES:
        yield (
            f"task.positive '{task.positive}' is one of {len(classes)} classes {list(classes)}, "
            "and must be one of two; null tells all of them apart"
        )


def _stage_disagreements(settings: Settings) -> Iterator[str]:
    task, staged = settings.task, [one for one in settings.strategies if one.endswith(STAGED)]
    if staged and task.stages is None:
        yield f"strategies {staged} learn in stages, and task.stages is null; name the stages"
    odd = sorted(site for site in settings.sites.all if site.endswith(STAGED))
    if odd:
        yield f"sites {odd} end in '{STAGED}', which marks strategies that learn in stages"
    if task.stages is None:
        return
    names = [stage.name for stage in task.stages]
    if task.positive is not None:
        yield (
            f"task.stages {names} are of all classes, and task.positive is '{task.positive}': set "
            "positive to null, or stages to null"
        )
    left = [sorted(settings.cohort.labels.get(task.label, ()))]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        yield f"task.stages {twice} are named more than once; give each a name of its own"
    for stage in task.stages:
        told = sorted(one for group in stage.groups for one in group)
        if told not in left:
            yield (
                f"task.stages: {stage.name} tells {told} apart, but must split one of the groups "
                f"that are left to it: {left}"
            )
            return
        left.remove(told)
        left += [sorted(group) for group in stage.groups if len(group) > 1]
    if left:
        yield f"task.stages end with {left} not told apart; add a stage for each"


def _site_disagreements(settings: Settings) -> Iterator[str]:
    sites, phantom = settings.sites, settings.phantom
    known = [f"{way}-{site}" for way in ("local", "finetuned") for site in sites.training]
    known += ["centralized", "federated", "synthetic", "augmented", *MIX_VARIANTS]
    known += [*(f"{name}{STAGED}" for name in known if settings.task.stages), *BASELINES]
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


def _extractor_disagreements(settings: Settings) -> Iterator[str]:
    axes = len(settings.grid.shape)
    for name, extractor in settings.extractors.items():
        if len(extractor.size) > axes:
            yield (
                f"extractors.{name}.size {list(extractor.size)} is of volumes, but grid.shape "
                f"{list(settings.grid.shape)} is of pictures"
            )
        if axes < NUM_AXES_3D and extractor.slices not in (None, 1):
            yield f"extractors.{name}.slices {extractor.slices} must be 1: a picture is one slice"


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
    if settings.task.label == FINDINGS:
        # A mix counts a site's scans, whatever they have.
        num_classes = 1
    equal = min(mixing.max_total // (num_sites * num_classes), settings.sampling.num_per_class)
    if num_sites * equal < mixing.min_per_class:
        yield (
            f"mixing.min_per_class {mixing.min_per_class} exceeds the {num_sites * equal} scans "
            f"per class of the equal mix, by mixing.max_total {mixing.max_total} and "
            f"sampling.num_per_class {settings.sampling.num_per_class} at {num_sites} sites"
        )


def _generator_disagreements(settings: Settings) -> Iterator[str]:
    variant, guidance = settings.generator.variant, settings.sampling.guidance
    yield from _private_training_disagreements(settings)
    if variant != "flow" and guidance != 1:
        yield (
            f"generator.variant {variant} draws in one pass, which cannot be guided: "
            f"sampling.guidance must be 1, not {guidance:g}"
        )
    if variant != "flow" and settings.diffusion.label_score:
        yield (
            f"generator.variant {variant} knows the label only: set diffusion.label_score to "
            "false, or variant to flow"
        )
    if settings.diffusion.label_score and settings.task.label == FINDINGS:
        yield (
            f"diffusion.label_score is of classes, and {FINDINGS} are told side by side: set it "
            "to false, or task.label to one label"
        )
    named = [name for name in settings.cohort.covariates if name.startswith(LABEL_SCORE)]
    if settings.diffusion.label_score and named:
        yield (
            f"cohort.covariates {named} have the names of what diffusion.label_score adds: rename "
            "them by cohort.columns, or set it to false"
        )
    if variant != "flow" and settings.diffusion.covariates:
        yield (
            f"generator.variant {variant} knows the label only, and diffusion.covariates is "
            f"{list(settings.diffusion.covariates)}: set it to [], or variant to flow"
        )
    yield from _shared_latents_disagreements(settings)


def _private_training_disagreements(settings: Settings) -> Iterator[str]:
    variant = settings.generator.variant
    if settings.diffusion.covariates and settings.diffusion.dp is not None:
        yield (
            f"diffusion.dp does not cover what is told of diffusion.covariates "
            f"{list(settings.diffusion.covariates)}: set these to [], or dp to null"
        )
    if settings.diffusion.label_score and settings.diffusion.dp is not None:
        yield (
            "diffusion.dp does not cover what diffusion.label_score tells of patients: set it to "
            "false, or dp to null"
        )
    if settings.sampling.correction is not None and settings.diffusion.dp is not None:
        yield (
            "diffusion.dp does not cover what sampling.correction tells of training scans: set it "
            "to null, or dp to null"
        )
    if settings.task.label == FINDINGS and settings.diffusion.dp is not None:
        yield (
            f"diffusion.dp does not cover which patterns of {FINDINGS} a bundle tells of: set it "
            "to null, or task.label to one label"
        )
    if variant != "flow" and settings.diffusion.dp is not None:
        yield (
            f"diffusion.dp trains a flow with noise, but generator.variant is {variant}, which it "
            "does not cover: set diffusion.dp to null, or generator.variant to flow"
        )
    every = settings.autoencoder.validate_every
    if every is not None and settings.diffusion.dp is not None:
        yield (
            f"autoencoder.validate_every {every} chooses the autoencoder by held-out patients, "
            "which the noise of diffusion.dp does not cover: set it to null, or dp to null"
        )
    most, dp = settings.privacy.max_epsilon, settings.diffusion.dp
    if most is not None and not (
        dp is not None
        and settings.latents.source == "phantom"
        and settings.diffusion.validate_every is None
    ):
        yield (
            f"privacy.max_epsilon {most:g} asks for bundles with an epsilon, which needs "
            "diffusion.dp, latents.source phantom and diffusion.validate_every null; they are "
            f"{'null' if dp is None else 'set'}, {settings.latents.source} and "
            f"{settings.diffusion.validate_every}: set them so, or max_epsilon to null"
        )


def _shared_latents_disagreements(settings: Settings) -> Iterator[str]:
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
    every = settings.autoencoder.validate_every
    if every is not None:
        yield (
            f"autoencoder.validate_every {every} chooses the autoencoder by the site's patients, "
            "and latents.source phantom asks for one that no patient is in: set it to null, or "
            "latents.source to own"
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
    yield from _adversary_disagreements(settings)
    blocks = settings.classifier.layers
    # The stem halves the grid twice, rounding up, and each step to another block once, rounding
    # down: a voxel has to be left.
    least = 4 * 2 ** (len(blocks) - 1) - 3
    if min(shape) < least:
        yield (
            f"grid.shape {list(shape)}: {min(shape)} must be at least {least}, because a "
            f"classifier of {len(blocks)} blocks (classifier.layers {list(blocks)}) halves the "
            f"grid {len(blocks) + 1} times; take a larger grid, or fewer blocks"
        )


def _adversary_disagreements(settings: Settings) -> Iterator[str]:
    adversary, shape = settings.autoencoder.adversarial, settings.grid.shape
    # Its last normalization needs two places at least, and the score loses one more.
    least = 3 * 2**adversary.depth if adversary is not None else 0
    if adversary is not None and min(shape) < least:
        yield (
            f"grid.shape {list(shape)}: {min(shape)} must be at least {least}, because "
            f"autoencoder.adversarial.depth {adversary.depth} halves the grid as many times, and "
            "leaves nothing to score; take fewer layers"
        )
