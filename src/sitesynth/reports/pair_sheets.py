"""The nearest pairs of a site's privacy audit, side by side."""

from collections.abc import Mapping

import numpy as np

from sitesynth.privacy.pairs import NearestPairs
from sitesynth.reports import pictures
from sitesynth.reports.numbers import show_score
from sitesynth.reports.page import Gallery
from sitesynth.reports.panels import Figure
from sitesynth.reports.study import Study


__all__ = ["nearest_pairs"]

KINDS = {"synthetic": "synthetic scans", "held_out": "held-out scans"}

LONGEST_PX = 32


def nearest_pairs(study: Study, site: str, pairs: Mapping[str, NearestPairs]) -> Gallery:
    """Return a sheet of scans and one of their best matches, for each kind of scan."""
    sequences = study.cohort.sequences
    channels = (*sequences, "mask") if study.cohort.has_mask else sequences
    views = pictures.views_of(sequences, num_axes=len(study.grid.shape))
    figures = []
    for kind, named in KINDS.items():
        found = pairs[kind]
        shown = ", ".join(show_score(float(value)) for value in found.similarities)
        for voxels, presence, caption in (
            (found.scans, found.scans_presence, f"{named}; similarity {shown}"),
            (found.matches, found.matches_presence, f"best matches in training of the {named}"),
        ):
            sheet = pictures.draw_sheet(
                [
                    pictures.Scan(channels, np.clip(scan, 0, 1), tuple(present.tolist()))
                    for scan, present in zip(voxels, presence, strict=True)
                ],
                views,
                spacing_mm=_spacing(study, voxels.shape[2:]),
                longest_px=LONGEST_PX,
            )
            alt = (
                f"{site}: {caption}. {len(voxels)} scans side by side, in the order of the sheet "
                "beside it."
            )
            figures.append(Figure(sheet, alt, caption, f"assess_privacy@{site}"))
    return Gallery(
        f"Nearest pairs of {site}",
        figures,
        "The synthetic scans most like a training scan, above that training scan or beside it, and "
        "as a measure of chance the held-out patients most like a training patient. A copy would "
        "be more like its match than two patients are. Matches are mirrored where that is nearer; "
        "at the resolution of the audit.",
        "sheets",
    )


def _spacing(study: Study, shape: tuple[int, ...]) -> tuple[float, ...] | None:
    """Return the voxel size of thumbnails, which are blocks of voxels of the grid."""
    if study.grid.spacing_mm is None:
        return None
    return tuple(
        spacing * (size // kept)
        for spacing, size, kept in zip(study.grid.spacing_mm, study.grid.shape, shape, strict=True)
    )
