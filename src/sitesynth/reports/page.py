"""The page: sections of figures, tables and lists in one HTML file that needs nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal, final
from urllib.parse import quote

from jinja2 import Environment, FunctionLoader, StrictUndefined

from sitesynth.reports.findings import Finding
from sitesynth.reports.panels import Figure
from sitesynth.reports.tables import Table


__all__ = [
    "Block",
    "Gallery",
    "Items",
    "KeyFigure",
    "Listing",
    "Page",
    "Section",
    "data_uri",
    "render_page",
]

TEMPLATE, STYLE = "page.html.j2", "style.css"

UNQUOTED = " !$'()*+,/:;=?@[]^`{|}~-._"
"""What an SVG may hold in a data URI as it is; the page's attributes are quoted by \"."""


@final
@dataclass(frozen=True, slots=True)
class Gallery:
    """Figures beside each other, as many as the page is wide."""

    title: str
    figures: Sequence[Figure]
    note: str
    panels: Literal["regular", "narrow", "sheets", "pairs", "wide"]
    """How wide a figure needs to be: a plot, a square plot, a sheet of scans, one of pairs of
    them, a long list."""

    kind = "gallery"


@final
@dataclass(frozen=True, slots=True)
class Items:
    """Facts, each with its name."""

    title: str
    items: Sequence[tuple[str, str]]

    kind = "items"


@final
@dataclass(frozen=True, slots=True)
class Listing:
    """Commands to type."""

    title: str
    text: str

    kind = "listing"


Block = Table | Gallery | Items | Listing


@final
@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page that a reader can jump to."""

    anchor: str
    title: str
    lead: str
    """What the section shows, in a sentence or two; "" where its title says it."""
    blocks: Sequence[Block]


@final
@dataclass(frozen=True, slots=True)
class KeyFigure:
    """A number that is to be seen first."""

    name: str
    value: str
    note: str


@final
@dataclass(frozen=True, slots=True)
class Page:
    """All that the page says."""

    title: str
    study: str
    question: str
    finding: Finding
    caveats: Sequence[str]
    """What limits the answer, one sentence each."""
    key_figures: Sequence[KeyFigure]
    sections: Sequence[Section]


def render_page(page: Page, *, runs: Mapping[str, Mapping[str, str]]) -> str:
    """Return the page as HTML.

    Args:
        page: What it says.
        runs: By a stage as figures name it: where to look at each run that made it, by the run's
            name; a figure of a stage without any names it only.
    """
    # Text is escaped wherever it stands: a site's table may say what it likes.
    environment = Environment(
        loader=FunctionLoader(_resource),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = data_uri
    template = environment.get_template(TEMPLATE)
    return template.render(page=page, runs=runs, style=_resource(STYLE))


def data_uri(svg: str) -> str:
    """Return an SVG as an address that holds it; shorter than base64, which SVG does not need."""
    return "data:image/svg+xml," + quote(svg, safe=UNQUOTED)


def _resource(name: str) -> str:
    return (files("sitesynth.reports") / name).read_text(encoding="utf-8")
