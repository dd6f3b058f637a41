"""How many scans a second `sitesynth predict` predicts, and where the time goes.

Untrained networks of params.yaml's study, on phantom scans of its first site: what they say does
not matter to how long they take. Seconds are processor seconds, which other work on the machine
does not change.

    python -m benchmarks.prediction_throughput

Half a minute on an idle core.
"""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import torch

from sitesynth import seeds
from sitesynth.classifiers.ensemble import ClassifierConfig, Ensemble
from sitesynth.classifiers.network import build_classifier
from sitesynth.classifiers.prediction import predict_members
from sitesynth.cohorts.acquisition import acquire_site
from sitesynth.inference import predict_files
from sitesynth.settings import Settings, load_settings
from sitesynth.tracking import Silent


__all__ = ["main"]

BATCHES: Final = (1, 4, 16)


def untrained(study: Settings) -> Ensemble:
    """Return a classifier of the study's size."""
    config = ClassifierConfig(
        strategy="untrained",
        label=study.task.label,
        classes=study.classes,
        positive=study.task.positive,
        threshold=0.5,
        stages=None,
        sequences=study.cohort.sequences,
        grid=study.grid,
        mask_labels=study.cohort.mask_labels,
        intensity=study.intensity,
        classifier=study.classifier,
    )
    members = [
        build_classifier(
            study.classifier,
            num_sequences=len(study.cohort.sequences),
            num_classes=len(study.classes),
            dims=len(study.grid.shape),
            rng=seeds.generator(0, "throughput", number),
        ).eval()
        for number in range(study.classifier.num_seeds)
    ]
    return Ensemble(config, members)


def scans_of(folder: Path, study: Settings) -> list[Mapping[str, Path]]:
    """Make the scans of the study's first site, and return their files."""
    site = study.sites.all[0]
    acquire_site(
        site,
        source=Path(study.cohort.source),
        folder=folder,
        cohort=study.cohort,
        sites=study.sites,
        phantom=study.phantom,
        seed=study.seed,
        progress=Silent().progress,
    )
    table = pd.read_csv(folder / "table.csv", dtype=str, keep_default_na=False)
    names = [*study.cohort.sequences, "mask"]
    return [
        {name: folder / row[name] for name in names if row[name]}
        for row in table.to_dict("records")
    ]


def main() -> None:
    """Print scans per processor second, as a whole and of the networks alone."""
    study = load_settings(Path("params.yaml"))
    ensemble = untrained(study)
    with tempfile.TemporaryDirectory() as folder:
        scans = scans_of(Path(folder), study)
        started = time.process_time()
        predict_files(ensemble, None, scans, on_scan=lambda number, values: None)
        seconds = time.process_time() - started
    print(f"predict: {len(scans)} scans, {len(scans) / seconds:.1f} scans per processor second")
    shape = (len(study.cohort.sequences), *study.grid.shape)
    for size in BATCHES:
        images = torch.from_numpy(
            seeds.numpy_generator(0, "throughput", size).random((size, *shape), np.float32)
        )
        predict_members(ensemble, images)
        started = time.process_time()
        rounds = 64 // size
        for _ in range(rounds):
            predict_members(ensemble, images)
        seconds = time.process_time() - started
        print(f"networks, batches of {size}: {rounds * size / seconds:.1f} scans per second")


if __name__ == "__main__":
    main()
