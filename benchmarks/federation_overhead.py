"""What NVFlare's simulator costs over the in-process engine, in seconds and bytes.

Trains the classifier of params.yaml on made-up scans of its grid at three sites, one step a round,
with both engines and two numbers of rounds: the difference is a part per study and one per round.
Wall-clock seconds are those of this machine and of what else runs on it; processor seconds count
the engine's processes too.

    python -m benchmarks.federation_overhead
    python -m benchmarks.federation_overhead --images data/images [--seeds 4]

The second trains the study's own federated strategy with both engines, and says whether every
weight has the same bits; it needs `dvc repro preprocess` before it. Two minutes on two idle cores,
and four.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np
import torch

from sitesynth import seeds
from sitesynth.classifiers.ensemble import Ensemble
from sitesynth.images import read_images, write_index, write_voxels
from sitesynth.settings import PRESENCE, Settings, load_settings
from sitesynth.strategies.federation import fit_federation
from sitesynth.strategies.fitting import fit_strategy


__all__ = ["main"]

ROUNDS: Final = (2, 12)
NUM_SCANS: Final = 24


def write_sites(folder: Path, study: Settings) -> None:
    """Write image sets of noise, brighter for the second class."""
    channels = list(study.cohort.sequences)
    for site in study.sites.training:
        rng = seeds.numpy_generator(0, "overhead", site)
        rows = []
        for number in range(NUM_SCANS):
            name, label = f"{site}-{number}", number % 2
            shape = (len(channels), *study.grid.shape)
            write_voxels(folder / site, name, 0.3 * label + 0.5 * rng.random(shape, np.float32))
            cells = {"scan_id": name, "patient_id": name, "site": site}
            cells["split"] = "validation" if number % 4 > 1 else "train"
            cells |= {f"{PRESENCE}{channel}": "true" for channel in channels}
            rows.append(cells | {study.task.label: study.classes[label]})
        write_index(folder / site, channels=channels, grid=study.grid.shape, rows=rows, about={})


def in_process(images: Path, study: Settings) -> tuple[Ensemble, int]:
    """Fit without an engine; nothing travels."""
    return fit_strategy(
        "federated",
        real={site: read_images(images / site) for site in study.sites.training},
        synthetic={},
        mixes={},
        label=study.task.label,
        classes=study.classes,
        positive=study.task.positive,
        stages=study.task.stages,
        grid=study.grid,
        mask_labels=study.cohort.mask_labels,
        intensity=study.intensity,
        classifier=study.classifier,
        federated=study.federated,
        seed=study.seed,
        on_step_of=lambda member: lambda step, losses: None,
    ), 0


def nvflare(images: Path, study: Settings) -> tuple[Ensemble, int]:
    """Fit in NVFlare's simulator."""
    with tempfile.TemporaryDirectory() as name:
        ensemble, traffic = fit_federation(
            images,
            cohort=study.cohort,
            sites=study.sites,
            task=study.task,
            grid=study.grid,
            intensity=study.intensity,
            classifier=study.classifier,
            federated=study.federated,
            seed=study.seed,
            standings=Path(name),
            on_step_of=lambda member: lambda step, losses: None,
        )
    return ensemble, traffic["bytes"]


def processor_seconds() -> float:
    """Return the processor time of this process and of those it has waited for."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def with_rounds(study: Settings, rounds: int) -> Settings:
    """Return the study with one member that takes one step in each round."""
    return study.model_copy(
        update={
            "classifier": study.classifier.model_copy(update={"num_steps": rounds, "num_seeds": 1}),
            "federated": study.federated.model_copy(update={"num_rounds": rounds}),
        }
    )


def compare_whole(study: Settings, images: Path) -> None:
    """Print both engines' costs for the study's own federated strategy, and compare their bits."""
    print(f"{torch.get_num_threads()} threads; load of the machine {os.getloadavg()[0]:.1f}")
    found = []
    for fit in (in_process, nvflare):
        started, spent = time.monotonic(), processor_seconds()
        ensemble, sent = fit(images, study)
        found.append(ensemble)
        print(
            f"{fit.__name__:12}{time.monotonic() - started:8.1f} s by the clock, "
            f"{processor_seconds() - spent:8.1f} of processor time, {sent / 1e6:8.1f} MB"
        )
        sys.stdout.flush()
    pairs = [
        (value, there.state_dict()[name])
        for here, there in zip(found[0].members, found[1].members, strict=True)
        for name, value in here.state_dict().items()
    ]
    same = sum(torch.equal(here, there) for here, there in pairs)
    print(f"{same} of {len(pairs)} tensors of {len(found[0].members)} members have the same bits")


def main() -> None:
    """Print both engines' costs, and the difference per study and per round."""
    study = load_settings(Path("params.yaml"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--seeds", type=int, default=study.classifier.num_seeds)
    told = parser.parse_args()
    if told.images is not None:
        seeded = study.classifier.model_copy(update={"num_seeds": told.seeds})
        compare_whole(study.model_copy(update={"classifier": seeded}), told.images)
        return
    walls: dict[tuple[str, int], float] = {}
    with tempfile.TemporaryDirectory() as name:
        images = Path(name)
        write_sites(images, study)
        in_process(images, with_rounds(study, 1))  # the first use of torch costs seconds
        print(f"{torch.get_num_threads()} threads; load of the machine {os.getloadavg()[0]:.1f}")
        print(f"{'engine':12}{'rounds':>8}{'wall s':>10}{'processor s':>13}{'MB':>8}")
        for rounds in ROUNDS:
            for fit in (in_process, nvflare):
                started, spent = time.monotonic(), processor_seconds()
                _, sent = fit(images, with_rounds(study, rounds))
                wall = walls[fit.__name__, rounds] = time.monotonic() - started
                cost = processor_seconds() - spent
                print(f"{fit.__name__:12}{rounds:8}{wall:10.1f}{cost:13.1f}{sent / 1e6:8.1f}")
                sys.stdout.flush()
    extra = {rounds: walls["nvflare", rounds] - walls["in_process", rounds] for rounds in ROUNDS}
    few, many = ROUNDS
    per_round = (extra[many] - extra[few]) / (many - few)
    print(
        f"NVFlare adds {extra[few] - few * per_round:.1f} s a study and {per_round:.2f} s a round"
    )


if __name__ == "__main__":
    main()
