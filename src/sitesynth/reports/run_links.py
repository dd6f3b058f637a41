"""Where MLflow shows the run behind a figure, said without a run's id.

A page is the same in two clones of a study, and the ids of their runs are not. So a link asks
MLflow's search for the stage's current run, at the address where `sitesynth ui` serves it.
"""

from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

from sitesynth.reports.page import Gallery, Page


__all__ = ["ADDRESS", "EXPERIMENT", "links_of", "search_url"]

ADDRESS: Final = "http://127.0.0.1:5000"
"""Where `sitesynth ui` serves if no port is named."""

EXPERIMENT: Final = "1"
"""MLflow's number of the first experiment in a database: `mlruns/` holds one study."""

BY_NAME: Final = "tags.`mlflow.runName`"
"""Sorted by date, MLflow hides what it has found below the study's run."""


def links_of(page: Page) -> dict[str, str]:
    """Return where to look at the runs that made a page's figures, by stage."""
    return {
        stage: search_url(ADDRESS, EXPERIMENT, stage) for stage in sorted(set(_stages_of(page)))
    }


def search_url(address: str, experiment: str, stage: str) -> str:
    """Return the page of a stage's current runs.

    Args:
        address: Of MLflow.
        experiment: Number of the study's experiment.
        stage: As DVC names it: `evaluate@synthetic`, or `evaluate` for all of them.
    """
    tag = "dvc_stage" if "@" in stage else "stage"
    wanted = quote(f'tags.{tag} = "{stage}" and tags.current = "true"', safe="")
    order = f"orderByKey={quote(BY_NAME, safe='')}&orderByAsc=true"
    return f"{address}/#/experiments/{experiment}/runs?searchFilter={wanted}&{order}"


def _stages_of(page: Page) -> Iterator[str]:
    for section in page.sections:
        for block in section.blocks:
            if isinstance(block, Gallery):
                yield from (figure.stage for figure in block.figures)
