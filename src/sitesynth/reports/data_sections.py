"""The sections about what went in: scans, their synthetic twins, and trainings."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from sitesynth.patterns import of_class
from sitesynth.reports import pictures
from sitesynth.reports.cohort_tables import (
    check_table,
    confounding_table,
    covariate_table,
    intensity_density,
    missing_table,
    patient_table,
)
from sitesynth.reports.curves import thin_out
from sitesynth.reports.figures import Line, draw_lines
from sitesynth.reports.nearest_sheets import nearest_sheets
from sitesynth.reports.page import Block, Gallery, Items, Section
from sitesynth.reports.panels import Figure, Style, site_styles, strategy_styles
from sitesynth.reports.study import Results, Study


__all__ = ["data_section", "images_section", "training_section"]

SCANS_SHOWN = 3
"""Scans per sheet."""

SCANS_MEASURED = 12
"""Scans per site behind a density of intensities."""

POINTS_OF_NOISY_LOSS = 50
"""Points that the losses of single steps are averaged to."""


def images_section(study: Study, results: Results) -> Section:
    """Show scans of every training site and class, real and synthetic, and the nearest real."""
    label, shown = study.task.label, []
    views = pictures.views_of(study.cohort.sequences, num_axes=len(study.grid.shape))
    num_sheets = len(study.sites.training) * len(study.classes) * 2
    longest = pictures.most_pixels(num_sheets * SCANS_SHOWN * len(views))
    for site in study.sites.training:
        figures = []
        for name in study.classes:
            real = results.images[site].in_split("train")
            of_kind = {"real": real, "synthetic": results.synthetic[site]}
            for kind, images in of_kind.items():
                found = images.select(of_class(images.table[label], label, name))
                sheet = pictures.draw_sheet(
                    pictures.read_scans(found, most=SCANS_SHOWN),
                    views,
                    spacing_mm=study.grid.spacing_mm,
                    longest_px=longest,
                )
                rows = ", ".join(view.title for view in views)
                stage = f"{'preprocess' if kind == 'real' else 'sample'}@{site}"
                alt = (
                    f"{kind.capitalize()} scans of {site}, {name}: "
                    f"{min(SCANS_SHOWN, len(found))} scans side by side; rows are {rows}."
                )
                figures.append(Figure(sheet, alt, f"{kind}, {name}", stage))
        shown.append(Gallery(site, figures, "", "sheets"))
        shown.append(nearest_sheets(study, results, site, most=SCANS_SHOWN))
    whose = (
        "The real scans are phantoms: no patient is shown."
        if study.is_phantom
        else "This page shows scans of patients, without names or numbers: give it only to those "
        "who may see the scans."
    )
    planes = (
        "Axial, sagittal and coronal slices are those with the most tumour; its outline is drawn "
        "once per plane. "
        if study.cohort.has_mask and len(study.grid.shape) > 2  # noqa: PLR2004
        else ""
    )
    lead = (
        f"The first {SCANS_SHOWN} of each kind in the order of their tables, not chosen. Real ones "
        f"are training scans. Black is 0 and white is 1 in all. {planes}{whose}"
    )
    return Section("images", "Real and synthetic scans", lead, shown)


def training_section(study: Study, results: Results) -> Section:
    """Show how every network's losses went."""
    rivals = {site: card for site, card in results.cards.items() if "variant" in card}
    kinds = sorted({card["variant"] for card in rivals.values()})
    stages = (
        ("Autoencoder", results.autoencoders, "train_autoencoder"),
        (f"{' or '.join(kinds) or 'Flow'} over latents", results.flows, "train_diffusion"),
    )
    styles = site_styles(study.sites.training)
    figures = [
        draw_lines(
            [
                Line(site, *_loss(history, name), styles[site])
                for site, history in found.items()
                if name in history
            ],
            title=f"{title}: {name}",
            label="step",
            measured=name,
            is_logarithmic=all(
                (history[name].dropna() > 0).all() for history in found.values() if name in history
            ),
            caption="",
            stage=stage,
        )
        for title, found, stage in stages
        for name in _losses(found)
    ]
    blocks: list[Block] = [Gallery("Generators", figures, "", "regular")]
    figures = [
        _flow_losses(site, card["flow_losses"])
        for site, card in results.cards.items()
        if card["flow_losses"]
    ]
    if figures or not rivals:
        blocks.append(
            Gallery(
                "Flows, by noise level",
                figures,
                "Held-out scans that are much worse than training scans are a sign of "
                "memorization.",
                "regular",
            )
        )
    if rivals:
        blocks.append(
            Items(
                "Loss by noise level",
                [(site, _said_of_rival(card)) for site, card in rivals.items()],
            )
        )
    styles = strategy_styles(list(results.classifiers))
    figures = []
    for strategy, history in results.classifiers.items():
        names = [name for name in ("loss", "validation_loss") if name in history]
        looks = {"loss": Style("0.62", "solid", "", 1.2), "validation_loss": styles[strategy]}
        figures.append(
            draw_lines(
                [
                    Line(name.replace("_", " "), *_loss(history, name), looks[name])
                    for name in names
                ],
                title=strategy,
                label="step",
                measured="cross-entropy",
                is_logarithmic=False,
                caption="",
                stage=f"train_classifier@{strategy}",
            )
        )
    blocks.append(
        Gallery(
            "Classifiers",
            figures,
            "Mean over seeds. The model of the lowest validation loss is kept.",
            "regular",
        )
    )
    return Section("training", "Training", "", blocks)


def data_section(study: Study, results: Results) -> Section:
    """Show who is in the study, what is missing, and how the sites differ."""
    styles = site_styles(study.sites.all)
    sequences = study.cohort.sequences
    figures = []
    for sequence in sequences:
        densities = {
            site: intensity_density(images, sequence=sequence, most=SCANS_MEASURED)
            for site, images in results.images.items()
        }
        figures.append(
            draw_lines(
                [Line(site, *found, styles[site]) for site, found in densities.items()],
                title=sequence,
                label="intensity after preprocessing",
                measured="density",
                is_logarithmic=False,
                caption="",
                stage="preprocess",
            )
        )
    return Section(
        "data",
        "Data",
        "",
        [
            patient_table(
                results.frozen["counts"],
                results.synthetic,
                sites=study.sites,
                label=study.task.label,
                classes=study.classes,
            ),
            missing_table(results.images, sequences=sequences),
            covariate_table(results.images, cohort=study.cohort, task=study.task),
            confounding_table(results.confounding),
            Gallery(
                "How the scanners differ",
                figures,
                f"What is left after each scan was brought to [0, 1]; voxels above 0 of up to "
                f"{SCANS_MEASURED} scans per hospital.",
                "regular",
            ),
            check_table(results.checks, num_doubles=len(results.frozen["near_duplicates"])),
        ],
    )


def _flow_losses(site: str, losses: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw a flow's loss at each noise level, for training and for held-out scans."""
    styles = [Style("0.55", "solid", "", 1.4), site_styles([site])[site]]
    lines = []
    for (split, told), style in zip(losses.items(), styles, strict=False):
        levels = sorted(told, key=float)
        x = np.array([float(level) for level in levels])
        lines.append(Line(split, x, np.array([told[level] for level in levels]), style))
    return draw_lines(
        lines,
        title=site,
        label="noise level, 0 is the scan",
        measured="loss",
        is_logarithmic=False,
        caption="",
        stage=f"train_diffusion@{site}",
    )


def _said_of_rival(card: Mapping[str, Any]) -> str:
    """Say what is known of a generator that is no flow, on both parts of the split."""
    told = [
        f"{name.replace('_', ' ')}, {split}: {value:.3g}"
        for split, values in card["variant_losses"].items()
        for name, value in values.items()
    ]
    return f"not applicable: a {card['variant']}; {'; '.join(told)}"


def _losses(histories: Mapping[str, pd.DataFrame]) -> list[str]:
    """Return the columns of several histories that are losses, but for those of one noise level."""
    columns = dict.fromkeys(name for history in histories.values() for name in history.columns)
    return [name for name in columns if name not in {"step", "member"} and "_at_" not in name]


def _loss(history: pd.DataFrame, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and a loss at them, over members and, where it is noisy, over steps."""
    measured = history[["step", name]].dropna().groupby("step")[name].mean()
    steps, values = measured.index.to_numpy(dtype=float), measured.to_numpy(dtype=float)
    return thin_out(steps, values, most=POINTS_OF_NOISY_LOSS)
