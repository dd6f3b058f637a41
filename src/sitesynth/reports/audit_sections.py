"""The sections about the generators: how good their scans are, and what they give away."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sitesynth.patterns import are_side_by_side
from sitesynth.privacy.chance import p_of_copies
from sitesynth.reports.audits_in_short import (
    conditions_in_short,
    privacy_in_short,
    quality_in_short,
)
from sitesynth.reports.figures import Interval, Line, draw_forest, draw_lines, draw_points
from sitesynth.reports.maps import draw_matrix
from sitesynth.reports.numbers import show_score
from sitesynth.reports.page import Block, Gallery, Section
from sitesynth.reports.pair_sheets import nearest_pairs
from sitesynth.reports.panels import Figure, Style, site_styles
from sitesynth.reports.privacy_tables import (
    class_table,
    copied_patients_table,
    copy_table,
    gate_table,
    membership_table,
)
from sitesynth.reports.quality_tables import (
    appearance_table,
    artefact_table,
    fidelity_table,
    held_out_table,
    judge_table,
    matrix_table,
    name_extractor,
    network_table,
    reconstruction_table,
    shift_table,
    tumour_table,
)
from sitesynth.reports.study import Results, Study


__all__ = ["conditions_section", "privacy_section", "quality_section"]

CONTROL = Style("0.6", "solid", "s", 1.2)


def quality_section(results: Results) -> Section:
    """Show how near each generator's scans are to real ones, and to whose."""
    quality = results.quality
    networks = quality.get("extractors", {})
    blocks: list[Block] = []
    if networks:
        figures = [_matrix(found, "kid", by=name) for name, found in networks.items()]
        blocks = [
            network_table(networks),
            Gallery(
                "Whose scans does a generator draw, by other networks?", figures, "", "regular"
            ),
            *(matrix_table(found, "kid", by=name) for name, found in networks.items()),
            *(held_out_table(found, by=name) for name, found in networks.items()),
        ]
    return Section(
        "quality",
        "Quality of the generators",
        quality_in_short(quality),
        [
            fidelity_table(quality),
            Gallery(
                "Whose scans does a generator draw?",
                [_matrix(quality, metric) for metric in ("kid", "fid")],
                "",
                "regular",
            ),
            matrix_table(quality, "fid"),
            matrix_table(quality, "kid"),
            held_out_table(quality),
            *blocks,
            appearance_table(quality),
            artefact_table(quality),
            shift_table(quality),
            reconstruction_table(quality),
        ],
    )


def _matrix(quality: Mapping[str, Any], metric: str, *, by: str = "") -> Figure:
    return draw_matrix(
        {
            site: {other: found["value"] for other, found in row.items()}
            for site, row in quality["matrix"][metric].items()
        },
        title=f"{metric.upper()}, real by synthetic{by and f', {by}'}",
        down="real scans of",
        across="generator of",
        caption="The smallest entry of a row, in bold, should be on the diagonal. Shaded within "
        f"each row. Features: {name_extractor(quality, by=by)}.",
        stage="summarize_audits",
    )


def conditions_section(study: Study, results: Results) -> Section:
    """Show whether a generator draws the class that it is asked for."""
    sites = results.quality["sites"]
    styles = site_styles(list(sites))
    figures = []
    for site, found in sites.items():
        if found["judge"] is None:
            continue
        told = {"synthetic": styles[site], "real": CONTROL}
        figures.append(
            draw_points(
                {
                    kind: [
                        (bin_["probability"], bin_["agreement"], bin_["n"])
                        for bin_ in found["judge"][kind]["reliability"]
                    ]
                    for kind in told
                },
                styles=told,
                title=site,
                label="the judge's confidence",
                measured="agreement",
                caption=f"ECE on synthetic scans {show_score(found['judge']['synthetic']['ece'])}, "
                f"on real ones {show_score(found['judge']['real']['ece'])}.",
                stage=f"assess_quality@{site}",
            )
        )
    # Each site has patterns of its own, which no column could be of.
    judged = () if are_side_by_side(study.task.label) else study.classes
    blocks: list[Block] = [
        judge_table(results.quality, classes=judged),
        Gallery(
            "Is the judge as right as it is sure?",
            figures,
            "A dot's area is its number of scans.",
            "narrow",
        ),
    ]
    shown = _statistics_shown(study)
    blocks += [
        tumour_table(site, found["tumours"], shown=shown)
        for site, found in sites.items()
        if found["tumours"] is not None
    ]
    return Section(
        "conditions", "Classes and tumours drawn", conditions_in_short(results.quality), blocks
    )


def privacy_section(study: Study, results: Results) -> Section:
    """Show each generator's verdict, and what it rests on."""
    sites = results.privacy["sites"]
    styles = site_styles(list(sites))
    attacks: list[Figure] = []
    matches: list[Figure] = []
    for site, found in sites.items():
        intervals = []
        for attack, told in found["membership"]["attacks"].items():
            auc, control = told["auc"], told["member_vs_member"]
            intervals.append(Interval(attack, auc["value"], auc["low"], auc["high"], styles[site]))
            middle = (control["low"] + control["high"]) / 2
            intervals.append(
                Interval("  control", middle, control["low"], control["high"], CONTROL)
            )
        attacks.append(
            draw_forest(
                intervals,
                title=site,
                label="AUC of the attack, 95 % interval",
                caption="Refused if an attack's interval lies above 0.5.",
                stage=f"assess_privacy@{site}",
                lines={0.5: "guessing"},
            )
        )
        for view, told in found["copies"].items():
            names = {
                "synthetic_to_train": ("synthetic, to training", styles[site]),
                "synthetic_to_held_out": ("synthetic, to held-out", styles[site]),
                "held_out_to_train": ("held-out, to training", CONTROL),
                "train_to_other_train": ("training, to each other", CONTROL),
            }
            rows = [
                Interval(name, middle, low, high, style)
                for key, (name, style) in names.items()
                for low, middle, high in [told["best_matches"][key]]
            ]
            matches.append(
                draw_forest(
                    rows,
                    title=f"{site}, {view}",
                    label="similarity of the best match",
                    caption="Median, and from the 5th to the 95th percentile of scans.",
                    stage=f"assess_privacy@{site}",
                    lines={told["threshold"]: "copy"},
                )
            )
    return Section(
        "privacy",
        "Privacy of the generators",
        privacy_in_short(results.privacy),
        [
            gate_table(results.privacy),
            Gallery("Membership inference", attacks, "", "regular"),
            membership_table(results.privacy),
            Gallery("Nearest real scans", matches, "", "regular"),
            copy_table(results.privacy),
            Gallery(
                "How many copies chance would give",
                [_null(site, found["copies"]) for site, found in sites.items()],
                "The gate's test as a curve.",
                "regular",
            ),
            copied_patients_table(results.privacy),
            class_table(results.privacy),
            *(nearest_pairs(study, site, pairs) for site, pairs in results.pairs.items()),
        ],
    )


def _null(site: str, copies: Mapping[str, Any]) -> Figure:
    """Draw how probable any number of copies is among innocent scans, in each view."""
    most = 2 + max(
        max(told["num_copies"], round(told["null"]["allowed_rate"] * told["num_synthetic"]))
        for told in copies.values()
    )
    lines = []
    looks = (
        Style("#0072b2", "solid", "o", 1.6),
        Style("#d55e00", "dashed", "s", 1.6),
        Style("#009e73", "dotted", "^", 1.6),
    )
    for (view, told), look in zip(copies.items(), looks[: len(copies)], strict=True):
        counts = np.arange(min(most, told["num_synthetic"]) + 1)
        chances = [
            p_of_copies(int(count), told["num_synthetic"], told["null"]["num_strangers"])
            for count in counts
        ]
        lines.append(Line(view, counts.astype(float), np.array(chances), look))
    observed = ", ".join(f"{told['num_copies']} in {view}" for view, told in copies.items())
    allowed = ", ".join(
        f"{round(told['null']['allowed_rate'] * told['num_synthetic'])} in {view}"
        for view, told in copies.items()
    )
    return draw_lines(
        lines,
        title=site,
        label="copies",
        measured="probability of as many or more",
        is_logarithmic=True,
        caption=f"Observed: {observed}. Allowed at most: {allowed}.",
        stage=f"assess_privacy@{site}",
    )


def _statistics_shown(study: Study) -> list[str]:
    """Return the tumour statistics to print; results/quality.json has all of them."""
    units = ("volume, ml", "volume, voxels", "centre right, mm", "centre right, voxels")
    per_sequence = [f"{name} {what}" for name in study.cohort.sequences for what in _LOOKS]
    return [*units, *per_sequence]


_LOOKS = ("contrast", "rim")
