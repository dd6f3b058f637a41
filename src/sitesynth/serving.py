"""Registered models as MLflow's `python_function`: what `mlflow models serve` serves.

A classifier is asked with one row per scan and one column per sequence (and mask, where its grid is
centred on the tumour): the bytes of a file, base64 in JSON, empty where the sequence is missing. A
path is not taken: whoever may ask a server need not be allowed to read its disk.

A generator is asked with rows of label, index, seed, sampler, num_steps, eta and guidance; the same
row draws the same scan as `sitesynth sample`, guided and with its eta at all times; its covariates,
if the generator knows any, are drawn.

MLflow knows this module by its name, and calls `_load_pyfunc`.
"""

import base64
import binascii
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast, final, get_args

import pandas as pd

from sitesynth.classifiers.ensemble import read_ensemble
from sitesynth.classifiers.provenance import read_provenance
from sitesynth.cohorts.tables import BRAIN_MASK
from sitesynth.errors import CohortError, SitesynthError
from sitesynth.exports import draw_scan, write_scan
from sitesynth.generators.bundle import bundle_digest, read_bundle
from sitesynth.generators.samplers import SamplerName
from sitesynth.images import MASK
from sitesynth.inference import needs_brain_mask, needs_mask, predict_files
from sitesynth.sampling import Solver, scan_name


__all__ = ["ServedClassifier", "ServedGenerator"]

MAGIC: Final = {b"\x1f\x8b": ".nii.gz", b"\x89PNG": ".png", b"\xff\xd8": ".jpg", b"II*": ".tif"}
"""How files begin, and what they are called; else they are NIfTI."""

ALWAYS: Final = (0.0, 1.0)


def _load_pyfunc(path: str) -> "ServedClassifier | ServedGenerator":
    """Return the model in a folder; MLflow calls this."""
    folder = Path(path)
    if (folder / "classifier.json").exists():
        return ServedClassifier(folder)
    return ServedGenerator(folder)


@final
class ServedClassifier:
    """A classifier that is asked by files' bytes."""

    def __init__(self, folder: Path) -> None:
        self.ensemble = read_ensemble(folder)
        self.provenance = read_provenance(folder)

    def predict(self, scans: pd.DataFrame) -> pd.DataFrame:
        """Return probability, call and warning of each scan.

        Args:
            scans: One row per scan.

        Raises:
            CohortError: If no column of a sequence is there, or a cell is no file.
            VolumeError: If a file cannot be read, or shows nothing.
        """
        config = self.ensemble.config
        names = [*config.sequences, *([BRAIN_MASK] if needs_brain_mask(config) else [])]
        names += [MASK] if needs_mask(config) else []
        known = [name for name in names if name in scans.columns]
        if not set(known) & set(config.sequences):
            raise CohortError(
                f"a scan needs one of the columns {list(config.sequences)}, but there are "
                f"{list(scans.columns)}."
            )
        with tempfile.TemporaryDirectory() as folder:
            files = [
                {
                    name: _write(Path(folder) / f"{number}_{name}", row[name], name)
                    for name in known
                    if _is_there(row[name])
                }
                for number, row in enumerate(scans.to_dict("records"))
            ]
            return predict_files(
                self.ensemble, self.provenance, files, on_scan=lambda number, values: None
            )


@final
class ServedGenerator:
    """A generator that is asked by label and seed."""

    def __init__(self, folder: Path) -> None:
        self.generator = read_bundle(folder)
        self.digest = bundle_digest(folder)

    def predict(self, wanted: pd.DataFrame) -> pd.DataFrame:
        """Return each scan that is asked for, one file's bytes per channel.

        Args:
            wanted: One row per scan.

        Raises:
            SitesynthError: If the generator knows no such label.
        """
        drawn = [self._draw(row) for row in wanted.to_dict("records")]
        return pd.DataFrame(drawn, columns=list(self.generator.config.channels))

    def _draw(self, row: Mapping[Any, Any]) -> dict[str, bytes]:
        config = self.generator.config
        label, index = str(row["label"]), int(row["index"])
        solver = Solver(
            sampler=_sampler(str(row["sampler"])),
            num_steps=int(row["num_steps"]),
            guidance=float(row["guidance"]),
            guidance_interval=ALWAYS,
            eta=float(row["eta"]),
            eta_interval=ALWAYS,
        )
        scan = draw_scan(self.generator, label, index, seed=int(row["seed"]), solver=solver)
        origin = {"bundle": self.digest, **row}
        with tempfile.TemporaryDirectory() as folder:
            name = scan_name(config.site, label, index)
            files = write_scan(Path(folder), name, scan, config, origin)
            return {
                channel: file.read_bytes()
                for channel, file in zip(config.channels, files, strict=True)
            }


def _sampler(name: str) -> SamplerName:
    if name not in (known := get_args(SamplerName)):
        raise SitesynthError(f"there is no sampler '{name}'; there are {', '.join(known)}.")
    return cast("SamplerName", name)


def _is_there(cell: object) -> bool:
    """Tell whether a cell holds a file; MLflow fills a missing column with None or NaN."""
    return isinstance(cell, (bytes, str)) and len(cell) > 0


def _write(path: Path, cell: bytes | str, column: str) -> Path:
    """Write a cell's file under a name that says what it is."""
    if isinstance(cell, str):
        try:
            cell = base64.b64decode(cell, validate=True)
        except binascii.Error as error:
            raise CohortError(
                f"column {column} must hold a file's bytes, base64 in JSON, but holds text "
                f"{cell[:40]!r}. Paths are not read."
            ) from error
    kind = next((suffix for magic, suffix in MAGIC.items() if cell.startswith(magic)), ".nii")
    named = path.with_name(path.name + kind)
    named.write_bytes(cell)
    return named
