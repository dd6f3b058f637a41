"""How long a cohort of many scans takes to check, and how much memory.

    PYTHONPATH=src python -m benchmarks.many_scans --rows 10000

Writes small volumes of noise (24 x 24 x 16, two sequences and a mask) and their table, and runs
`sitesynth check` on it as a user would, in a process of its own.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from sitesynth.settings import Settings, load_settings, settings_text
from sitesynth.storage import write_text
from sitesynth.volumes import Volume, write_nifti


SHAPE = (24, 24, 16)
COLUMNS = ("t1", "flair", "mask")
MIB = 1024


def write_cohort(folder: Path, sites: tuple[str, ...], *, num_rows: int) -> None:
    """Write scans, one per patient, in turn at every site."""
    rng = np.random.default_rng(1)
    rows = []
    for number in range(num_rows):
        scan = f"p{number:06d}"
        mask = np.zeros(SHAPE, dtype=np.float32)
        mask[8:14, 8:14, 5:10] = 1.0
        for column in COLUMNS:
            noise = rng.integers(1, 100, SHAPE).astype(np.float32)
            voxels = mask if column == "mask" else noise
            place = Volume(voxels, np.diag([2.0, 2.0, 3.0, 1.0]))
            write_nifti(folder / f"{scan}_{column}.nii", place, dtype=np.uint8)
        row = {"patient_id": scan, "site": sites[number % len(sites)]}
        row |= {
            "idh": ("wildtype", "mutant")[number // len(sites) % 2],
            "age": str(30 + number % 50),
        }
        rows.append(row | {column: f"{scan}_{column}.nii" for column in COLUMNS})
    write_text(folder / "cohort.csv", pd.DataFrame(rows).to_csv(index=False))


def describe(folder: Path) -> Settings:
    """Return the default study on the cohort."""
    raw = load_settings(Path("params.yaml")).model_dump(mode="json")
    raw["phantom"] = None
    raw["cohort"] |= {
        "source": folder.as_posix(),
        "table": "cohort.csv",
        "sequences": ["t1", "flair"],
        "labels": {"idh": ["wildtype", "mutant"]},
        "covariates": ["age"],
    }
    return Settings.model_validate(raw)


def main() -> None:
    """Print seconds and memory of a check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    num_rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = describe(folder)
        write_cohort(folder, settings.sites.all, num_rows=num_rows)
        write_text(folder / "params.yaml", settings_text(settings, about="Many scans."))
        start = time.perf_counter()
        command = ["-m", "sitesynth.cli.main", "check", str(folder / "cohort.csv")]
        command += ["--params", str(folder / "params.yaml")]
        subprocess.run([sys.executable, *command], check=True)  # noqa: S603
        seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    sys.stdout.write(
        f"{num_rows} scans, {num_rows * len(COLUMNS)} files: {seconds:.0f} s by the clock, "
        f"{used.ru_utime + used.ru_stime:.0f} s of processor time, at most "
        f"{used.ru_maxrss / MIB:.0f} MiB\n"
    )


if __name__ == "__main__":
    main()
