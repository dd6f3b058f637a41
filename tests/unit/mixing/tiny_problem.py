"""A consortium whose best mix is known: bright is told from dark, and one site may tell lies."""

import torch

from sitesynth import seeds
from sitesynth.classifiers.training import Examples, Validator, balance
from sitesynth.mixing.problem import MixingProblem
from sitesynth.settings import ClassifierSettings, MixingSettings
from sitesynth.strategies.validation import validator_of
from tests.contracts.strategy import build


CLASSES = ("dark", "bright")
POOL = 20

CLASSIFIER = ClassifierSettings(
    init_features=8,
    growth_rate=8,
    layers=(1,),
    sequence_dropout=0.0,
    learning_rate=0.5,
    weight_decay=0.0,
    batch_size=32,
    num_steps=4,
    validate_every=2,
    num_seeds=1,
)

MIXING = MixingSettings(
    num_trials=7,
    num_random=3,
    max_total=120,
    min_per_class=4,
    num_steps=4,
    validate_every=2,
    num_finalists=2,
    num_seeds=2,
    num_workers=1,
    storage=None,
)


def examples(scope: str, count: int, *, lies: bool) -> Examples:
    """Return scans of both classes, alike in number; where a site lies, labels are noise."""
    rng = seeds.generator(0, scope)
    truth = torch.tensor([0, 1] * count)
    # Noise with as many of each class on either side: half of the labels are turned around.
    told = torch.tensor([0, 1, 1, 0] * (count // 2)) if lies else truth
    noise = 0.6 * torch.rand(2 * count, 1, 16, 16, generator=rng)
    return Examples(
        noise + truth.reshape(-1, 1, 1, 1),
        torch.ones(2 * count, 1, dtype=torch.bool),
        told,
        balance(told),
    )


def open_tiny(liar: str | None = None, num_steps: int = 4) -> MixingProblem:
    """Open the problem; the site `liar` has drawn scans whose labels mean nothing."""
    sites = ("alder", "birch", "cedar")
    return MixingProblem(
        pool={site: examples(f"{site} pool", POOL, lies=site == liar) for site in sites},
        validators={site: validator(f"{site} held out") for site in sites},
        classes=CLASSES,
        build=build,
        classifier=CLASSIFIER.model_copy(
            update={"num_steps": num_steps, "validate_every": num_steps // 2}
        ),
        seed=1,
    )


def validator(scope: str) -> Validator:
    """Return a site's offer, on scans that are as labelled."""
    held_out = examples(scope, 8, lies=False)
    return validator_of(held_out, classes=CLASSES, positive=CLASSES[1])


SCANS = {
    "alder": {"dark": 20, "bright": 20},
    "birch": {"dark": 10, "bright": 10},
    "cedar": {"dark": 4, "bright": 8},
}
"""What the cards say that the generators were trained on."""
