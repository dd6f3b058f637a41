"""What a site has after the acquire stage: its own canonical table, and where its files are.

table.csv     a canonical table (`sitesynth.cohorts.tables`), then `sha256_<column>` for each
              column of paths: the digest of the file's bytes, empty where there is no file
cohort.json   root of the paths, role of the site, counts
scans/        the files themselves, for the phantom only
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

import pandas as pd

from sitesynth.errors import MissingInputError
from sitesynth.storage import read_json


__all__ = ["Acquired", "read_acquired"]


@final
@dataclass(frozen=True)
class Acquired:
    """The scans of one site."""

    site: str
    role: Literal["training", "external"]
    root: Path
    """The folder that paths are relative to."""
    table: pd.DataFrame
    """One row per scan, every cell a string; index 0 to n - 1."""


def read_acquired(folder: Path) -> Acquired:
    """Read what `acquisition.acquire_site` wrote.

    Raises:
        MissingInputError: If the folder does not hold it.
    """
    if not (folder / "cohort.json").exists():
        raise MissingInputError(
            f"{folder} holds no acquired site (cohort.json); `dvc repro acquire` writes it."
        )
    about = read_json(folder / "cohort.json")
    table = pd.read_csv(folder / "table.csv", dtype=str, keep_default_na=False)
    return Acquired(about["site"], about["role"], Path(about["root"]), table)
