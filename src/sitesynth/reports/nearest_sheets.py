"""Synthetic scans of the hub, each beside the real training scan that it is most like."""

from sitesynth.described import Described, thumbnails_of
from sitesynth.images import ImageSet
from sitesynth.patterns import of_class
from sitesynth.privacy.nearest import facing, find_nearest
from sitesynth.reports import pictures
from sitesynth.reports.numbers import show_score
from sitesynth.reports.page import Gallery
from sitesynth.reports.panels import Figure
from sitesynth.reports.study import Results, Study


__all__ = ["nearest_sheets"]


def nearest_sheets(study: Study, results: Results, site: str, *, most: int) -> Gallery:
    """Draw the first synthetic scans of each class beside their nearest training scans.

    The similarity is that of the copy test in the voxel view; the pictures have the grid's own
    voxels, however large the page gets.

    Args:
        study: The study.
        results: What its stages found.
        site: Whose generator drew them, and whose training scans are looked through.
        most: Synthetic scans per class.
    """
    real = results.images[site].in_split("train")
    described = thumbnails_of(real)
    synthetic, label = results.synthetic[site], study.task.label
    rows = ", ".join(view.title for view in _views(study))
    figures = []
    for name in study.classes:
        of_name = synthetic.select(of_class(synthetic.table[label], label, name))
        first = of_name.select(number < most for number in range(len(of_name)))
        if len(first):
            sheet, similarities = _sheet(study, first, real, described)
            alt = (
                f"Synthetic scans of {site}, {name}, in every other column, each left of the real "
                f"training scan that it is most like; {len(first)} pairs, rows are {rows}."
            )
            shown = ", ".join(map(show_score, similarities))
            figures.append(Figure(sheet, alt, f"{name}; similarity {shown}", f"sample@{site}"))
    copies = results.privacy["sites"][site]["copies"]["voxels"]
    return Gallery(
        f"{site}: each synthetic scan and the training scan nearest to it",
        figures,
        "Nearest of all training scans of the hospital, of any class, in the voxel view of the "
        f"copy test, which calls a copy what is more alike than {show_score(copies['threshold'])} "
        "there. A training scan is mirrored where that is nearer.",
        "pairs",
    )


def _sheet(
    study: Study, synthetic: ImageSet, real: ImageSet, described: Described
) -> tuple[str, list[float]]:
    """Draw a sheet whose columns are a synthetic scan, its match, the next one, and so on.

    Returns:
        The sheet as SVG, and the similarity of each pair.
    """
    places, similarities = find_nearest(thumbnails_of(synthetic), described)
    matches = real.load(places.tolist()).numpy()
    columns, titles = [], []
    for number, scan in enumerate(pictures.read_scans(synthetic, most=len(synthetic))):
        match = pictures.Scan(
            real.channels,
            facing(matches[number], scan.voxels),
            tuple(real.presence[int(places[number])].tolist()),
        )
        columns += [scan, match]
        titles += ["synthetic", f"real, {show_score(float(similarities[number]))}"]
    sheet = pictures.draw_sheet(
        columns,
        _views(study),
        spacing_mm=study.grid.spacing_mm,
        longest_px=max(study.grid.shape),
        titles=titles,
    )
    return sheet, similarities.tolist()


def _views(study: Study) -> list[pictures.View]:
    return pictures.views_of(study.cohort.sequences, num_axes=len(study.grid.shape))
