"""Three sites whose classes differ in brightness, on disk, and a study of four steps on them."""

from pathlib import Path
from typing import Any

import numpy as np

from sitesynth import seeds
from sitesynth.images import read_images, write_index, write_voxels
from sitesynth.settings import Settings, load_settings
from sitesynth.strategies.fitting import fit_strategy


ROOT = Path(__file__).parents[3]
SITES = ("alder", "birch", "cedar")


def write_sites(folder: Path) -> Path:
    """Write each site's image set: 8 scans to learn from, 4 to try models on, in 2D."""
    for site in SITES:
        rng = seeds.numpy_generator(0, "tiny", site)
        rows = []
        for number in range(12):
            label = number % 2
            scan = f"{site}-{number}"
            voxels = 0.4 * label + 0.5 * rng.random((1, 8, 8), dtype=np.float32)
            write_voxels(folder / site, scan, voxels)
            rows.append(
                {
                    "scan_id": scan,
                    "patient_id": scan,
                    "site": site,
                    "split": "train" if number < 8 else "validation",
                    "has_t1": "true",
                    "idh": ("wildtype", "mutant")[label],
                }
            )
        write_index(folder / site, channels=["t1"], grid=[8, 8], rows=rows, about={})
    return folder


def settings(*, num_steps: int = 4, num_seeds: int = 2, **federated: Any) -> Settings:
    """Return a study that trains in seconds: two members of two rounds of two steps.

    The last step of a round has a step size of zero: with two steps a round, only one moves.
    """
    study = load_settings(ROOT / "params.yaml")
    return study.model_copy(
        update={
            "cohort": study.cohort.model_copy(update={"sequences": ("t1",), "has_mask": False}),
            "grid": study.grid.model_copy(update={"shape": (8, 8), "spacing_mm": (1.0, 1.0)}),
            "classifier": study.classifier.model_copy(
                update={
                    "init_features": 8,
                    "growth_rate": 8,
                    "layers": (1,),
                    "num_steps": num_steps,
                    "num_seeds": num_seeds,
                }
            ),
            "federated": study.federated.model_copy(
                update={"engine": "nvflare", "num_rounds": 2, "batch_size": 4} | federated
            ),
        }
    )


def long_settings(**federated: Any) -> Settings:
    """Return a study of one member and more rounds than a test waits for, unless it wants to."""
    return settings(num_steps=60, num_seeds=1, num_rounds=60, **federated)


def sections(study: Settings) -> dict[str, Any]:
    """Return what fitting a federation obeys."""
    names = ("cohort", "sites", "task", "grid", "intensity", "classifier", "federated", "seed")
    return {name: getattr(study, name) for name in names}


def announced(study: Settings) -> dict[str, Any]:
    """Return what a plan is made of."""
    return {name: value for name, value in sections(study).items() if name != "intensity"}


def told_by(steps: list[Any]) -> Any:
    """Return a callback per member that writes its steps down."""
    return lambda member: lambda step, losses: steps.append((member, step, dict(losses)))


def fit_in_process(images: Path, study: Settings, steps: list[Any]) -> Any:
    """Fit the federated strategy without an engine."""
    return fit_strategy(
        "federated",
        real={site: read_images(images / site) for site in SITES},
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
        on_step_of=told_by(steps),
    )
