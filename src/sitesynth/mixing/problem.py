"""What the hub has to tune a mix with: the pool it drew, and the sites' offers to try models.

Nothing else of this package knows that there are images. What is behind a `Validator` is the
sites' own business; here, where one machine plays all sites, they are opened in `open_problem`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from sitesynth import seeds
from sitesynth.classifiers.training import (
    Examples,
    ValidationScore,
    Validator,
    check_findings,
    examples_of,
    pool_scores,
)
from sitesynth.images import read_images
from sitesynth.patterns import are_side_by_side
from sitesynth.settings import ClassifierSettings, MixingSettings
from sitesynth.strategies.fitting import build_learner
from sitesynth.strategies.mixes import Mix, take
from sitesynth.strategies.pooled import Pooled
from sitesynth.strategies.protocol import Learner, Site
from sitesynth.strategies.validation import load_held_out, scores_of, validator_of
from sitesynth.tracking import OnStep


__all__ = ["MixingProblem", "open_problem", "try_mix"]


@final
@dataclass(frozen=True)
class MixingProblem:
    """What a mix is made of and judged by."""

    pool: Mapping[str, Examples]
    """What the hub drew from each site's bundle."""
    validators: Mapping[str, Validator]
    """Each site's offer to try a model on its held-out scans, telling sums only."""
    classes: Sequence[str]
    build: Learner
    """Builds the untrained classifier of one seed."""
    classifier: ClassifierSettings
    """How a mix's classifier is trained; with the steps of a trial."""
    seed: int
    """Root of the trainings' randomness: not that of the strategies."""


def open_problem(
    *,
    images: Path,
    synthetic: Path,
    sites: Sequence[str],
    label: str,
    classes: Sequence[str],
    positive: str | None,
    classifier: ClassifierSettings,
    mixing: MixingSettings,
    seed: int,
) -> MixingProblem:
    """Load the pool at the hub, and the held-out scans at the sites.

    Args:
        images: Folder with each training site's image set; only scans of split validation are read.
        synthetic: Folder with what the hub sampled from each site's bundle.
        sites: The training sites.
        label: The task's label column.
        classes: Its classes, in order.
        positive: The class whose probability is predicted; None predicts every class.
        classifier: The `classifier` section of params.yaml.
        mixing: The `mixing` section of params.yaml.
        seed: Root seed of the study.

    Raises:
        TrainingError: If a site lacks a class, in the pool or in validation.
    """
    pool = {site: read_images(synthetic / site) for site in sites}
    held_out = {
        site: load_held_out(read_images(images / site), label=label, classes=classes)
        for site in sites
    }
    short = classifier.model_copy(
        update={
            "num_steps": mixing.num_steps,
            "validate_every": mixing.validate_every,
            "num_seeds": 1,
        }
    )
    own_seed = seeds.derive_seed(seed, "mixing")
    drawn = {
        site: examples_of([images_of_site], label=label, classes=classes, origins=["synthetic"])
        for site, images_of_site in pool.items()
    }
    if are_side_by_side(label):
        check_findings([*drawn.values()], classes)
    return MixingProblem(
        pool=drawn,
        validators={
            site: validator_of(examples, classes=classes, positive=positive)
            for site, examples in held_out.items()
        },
        classes=classes,
        build=build_learner(
            short, like=next(iter(pool.values())), num_classes=len(classes), seed=own_seed
        ),
        classifier=short,
        seed=own_seed,
    )


def try_mix(
    problem: MixingProblem, mix: Mix, *, member: int, on_step: OnStep
) -> tuple[float, dict[str, ValidationScore]]:
    """Train one classifier on a mix, and ask the sites what it is worth.

    Args:
        problem: What the hub has.
        mix: Scans to take from the pool.
        member: Number of the training's seed; mixes tried with the same one differ in nothing else.
        on_step: Told each step's loss, and `validation_loss` at each look.

    Returns:
        The validation loss, pooled over the sites by their numbers of scans, and each site's sums.

    Raises:
        TrainingError: If the mix is not to be had, or the loss diverges.
    """
    taken = take(problem.pool, mix, problem.classes)
    sites = {
        site: Site(real=None, synthetic=taken.get(site), validate=validate)
        for site, validate in problem.validators.items()
    }
    model = Pooled(problem.classifier).fit(
        sites, problem.build, seed=problem.seed, member=member, on_step=on_step
    )
    scores = scores_of(model, problem.validators)
    return pool_scores(list(scores.values())).loss, scores
