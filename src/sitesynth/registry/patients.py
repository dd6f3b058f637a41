"""Who the external patients are, without their names."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from sitesynth.classifiers.provenance import patient_digest


__all__ = ["digests_of_patients"]


def digests_of_patients(splits: Path, sites: Iterable[str]) -> set[str]:
    """Return the digests of the patients of some sites, as `data/splits` lists them."""
    tables = [pd.read_csv(splits / f"{site}.csv", dtype=str) for site in sites]
    return {patient_digest(name) for table in tables for name in table["patient_id"]}
