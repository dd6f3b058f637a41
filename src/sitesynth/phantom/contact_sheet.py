"""A picture of the phantom for people: rows are patients, columns are sequences.

    python -m sitesynth.phantom.contact_sheet --site alder --out docs/images/phantom.png

The slice is the one in which the mask is largest; the last column shows its outline on flair.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from sitesynth.errors import SettingsError
from sitesynth.phantom.attributes import TUMOUR_TYPES, class_means
from sitesynth.phantom.consortium import Patient, draw_patients, render_patient
from sitesynth.phantom.scanner import SEQUENCES
from sitesynth.settings import PhantomSiteSettings, load_settings
from sitesynth.storage import replacing


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["choose_patients", "draw_sheet"]

BRIGHTEST_PERCENTILE: Final = 99.7
DOTS_PER_INCH: Final = 68
INCHES_PER_IMAGE: Final = 1.1


def choose_patients(
    patients: Sequence[Patient], *, num_per_type: int, separation: float
) -> list[Patient]:
    """Choose the clearest patients of each tumour type, in the order of the types.

    Clearest is farthest along the direction in which the mean of the type's attributes differs from
    the other types' means. They are textbook cases: most patients overlap with other types.
    """
    means = class_means(separation)
    chosen = []
    for tumour_type, mean in zip(TUMOUR_TYPES, means, strict=True):
        direction = mean - means.mean(axis=0)
        of_type = [patient for patient in patients if patient.tumour_type == tumour_type]
        clarity = [float(np.dot(patient.attributes, direction)) for patient in of_type]
        chosen += [of_type[index] for index in np.argsort(clarity)[::-1][:num_per_type]]
    return chosen


def draw_sheet(patients: Sequence[Patient], site: PhantomSiteSettings, *, seed: int) -> "Figure":
    """Draw every sequence of each patient, those that were not acquired too."""
    # Matplotlib takes a second to import, and the pipeline never draws.
    from matplotlib.figure import Figure  # noqa: PLC0415

    columns = len(SEQUENCES) + 1
    figure = Figure(figsize=(INCHES_PER_IMAGE * columns, 1.2 * INCHES_PER_IMAGE * len(patients)))
    panels = figure.subplots(len(patients), columns, squeeze=False)
    upright = site.model_copy(update={"orientation": "RAS"})
    right, front, _ = site.spacing_mm
    for row, patient in zip(panels, patients, strict=True):
        volumes = render_patient(replace(patient, missing=None), upright, seed=seed)
        mask = volumes["mask"].voxels
        level = int(mask.sum(axis=(0, 1)).argmax())
        for panel, name in zip(row, (*SEQUENCES, "flair"), strict=True):
            voxels = volumes[name].voxels
            panel.imshow(
                voxels[:, :, level].T,
                origin="lower",
                cmap="gray",
                vmin=0.0,
                vmax=np.percentile(voxels, BRIGHTEST_PERCENTILE),
                aspect=front / right,
            )
        row[-1].contour(mask[:, :, level].T, levels=[0.5], colors="red", linewidths=0.8)
        row[0].set_ylabel(f"{patient.tumour_type}\n{patient.patient_id}", fontsize=6)
    for panel, title in zip(panels[0], (*SEQUENCES, "mask"), strict=True):
        panel.set_title(title, fontsize=8)
    for panel in panels.ravel():
        _hide_ticks(panel)
    figure.subplots_adjust(left=0.05, right=1.0, bottom=0.0, top=0.97, wspace=0.02, hspace=0.02)
    return figure


def _hide_ticks(panel: "Axes") -> None:
    panel.set_xticks([])
    panel.set_yticks([])


def main() -> None:
    """Draw the clearest patients of one site of the study in params.yaml."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--site", required=True)
    parser.add_argument("--num-per-type", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True, help="a PNG file")
    arguments = parser.parse_args()
    settings = load_settings(arguments.params)
    if settings.phantom is None or arguments.site not in settings.phantom.sites:
        raise SettingsError(
            f"{arguments.params} has no phantom site '{arguments.site}'; it must be a key of "
            "phantom.sites."
        )
    patients = draw_patients(arguments.site, settings.phantom, seed=settings.seed)
    figure = draw_sheet(
        choose_patients(
            patients,
            num_per_type=arguments.num_per_type,
            separation=settings.phantom.separation,
        ),
        settings.phantom.sites[arguments.site],
        seed=settings.seed,
    )
    with replacing(arguments.out) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH, format="png")


if __name__ == "__main__":
    main()
