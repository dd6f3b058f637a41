"""Which synthetic scans somebody wants of a generator: so many of a class, or a table of them.

A table has a row per scan: column `label`, a column for each covariate that shall be as it says,
and a column `has_<channel>` (true or false) for each channel that not all scans shall have. An
empty cell of a covariate is unknown; a covariate without a column is drawn as it occurs at the
site.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

from sitesynth.cohorts.sources import read_source
from sitesynth.errors import MissingInputError, SitesynthError
from sitesynth.generators.draws import check_asked
from sitesynth.generators.generator import GeneratorConfig
from sitesynth.images import MASK
from sitesynth.settings import PRESENCE


__all__ = ["LABEL", "Wanted", "read_wanted"]

LABEL: Final = "label"
WORDS: Final = {"true": True, "false": False}

MAX_SHOWN: Final = 5
"""Bad rows that one message lists."""


@final
@dataclass(frozen=True, slots=True)
class Wanted:
    """One scan that is wanted."""

    label: str
    """Its class."""

    asked: Mapping[str, str] = field(default_factory=dict)
    """By covariate, what it shall have; "" is unknown, and what is not here is drawn."""

    missing: tuple[str, ...] = ()
    """Channels that it shall lack."""

    def checked(self, config: GeneratorConfig) -> "Wanted":
        """Return the same in the words of a generator.

        Raises:
            SitesynthError: If the generator cannot draw it.
        """
        if self.label not in config.classes:
            raise SitesynthError(
                f"the generator of {config.site} draws {config.label} as one of "
                f"{list(config.classes)}, not '{self.label}'."
            )
        if not {*config.channels} - {*self.missing, MASK}:
            raise SitesynthError("a scan must have a sequence, and this one shall lack all.")
        asked = check_asked(config.covariates, self.asked, site=config.site)
        return Wanted(self.label, asked, self.missing)


def read_wanted(table: Path, config: GeneratorConfig) -> list[Wanted]:
    """Read a table of wanted scans, and check every row.

    Args:
        table: A CSV, TSV or Parquet file.
        config: Of the generator that is to draw them.

    Raises:
        MissingInputError: If there is no such file.
        SitesynthError: If it is no table, or asks for what the generator cannot draw; names file,
            row, value, rule and what to do.
    """
    if not table.is_file():
        raise MissingInputError(
            f"the table {table} does not exist or is no file; name a CSV, TSV or Parquet file with "
            "a row for each wanted scan."
        )
    source = read_source(table)
    covariates = config.covariates.names if config.covariates is not None else ()
    flags = tuple(f"{PRESENCE}{channel}" for channel in config.channels)
    known = (LABEL, *covariates, *flags)
    others = [name for name in source.header if name not in known]
    if others or LABEL not in source.header:
        fault = f"has a column '{others[0]}'" if others else f"has no column '{LABEL}'"
        raise SitesynthError(
            f"the table {source.name} {fault}; the generator of {config.site} takes '{LABEL}', "
            f"covariates {list(covariates)} and, to leave channels out, {list(flags)}. Rename or "
            "remove columns."
        )
    wanted, problems = [], []
    for row in source.rows:
        cells = dict(zip(source.header, row.cells, strict=True))
        try:
            wanted.append(_wanted_of(cells, flags).checked(config))
        except SitesynthError as error:
            problems.append(f"row {row.number}: {error}")
    if problems:
        shown = "".join(f"\n  {problem}" for problem in problems[:MAX_SHOWN])
        more = len(problems) - MAX_SHOWN
        rest = f"\n  and {more} more" if more > 0 else ""
        raise SitesynthError(
            f"the table {source.name} asks for what cannot be drawn, so nothing was. Correct or "
            f"remove:{shown}{rest}"
        )
    return wanted


def _wanted_of(cells: Mapping[str, str], flags: tuple[str, ...]) -> Wanted:
    """Return what a row asks for."""
    for flag in flags:
        if cells.get(flag, "true").casefold() not in WORDS:
            raise SitesynthError(f"{flag} must be true or false, not '{cells[flag]}'.")
    missing = tuple(
        flag.removeprefix(PRESENCE)
        for flag in flags
        if not WORDS[cells.get(flag, "true").casefold()]
    )
    asked = {name: cell for name, cell in cells.items() if name not in {LABEL, *flags}}
    return Wanted(cells[LABEL], asked, missing)
