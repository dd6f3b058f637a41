"""A classifier, asked about scans that are in no study.

The scans come as a table, one row each:

    patient_id     a person
    scan_id        needed where a patient has several scans
    <sequences>    a path for each sequence that the classifier looks at, empty where it is missing;
                   or one column `image` of files that hold the sequences as channels, in order
    mask           needed where the classifier's grid is centred on the tumour; inside it are the
                   values that its study took, as a rule all but 0
    brain_mask     needed where the classifier's scans were stripped of the skull; 0 outside

Paths are relative to the table. Other columns are not looked at; no label is needed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch

from sitesynth.classifiers.ensemble import ClassifierConfig, Ensemble
from sitesynth.classifiers.prediction import (
    call,
    mean_probability,
    predict_members,
    probability_columns,
)
from sitesynth.classifiers.provenance import find_oddities
from sitesynth.cohorts.sources import Row, Source, read_source
from sitesynth.cohorts.tables import BRAIN_MASK, IMAGE, MASK, Cohort, map_source, single_labels
from sitesynth.errors import CohortError, MissingInputError
from sitesynth.patterns import are_side_by_side
from sitesynth.preprocessing.scans import preprocess_scan
from sitesynth.settings import CohortSettings, SiteSettings
from sitesynth.tracking import OnStep


__all__ = ["needs_brain_mask", "needs_mask", "predict_files", "predict_table", "read_table"]

SITE: Final = "elsewhere"
"""Where the scans come from, for the data contract's rules on sites."""

BATCH_SIZE: Final = 16
"""Scans in memory at once."""


def read_table(table: Path, config: ClassifierConfig, *, columns: Mapping[str, str]) -> Cohort:
    """Read a table of scans, and check it as a study's is checked.

    Args:
        table: A CSV, TSV or Parquet file.
        config: The classifier that the scans are for.
        columns: Our column name to the table's, for those that differ.

    Raises:
        MissingInputError: If there is no such table.
        CohortError: If it breaks the data contract, or lacks a column that the classifier needs.
    """
    if not table.is_file():
        raise MissingInputError(f"there is no table {table}; name a CSV, TSV or Parquet file.")
    source = read_source(table)
    chosen = _choose(source, _needed_columns(source, config, columns), columns)
    cohort = CohortSettings(
        source=".",
        table=None,
        columns={},
        codes={},
        sequences=config.sequences,
        has_mask=needs_mask(config),
        mask_labels=config.mask_labels if needs_mask(config) else None,
        has_brain_mask=needs_brain_mask(config),
        labels=_labels_of(config),
        label_unit="scan",
        covariates=(),
    )
    sites = SiteSettings(all=("study", SITE), training=("study",), external=(SITE,))
    # The contract asks for a site and a label of every scan; these have neither.
    labels = single_labels(cohort)
    complete = Source(
        source.name,
        (*chosen.header, "site", *labels),
        tuple(Row(row.number, (*row.cells, SITE, *[""] * len(labels))) for row in chosen.rows),
    )
    return map_source(complete, root=table.parent, cohort=cohort, sites=sites)


def predict_table(
    ensemble: Ensemble, provenance: Mapping[str, Any] | None, scans: Cohort, *, on_scan: OnStep
) -> pd.DataFrame:
    """Prepare every scan as the classifier's training scans were, and predict it.

    Args:
        ensemble: The classifier.
        provenance: What it learned from; None says nothing of any scan.
        scans: What `read_table` returned.
        on_scan: Told after each scan how many are done.

    Returns:
        One row per scan: patient_id, scan_id, and the columns of `predict_files`.

    Raises:
        VolumeError: If a file cannot be read, or shows nothing.
    """
    rows = scans.table.to_dict("records")
    columns = (*ensemble.config.sequences, IMAGE, BRAIN_MASK, MASK)
    names = [name for name in columns if name in scans.table]
    files = ({name: scans.root / str(row[name]) for name in names if row[name]} for row in rows)
    predicted = predict_files(ensemble, provenance, files, on_scan=on_scan)
    return scans.table[["patient_id", "scan_id"]].reset_index(drop=True).join(predicted)


def predict_files(
    ensemble: Ensemble,
    provenance: Mapping[str, Any] | None,
    scans: Iterable[Mapping[str, Path]],
    *,
    on_scan: OnStep,
) -> pd.DataFrame:
    """Prepare scans as the classifier's training scans were, and predict them.

    Args:
        ensemble: The classifier.
        provenance: What it learned from; None says nothing of any scan.
        scans: The files of each, by column; a missing sequence has none.
        on_scan: Told after each scan how many are done.

    Returns:
        One row per scan: probability of the positive class (mean over the classifier's seeds), or
        probability_<class> of each; call (the class it is called, by the classifier's threshold or
        as the most probable one; of findings, those from one half on); and warning: in what the
        scan is unlike those that the classifier
        learned from, empty if in nothing.

    Raises:
        VolumeError: If a file cannot be read, or shows nothing.
    """
    config = ensemble.config
    found, odd = [np.zeros((0, len(ensemble.predicted_classes)))], []
    for batch in _batches(config, scans, on_scan):
        found.append(mean_probability(predict_members(ensemble, batch)))
        odd += find_oddities(provenance, batch, config.sequences)
    chances = np.concatenate(found)
    shown = probability_columns(config, chances, prefix="probability")
    return pd.DataFrame({**shown, "call": call(config, chances), "warning": odd})


def needs_mask(config: ClassifierConfig) -> bool:
    """Tell whether a classifier's grid is centred on the tumour, so that a scan needs a mask."""
    return config.grid.region == "tumour"


def needs_brain_mask(config: ClassifierConfig) -> bool:
    """Tell whether a classifier's scans were stripped of the skull, so that a scan needs a mask."""
    return config.intensity.foreground == "brain"


def _batches(
    config: ClassifierConfig, scans: Iterable[Mapping[str, Path]], on_scan: OnStep
) -> Iterator[torch.Tensor]:
    """Yield the sequences of the scans, some at a time."""
    channels = (*config.sequences, MASK) if needs_mask(config) else config.sequences
    batch = []
    for number, files in enumerate(scans, start=1):
        voxels = preprocess_scan(
            files,
            channels=channels,
            grid=config.grid,
            intensity=config.intensity,
            mask_labels=config.mask_labels,
        )
        # As an image set keeps them, so that a scan of the study has the study's probability.
        batch.append(voxels[: len(config.sequences)].astype(np.float16))
        on_scan(number, {})
        if len(batch) == BATCH_SIZE:
            yield torch.from_numpy(np.stack(batch)).float()
            batch = []
    if batch:
        yield torch.from_numpy(np.stack(batch)).float()


def _labels_of(config: ClassifierConfig) -> dict[str, tuple[str, ...]]:
    """Return the classifier's label with its classes, and the labels that findings are."""
    labels = {config.label: config.classes}
    if are_side_by_side(config.label):
        return dict.fromkeys(config.classes, ("absent", "present")) | labels
    return labels


def _needed_columns(
    source: Source, config: ClassifierConfig, columns: Mapping[str, str]
) -> list[str]:
    """Return our names of the columns that a table must have."""
    has_sequences = any(columns.get(name, name) in source.header for name in config.sequences)
    has_image = IMAGE in columns or (IMAGE in source.header and not has_sequences)
    files = [IMAGE] if has_image else list(config.sequences)
    masks = [BRAIN_MASK] if needs_brain_mask(config) else []
    masks += [MASK] if needs_mask(config) else []
    return ["patient_id", *files, *masks]


def _choose(source: Source, needed: Sequence[str], columns: Mapping[str, str]) -> Source:
    """Return the columns that are needed, and `scan_id` if it is there, under our names."""
    unknown = sorted(set(columns) - {*needed, "scan_id"})
    if unknown:
        raise CohortError(f"no column {unknown} is needed, so none can be named; needed: {needed}.")
    places = {}
    for name in (*needed, "scan_id"):
        theirs = columns.get(name, name)
        if theirs in source.header:
            places[name] = source.header.index(theirs)
        elif name in needed or name in columns:
            raise CohortError(
                f"the table {source.name} has no column '{theirs}', in which the classifier looks "
                f"for {name}. Its columns are {list(source.header)}; name the right one with "
                f"--column {name}=NAME. Where no scan has the sequence, add an empty column."
            )
    return Source(
        source.name,
        tuple(places),
        tuple(
            Row(row.number, tuple(row.cells[place] for place in places.values()))
            for row in source.rows
        ),
    )
