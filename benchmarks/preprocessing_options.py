"""What the options of preprocessing cost on a scan as archives have them, on one thread.

    PYTHONPATH=src:. OMP_NUM_THREADS=1 python -m benchmarks.preprocessing_options

Makes a phantom of 240 x 240 x 155 voxels of 1 mm, four sequences and a mask; moves all sequences
but T1c by 3 degrees and some millimetres; and prepares it for the grid of `studies/glioma-3d.yaml`,
each time in a process of its own, with an option more. Peak memory is that of the process, with
all that it imports. With registration, it also says how far the sequences still lie apart.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sitesynth.phantom.consortium import draw_patients, render_patient
from sitesynth.preprocessing.scans import preprocess_scan
from sitesynth.settings import GridSettings, IntensitySettings, load_settings
from sitesynth.volumes import Volume, write_nifti


SHAPE = (240, 240, 155)
SEQUENCES = ("t1", "t1c", "t2", "flair")
REFERENCE = "t1c"
DEGREES = 3.0
SHIFT_MM = (4.0, -3.0, 2.0)
MIB = 1024

RIGID = {"reference": REFERENCE, "transform": "rigid", "template": None}
N4 = {"shrink": 4, "iterations": [50, 50, 30]}
OPTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "none": ({}, {}),
    "N4": ({}, {"bias_field": N4}),
    "rigid registration": ({"registration": RIGID}, {}),
    "affine registration": ({"registration": RIGID | {"transform": "affine"}}, {}),
}
"""By name: what it changes of `grid` and of `intensity`."""


def moved(affine: np.ndarray) -> np.ndarray:
    """Return a place that is turned about the superior axis, and shifted."""
    turn = np.eye(4)
    angle = np.deg2rad(DEGREES)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turn[:3, 3] = SHIFT_MM
    place: np.ndarray = turn @ affine
    return place


def write_scan(folder: Path) -> None:
    """Write the scan, and once more with every sequence where it belongs."""
    settings = load_settings(Path("params.yaml"))
    assert settings.phantom is not None  # noqa: S101
    site = settings.phantom.sites["alder"].model_copy(
        update={"spacing_mm": (1.0, 1.0, 1.0), "orientation": "RAS", "missing_fraction": 0.0}
    )
    patient = draw_patients("alder", settings.phantom, seed=settings.seed)[0]
    patient = replace(patient, missing=None)
    for name, volume in render_patient(patient, site, seed=settings.seed).items():
        voxels = np.zeros(SHAPE, dtype=np.float32)
        kept = tuple(slice(0, min(pair)) for pair in zip(SHAPE, volume.voxels.shape, strict=True))
        voxels[kept] = volume.voxels[kept]
        is_moved = name in SEQUENCES and name != REFERENCE
        here = Volume(voxels, moved(volume.affine) if is_moved else volume.affine)
        write_nifti(folder / f"{name}.nii", here, dtype=np.float32)
        write_nifti(folder / f"{name}_still.nii", Volume(voxels, volume.affine), dtype=np.float32)


def prepare(folder: Path, grid: Mapping[str, Any], intensity: Mapping[str, Any], *, at: str) -> Any:
    """Prepare the scan, whose files end in `at`, and return its array."""
    study = load_settings(Path("studies/glioma-3d.yaml"))
    paths = {name: folder / f"{name}{at}.nii" for name in (*SEQUENCES, "mask")}
    return preprocess_scan(
        paths,
        channels=(*SEQUENCES, "mask"),
        grid=GridSettings.model_validate(study.grid.model_dump() | dict(grid)),
        intensity=IntensitySettings.model_validate(study.intensity.model_dump() | dict(intensity)),
        mask_labels=None,
    )


def measure(folder: Path, option: str) -> dict[str, float]:
    """Prepare the scan with an option; return seconds, memory, and how far it is from the truth."""
    grid, intensity = OPTIONS[option]
    started = time.process_time()
    found = prepare(folder, grid, intensity, at="")
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB
    still = prepare(folder, {}, intensity, at="_still")
    return {"seconds": seconds, "mib": peak, "error": float(np.abs(found - still)[:-1].mean())}


def main() -> None:
    """Print a line per option."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--option", choices=[*OPTIONS], help="this one alone, on --folder")
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    if asked.option is not None:
        sys.stdout.write(json.dumps(measure(asked.folder, asked.option)))
        return
    with tempfile.TemporaryDirectory() as name:
        write_scan(Path(name))
        for option in OPTIONS:
            command = ["-m", "benchmarks.preprocessing_options", "--option", option]
            done = subprocess.run(  # noqa: S603
                [sys.executable, *command, "--folder", name],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            found = json.loads(done.stdout)
            sys.stdout.write(
                f"{option}: {found['seconds']:.1f} s of processor time, at most "
                f"{found['mib']:.0f} MiB, mean absolute difference to the scan that never moved "
                f"{found['error']:.4f}\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
