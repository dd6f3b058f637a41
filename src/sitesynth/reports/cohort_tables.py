"""Tables about the data: who is in the study, what is missing, how the sites differ."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from sitesynth.images import ImageSet
from sitesynth.patterns import of_class
from sitesynth.reports.numbers import (
    ABSENT,
    show_count,
    show_interval,
    show_p,
    show_percent,
    show_score,
    show_signed,
)
from sitesynth.reports.tables import Cell, Table, column, head, number, text
from sitesynth.settings import CohortSettings, SiteSettings, TaskSettings


__all__ = [
    "check_table",
    "confounding_table",
    "covariate_table",
    "intensity_density",
    "missing_table",
    "patient_table",
]

SPLITS = ("train", "validation", "test")

UNKNOWN = "unknown"

MOST_VALUES = 3
"""Values of a covariate that a cell lists."""

NUM_BINS = 40

Json = Mapping[str, Any]


def patient_table(
    counts: Mapping[str, Mapping[str, Mapping[str, int]]],
    synthetic: Mapping[str, ImageSet],
    *,
    sites: SiteSettings,
    label: str,
    classes: Sequence[str],
) -> Table:
    """Return patients by site, split and class, and synthetic scans beside them.

    Args:
        counts: `counts` of data/splits/frozen.json: patients by site, split and class.
        synthetic: By training site.
        sites: Who takes part, and as what.
        label: The task's label.
        classes: Its classes, in order.
    """
    has_unknown = any(of_split[UNKNOWN] for c in counts.values() for of_split in c.values())
    columns = [*classes, *([UNKNOWN] if has_unknown else [])]
    header = [
        [
            head("Hospital", rows=2),
            head("Role", rows=2),
            *(column(f"{split.capitalize()}, patients", columns=len(columns)) for split in SPLITS),
            column("Synthetic scans", columns=len(classes)),
        ],
        [column(name) for name in [*columns * len(SPLITS), *classes]],
    ]
    rows = []
    for site in sites.all:
        found = [counts[site][split][name] for split in SPLITS for name in columns]
        if site in synthetic:
            cells = synthetic[site].table[label]
            drawn = [int(of_class(cells, label, name).sum()) for name in classes]
        else:
            drawn = [0] * len(classes)
        role = "training" if site in sites.training else "external"
        counts_of_site = [*found, *drawn]
        shown = [number(show_count(value) if value else ABSENT) for value in counts_of_site]
        rows.append([head(site), text(role), *shown])
    return Table(
        f"Patients by hospital, split and {label}",
        header,
        rows,
        "A patient is in one split. External hospitals are tested on, and nothing else: nothing "
        "was trained, normalized or chosen with their patients.",
    )


def missing_table(images: Mapping[str, ImageSet], *, sequences: Sequence[str]) -> Table:
    """Return how many scans of each site lack each sequence."""
    rows: list[list[Cell]] = []
    for site, found in images.items():
        lacking = [
            len(found) - int(found.presence[:, found.channels.index(name)].sum())
            for name in sequences
        ]
        cells = [
            number(show_count(num) if num else ABSENT, note=_share(num, len(found)))
            for num in lacking
        ]
        rows.append([head(site), number(show_count(len(found))), *cells])
    return Table(
        "Missing sequences",
        [[head("Hospital"), column("Scans"), *(column(f"without {name}") for name in sequences)]],
        rows,
        "A missing sequence is left out, never filled in: the networks are told which are there.",
    )


def check_table(checks: Mapping[str, Json], *, num_doubles: int) -> Table:
    """Return what the data checks of each site found; one that fails stops the study.

    Args:
        checks: By site.
        num_doubles: Pairs of scans that look like one patient under two names.
    """
    rows = []
    for site, found in checks.items():
        failed = sum(bool(rule["failures"]) for rule in found["rules"])
        verdict = "all hold" if not failed else f"{failed} fail"
        aside = len({row["scan_id"] for row in found["quarantine"]})
        verdict += f", {show_count(aside)} scans set aside" if aside else ""
        odd = len({row["scan_id"] for row in found["outliers"]})
        verdict += f", {show_count(odd)} scans unlike the others" if odd else ""
        rows.append(
            [
                head(site),
                number(show_count(found["num_patients"])),
                number(show_count(found["num_scans"])),
                number(show_count(len(found["rules"]))),
                text(verdict),
            ]
        )
    return Table(
        "Checks before anything was trained",
        [[head("Hospital"), column("Patients"), column("Scans"), column("Rules"), head("Result")]],
        rows,
        "Every rule, and every scan it was tried on, is in results/checks/<hospital>.html. Pairs "
        "of scans, at all hospitals, that look like one patient under two names: "
        f"{show_count(num_doubles)}.",
    )


def confounding_table(found: Json) -> Table:
    """Return what a classifier could learn instead of the label."""
    label = found["label"]
    named = [(f"{label} by hospital, {scope}", v) for scope, v in found["label_by_site"].items()]
    for name, told in found["covariates_by_site"].items():
        if told is None or "cramers_v" in told:
            named.append((f"{name} by hospital", told))
        else:
            named += [(f"{name}, {site} against the others", each) for site, each in told.items()]
    for name, told in found["label_by_covariate"].items():
        if told is None or "cramers_v" in told or "smd" in told:
            named.append((f"{name} by {label}, training hospitals", told))
        else:
            named += [
                (f"{name}, {one} against the others, training hospitals", each)
                for one, each in told.items()
            ]
    rows = [[head(name), *_confounding_cells(told)] for name, told in named]
    apart = found["site_from_measures"]
    if apart is not None:
        chance = apart["by_chance"]
        rows.append(
            [
                head("hospital by image quality"),
                text("balanced accuracy"),
                number(show_score(apart["balanced_accuracy"])),
                number(f"{show_score(chance['mean'])}, to {show_score(chance['high'])}"),
                number(show_p(apart["p"])),
                number(show_count(apart["n"])),
            ]
        )
    return Table(
        "What could be learned instead of the label",
        [
            [
                head("What, by what"),
                head("Measure"),
                column("Value", note="95 % interval"),
                column("By chance"),
                column("p", note="by permutation"),
                column("n"),
            ]
        ],
        rows,
        "V: Cramer's, 0 for none and 1 for complete. SMD: difference of means in standard "
        "deviations; a tenth is small. Hospital by image quality: cross-validated, from signal "
        "and contrast to noise, entropy focus and foreground of each sequence. Nothing is adjusted "
        "for the number of rows.",
    )


def _confounding_cells(told: Json | None) -> list[Cell]:
    if told is None:
        return [text("constant"), *(number(ABSENT) for _ in range(4))]
    if "cramers_v" in told:
        value = told["cramers_v"]
        others = [number(show_score(told["by_chance"])), number(show_p(told["p"]))]
        sizes = show_count(told["n"])
    else:
        value, others = told["smd"], [number(ABSENT), number(ABSENT)]
        sizes = " : ".join(show_count(size) for size in told["n"])
    is_smd = "smd" in told
    shown = show_signed(value["value"]) if is_smd else show_score(value["value"])
    return [
        text("SMD" if is_smd else "V"),
        number(shown, note=show_interval(value, is_signed=is_smd)),
        *others,
        number(sizes),
    ]


def covariate_table(
    images: Mapping[str, ImageSet], *, cohort: CohortSettings, task: TaskSettings
) -> Table:
    """Return how the sites' patients and scanners differ."""
    shown = cohort.labels[task.label] if task.positive is None else (task.positive,)
    rows = []
    for site, found in images.items():
        table = found.table
        known = table[task.label][table[task.label] != ""]
        shares = [
            float(of_class(known, task.label, name).mean()) if len(known) else None
            for name in shown
        ]
        rows.append(
            [
                head(site),
                *(number(f"{show_percent(share)} %") for share in shares),
                *(text(_describe(table[name])) for name in cohort.covariates),
            ]
        )
    return Table(
        "How the hospitals differ",
        [
            [
                head("Hospital"),
                *(column(name) for name in shown),
                *(head(name) for name in cohort.covariates),
            ]
        ],
        rows,
        "Numbers are mean ± standard deviation over scans; words are the most frequent first.",
    )


def intensity_density(
    images: ImageSet, *, sequence: str, most: int
) -> tuple[Float[np.ndarray, " b"], Float[np.ndarray, " b"]]:
    """Return the density of a sequence's intensities above 0, over at most so many scans.

    Returns:
        Centres of the bins, and the density in each; no bin if no scan has the sequence.
    """
    number_of = images.channels.index(sequence)
    having = [index for index, has in enumerate(images.presence[:, number_of].tolist()) if has][
        :most
    ]
    edges = np.linspace(0.0, 1.0, NUM_BINS + 1)
    if not having:
        return np.zeros(0), np.zeros(0)
    counts = np.zeros(NUM_BINS)
    for index in having:
        voxels = images.load([index])[0, number_of].numpy()
        counts += np.histogram(voxels[voxels > 0], bins=edges)[0]
    density = counts / max(1.0, counts.sum()) * NUM_BINS
    return (edges[:-1] + edges[1:]) / 2, density


def _share(num: int, of: int) -> str:
    return f"{show_percent(num / of)} %" if num else ""


def _describe(column: "pd.Series[str]") -> str:
    """Describe a covariate of a site; a column of numbers is one where every known cell is one."""
    known = column[column != ""]
    if known.empty:
        return ABSENT
    values = pd.to_numeric(known, errors="coerce")
    if values.notna().all():
        if values.min() == values.max():
            return f"{values.iloc[0]:g}"
        return f"{values.mean():.1f} ± {values.std():.1f}"
    shares = known.value_counts(normalize=True).head(MOST_VALUES)
    if len(shares) == 1:
        return str(shares.index[0])
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
