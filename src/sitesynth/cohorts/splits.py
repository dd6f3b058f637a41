"""Who is trained on, who is chosen with, and who is only tested on.

The unit is the patient. At a training site, each class's patients are divided by a draw that
belongs to the patient, so that another site, another order of rows or another patient changes no
one else's draw. Patients who lack a sequence are shared out in proportion: were they all on one
side, whoever asks who was in training would find out who lacks one. External sites are all test.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import pandas as pd

from sitesynth.cohorts.cells import SPLITS
from sitesynth.cohorts.tables import MASKS
from sitesynth.errors import CohortError, LeakageError
from sitesynth.patterns import are_side_by_side, count_classes, had, rarest, read_patterns
from sitesynth.seeds import derive_seed
from sitesynth.settings import SiteSettings, SplitSettings
from sitesynth.storage import digest_of


__all__ = [
    "Splits",
    "check_walls",
    "draw_validation",
    "make_splits",
    "voxel_digests",
    "without_quarantined",
]

MAX_SHOWN = 5
"""Pairs of rows that one message lists."""

COLUMNS = ["scan_id", "patient_id", "split"]


@final
@dataclass(frozen=True)
class Splits:
    """The splits of a study."""

    tables: Mapping[str, pd.DataFrame]
    """By site: scan_id, patient_id and split of each of its scans."""

    frozen: Mapping[str, Any]
    """`test_sha256`, which changes if any external scan, label or file does, and counts."""


def make_splits(
    tables: Mapping[str, pd.DataFrame],
    digests: Mapping[str, Mapping[str, Mapping[str, str]]],
    *,
    sites: SiteSettings,
    label: str,
    classes: Sequence[str],
    split: SplitSettings,
    seed: int,
) -> Splits:
    """Split the patients of every site.

    Args:
        tables: By site of `sites`: its acquired table.
        digests: By site, scan and column: SHA-256 of the decoded voxels.
        sites: The sites and their roles.
        label: The task's label, by which training sites are stratified.
        classes: Its classes.
        split: What share to hold out where the table does not say.
        seed: Root seed.

    Raises:
        LeakageError: If a patient is at two sites or in two splits, or two scans have the same
            voxels or the same file.
        CohortError: If a table gives some scans a split and others none, or a class is missing
            from a training site's train or validation split.
    """
    check_walls(tables, digests)
    made = {}
    for site in sites.all:
        table = tables[site]
        if site in sites.external:
            assigned = pd.Series("test", index=table.index)
        elif (table["split"] != "").any():
            assigned = _given_splits(site, table)
        else:
            assigned = _drawn_splits(site, table, label=label, split=split, seed=seed)
        made[site] = pd.DataFrame(
            {"scan_id": table["scan_id"], "patient_id": table["patient_id"], "split": assigned}
        ).sort_values(["patient_id", "scan_id"], ignore_index=True)
        if site in sites.training:
            _check_classes(site, table, assigned, label=label, classes=classes)
    return Splits(made, _frozen(tables, made, sites=sites, label=label, classes=classes))


def voxel_digests(result: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the digest of each file's voxels, by scan and column, as `check_site` found it."""
    return {
        scan["scan_id"]: {
            column: file["voxel_sha256"]
            for column, file in scan["files"].items()
            if "voxel_sha256" in file
        }
        for scan in result["scans"]
    }


def without_quarantined(table: pd.DataFrame, result: Mapping[str, Any]) -> pd.DataFrame:
    """Return a site's table without the scans that `check_site` set aside."""
    aside = {row["scan_id"] for row in result["quarantine"]}
    return table[~table["scan_id"].isin(aside)].reset_index(drop=True)


def draw_validation(
    patients: Iterable[str],
    *,
    incomplete: Collection[str],
    validation_fraction: float,
    seed: int,
    site: str,
) -> set[str]:
    """Choose the patients of one class who are held out.

    Each patient draws a number; the lowest are held out, among the complete and the incomplete. At
    least one patient stays on either side if there are two, unless the fraction is 0.

    Args:
        patients: Patients of one class at one site; their order does not matter.
        incomplete: Those who lack a file that others have, maybe of other classes too.
        validation_fraction: Share to hold out, rounded to the nearest whole patient.
        seed: Root seed.
        site: Their site.
    """
    ranked = sorted(set(patients), key=lambda patient: derive_seed(seed, "split", site, patient))
    if validation_fraction == 0 or len(ranked) < 2:  # noqa: PLR2004
        return set()
    wanted = min(max(int(len(ranked) * validation_fraction + 0.5), 1), len(ranked) - 1)
    lacking = [patient for patient in ranked if patient in incomplete]
    complete = [patient for patient in ranked if patient not in incomplete]
    # Two shares of a whole number: the nearest of one leaves the nearest of the other.
    of_lacking = int(wanted * len(lacking) / len(ranked) + 0.5)
    return {*lacking[:of_lacking], *complete[: wanted - of_lacking]}


def check_walls(
    tables: Mapping[str, pd.DataFrame], digests: Mapping[str, Mapping[str, Mapping[str, str]]]
) -> None:
    """Refuse a patient at two sites or in two splits, and an image under two names.

    Masks may be equal: two small ones are so by chance.

    Raises:
        LeakageError: Names both rows of each such pair.
    """
    problems = []
    patients: dict[str, tuple[str, str]] = {}
    splits: dict[str, tuple[str, str]] = {}
    images: dict[str, tuple[str, str, str]] = {}
    for site in sorted(tables):
        for row in tables[site].to_dict("records"):
            scan, patient = row["scan_id"], row["patient_id"]
            home, other = patients.setdefault(patient, (site, scan))
            if home != site:
                problems.append(
                    f"patient '{patient}' is at two sites: scan '{other}' at {home} and scan "
                    f"'{scan}' at {site}"
                )
            first, owner = splits.setdefault(patient, (row["split"], scan))
            if first != row["split"]:
                problems.append(
                    f"patient '{patient}' of site {site} is in two splits: scan '{owner}' in "
                    f"'{first}' and scan '{scan}' in '{row['split']}'"
                )
            for column, digest in _image_digests(row, digests[site].get(scan, {})):
                there, twin, twin_column = images.setdefault(digest, (site, scan, column))
                if (there, twin) != (site, scan):
                    problems.append(
                        f"the same image under two names: {twin_column} of scan '{twin}' at "
                        f"{there} and {column} of scan '{scan}' at {site}"
                    )
    unique = list(dict.fromkeys(problems))
    if unique:
        shown = "".join(f"\n  {problem}" for problem in unique[:MAX_SHOWN])
        more = f"\n  and {len(unique) - MAX_SHOWN} more" if len(unique) > MAX_SHOWN else ""
        raise LeakageError(
            f"{len(unique)} leaks between sites, splits or patients:{shown}{more}\n"
            "Correct patient_id, site or split in the cohort's table, or remove one of the rows."
        )


def _image_digests(
    row: Mapping[Hashable, Any], voxels: Mapping[str, str]
) -> Iterable[tuple[str, str]]:
    """Yield column and digest of a scan's images: of their voxels, else of their bytes."""
    for name, digest in row.items():
        column = str(name).removeprefix("sha256_")
        if column not in {name, *MASKS} and digest:
            yield column, voxels.get(column) or digest


def _given_splits(site: str, table: pd.DataFrame) -> pd.Series:
    """Return the splits that a table gives, which it must give to all scans of a site."""
    missing = table[table["split"] == ""]
    if len(missing):
        raise CohortError(
            f"site '{site}': the table gives a split to {len(table) - len(missing)} scans and none "
            f"to {len(missing)}, first scan '{missing['scan_id'].iloc[0]}'. Give all or none."
        )
    return table["split"]


def _drawn_splits(
    site: str, table: pd.DataFrame, *, label: str, split: SplitSettings, seed: int
) -> pd.Series:
    """Draw who is held out, in each class and among those of unknown class."""
    # Where a patient's scans have different labels, the combination is a class of its own.
    stratum = table.groupby("patient_id")[label].agg(
        _by_rarest(table, label)
        if are_side_by_side(label)
        else lambda names: " + ".join(sorted(set(names) - {""}))
    )
    files = [name for name in table.columns if name.startswith("sha256_")]
    incomplete = {*table["patient_id"][(table[files] == "").any(axis=1)]}
    held_out: set[str] = set()
    for name in sorted(set(stratum)):
        held_out |= draw_validation(
            stratum.index[stratum == name],
            incomplete=incomplete,
            validation_fraction=split.validation_fraction,
            seed=seed,
            site=site,
        )
    return table["patient_id"].map(lambda patient: "validation" if patient in held_out else "train")


def _by_rarest(table: pd.DataFrame, label: str) -> Callable[["pd.Series[str]"], str]:
    """Return what puts patients together by the rarest finding of their scans."""
    patients: dict[str, set[str]] = {}
    for patient, cell in zip(table["patient_id"], table[label], strict=True):
        for name in had(cell):
            patients.setdefault(name, set()).add(patient)
    frequency = {name: len(having) for name, having in patients.items()}
    return lambda cells: rarest(cells, frequency)


def _check_findings(
    site: str, table: pd.DataFrame, assigned: pd.Series, *, label: str, classes: Sequence[str]
) -> None:
    """Refuse a training site where nobody to learn from has a finding, or nobody lacks it.

    Among those to choose with, a rare finding may be absent: they choose by the others.
    """
    known = read_patterns(table[label][assigned == "train"], classes)
    for number, name in enumerate(classes):
        for flag, word in enumerate(("without", "with")):
            if not (known[:, number] == flag).any():
                raise CohortError(
                    f"site '{site}': no patient {word} {name} in the train split "
                    f"({len(known)} scans), but a training site needs both. Correct the table's "
                    f"split, add patients, take {name} out of cohort.labels.{label}, or make it "
                    "an external site."
                )


def _check_classes(
    site: str, table: pd.DataFrame, assigned: pd.Series, *, label: str, classes: Sequence[str]
) -> None:
    """Refuse a training site where a class has no patient to learn from or to choose with."""
    if are_side_by_side(label):
        _check_findings(site, table, assigned, label=label, classes=classes)
        return
    for part in ("train", "validation"):
        labels = table[label][assigned == part]
        for name in classes:
            if not (labels == name).any():
                raise CohortError(
                    f"site '{site}': no patient with {label} = '{name}' in the {part} split "
                    f"({len(labels)} scans), but a training site needs each class in train and "
                    "validation. Raise split.validation_fraction, correct the table's split, add "
                    "patients, or make it an external site."
                )


def _frozen(
    tables: Mapping[str, pd.DataFrame],
    made: Mapping[str, pd.DataFrame],
    *,
    sites: SiteSettings,
    label: str,
    classes: Sequence[str],
) -> dict[str, Any]:
    """Return the digest of the external test set, and patients by site, split and class."""
    content = []
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for site in sites.all:
        table = tables[site]
        if site in sites.external:
            files = [name for name in table.columns if name.startswith("sha256_")]
            content += [
                [site, row["patient_id"], row["scan_id"], row[label], [row[name] for name in files]]
                for row in table.to_dict("records")
            ]
        merged = made[site].merge(table[["scan_id", label]], on="scan_id")
        # "" comes before any name, so a patient's known label wins over scans without one.
        patients = merged.groupby("patient_id")[["split", label]].max()
        counts[site] = {
            part: count_classes(patients[label][patients["split"] == part], label, classes)
            for part in SPLITS
        }
    return {"counts": counts, "test_sha256": digest_of(sorted(content))}
