"""Where MLflow shows the run behind a figure, said without a run's id.

A page is the same in two clones of a study, and the ids of their runs are not. What the runs made
is, to the bit. So a link asks MLflow's search for the run that made what dvc.lock says of the
stage, which is one run or none, at the address where `sitesynth ui` serves it (ADR 67).
"""

from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote

from sitesynth.lockfile import LockedStage, items_of
from sitesynth.reports.page import Gallery, Page


__all__ = ["ADDRESS", "EXPERIMENT", "links_of", "search_url"]

ADDRESS: Final = "http://127.0.0.1:5000"
"""Where `sitesynth ui` serves if no port is named."""

EXPERIMENT: Final = "1"
"""MLflow's number of the first experiment in a database: `mlruns/` holds one study."""

BY_NAME: Final = "tags.`mlflow.runName`"
"""Sorted by date, MLflow hides what it has found below the study's run."""


def links_of(page: Page, lock: Mapping[str, LockedStage]) -> dict[str, dict[str, str]]:
    """Return where to look at the runs that made a page's figures.

    Args:
        page: The page, whose figures name stages: `evaluate@synthetic`, or `preprocess` for all
            its items.
        lock: What dvc.lock says.

    Returns:
        By stage as figures name it: the address of each of its items' runs, by DVC's name.
    """
    return {
        stage: {
            name: search_url(ADDRESS, EXPERIMENT, name, lock[name].made)
            for name in items_of(lock, stage)
        }
        for stage in sorted(set(_stages_of(page)))
    }


def search_url(address: str, experiment: str, stage: str, made: str) -> str:
    """Return the page of the run that made something.

    Args:
        address: Of MLflow.
        experiment: Number of the study's experiment.
        stage: As DVC names it: `evaluate@synthetic`.
        made: What it made; see `LockedStage.made`.
    """
    tags = {"dvc_stage": stage, "made": made, "made_last": "true"}
    wanted = " and ".join(f'tags.{name} = "{value}"' for name, value in tags.items())
    order = f"orderByKey={quote(BY_NAME, safe='')}&orderByAsc=true"
    search = f"searchFilter={quote(wanted, safe='')}&{order}"
    return f"{address}/#/experiments/{experiment}/runs?{search}"


def _stages_of(page: Page) -> Iterator[str]:
    for section in page.sections:
        for block in section.blocks:
            if isinstance(block, Gallery):
                yield from (figure.stage for figure in block.figures)
