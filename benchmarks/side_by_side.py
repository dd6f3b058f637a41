"""How much sooner classifiers are trained side by side than in turn, on the same threads.

Classifiers of params.yaml's study on random scans: what they learn does not matter to how long they
take.

    PYTHONPATH=src python -m benchmarks.side_by_side

Half a minute on two idle cores.
"""

import time
from functools import partial
from pathlib import Path
from typing import Final

import torch

from sitesynth import seeds
from sitesynth.classifiers.network import build_classifier
from sitesynth.classifiers.training import Examples, balance, train_on
from sitesynth.settings import Settings, load_settings
from sitesynth.strategies.side_by_side import train_side_by_side
from sitesynth.tracking import OnStep


__all__ = ["main"]

NUM_STEPS: Final = 60
NUM_SCANS: Final = 64


def train_one(member: int, on_step: OnStep, *, study: Settings, examples: Examples) -> None:
    """Train one classifier for a few steps."""
    model = build_classifier(
        study.classifier,
        num_sequences=examples.presence.shape[1],
        num_classes=len(study.classes),
        dims=len(study.grid.shape),
        rng=seeds.generator(0, "side by side", member),
    )
    train_on(
        model,
        examples,
        settings=study.classifier,
        scope=("side by side", member),
        seed=0,
        num_steps=NUM_STEPS,
        on_step=on_step,
    )


def main() -> None:
    """Print milliseconds per step both ways, and their ratio."""
    study = load_settings(Path("params.yaml"))
    sequences = len(study.cohort.sequences)
    rng = seeds.generator(0, "side by side", "scans")
    examples = Examples(
        torch.rand((NUM_SCANS, sequences, *study.grid.shape), generator=rng),
        torch.ones(NUM_SCANS, sequences, dtype=torch.bool),
        torch.arange(NUM_SCANS) % len(study.classes),
        balance(torch.arange(NUM_SCANS) % len(study.classes)),
    )
    train = partial(train_one, study=study, examples=examples)
    members = study.classifier.num_seeds
    milliseconds = {}
    for name in ("in turn", "side by side"):
        started = time.perf_counter()
        if name == "in turn":
            for member in range(members):
                train(member, lambda step, losses: None)
        else:
            train_side_by_side(train, members, on_step_of=lambda member: lambda step, losses: None)
        milliseconds[name] = 1e3 * (time.perf_counter() - started) / (members * NUM_STEPS)
    threads = torch.get_num_threads()
    for name, each in milliseconds.items():
        print(f"{members} classifiers {name}, {threads} threads: {each:.1f} ms a step")
    print(f"ratio: {milliseconds['in turn'] / milliseconds['side by side']:.2f}")


if __name__ == "__main__":
    main()
