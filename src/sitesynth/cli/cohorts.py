"""`sitesynth check`: a cohort's table and voxels, before and outside the pipeline."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sitesynth.progress import show_progress
from sitesynth.storage import write_text


if TYPE_CHECKING:
    from sitesynth.settings import Settings


__all__ = ["check"]


@click.command()
@click.argument("table", type=click.Path(path_type=Path))
@click.option(
    "--params",
    type=click.Path(path_type=Path),
    default=Path("params.yaml"),
    show_default=True,
    help="The study that says what the table means.",
)
@click.option("--pages", type=click.Path(path_type=Path), help="Folder for an HTML page per site.")
@click.option("--json", "as_json", is_flag=True, help="Print every rule and failure as JSON.")
def check(table: Path, *, params: Path, pages: Path | None, as_json: bool) -> None:
    """Check a cohort TABLE and the images that it names.

    The same rules as the study's check and split stages, for all sites. Exit code 0 if all hold.

    \b
    Example:
      sitesynth check ~/cohort/cohort.csv --params studies/lgg-idh.yaml --pages /tmp/checks
    """  # noqa: D301
    from sitesynth.settings import load_settings  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as scratch:
        results = _check_sites(table, load_settings(params), Path(scratch))
    if as_json:
        click.echo(json.dumps(results, indent=2, sort_keys=True))
    for site, result in results.items():
        if pages is not None:
            _write_page(pages / f"{site}.html", result, root=table.parent)
        if not as_json:
            failures = sum(len(rule["failures"]) for rule in result["rules"])
            click.echo(
                f"{'ok    ' if result['success'] else 'FAILED'} {site} ({result['role']}): "
                f"{result['num_patients']} patients, {result['num_scans']} scans, "
                f"{len(result['rules'])} rules, {failures} failures"
            )
            for row in result["quarantine"]:
                click.echo(
                    f"  set aside: scan '{row['scan_id']}', {row['column']} {row['path']}: "
                    f"{row['value']}. Rule: {row['rule']}; {row['step']}."
                )
            for row in result["outliers"]:
                click.echo(
                    f"  unlike the others: scan '{row['scan_id']}', {row['column']}: "
                    f"{row['measure']} {row['value']:.4g}, median {row['median']:.4g}."
                )
    _raise_first(results, pages)


def _check_sites(table: Path, settings: "Settings", scratch: Path) -> dict[str, dict[str, Any]]:
    """Check every site as the check stage does, and the walls between them as the split stage."""
    from sitesynth.cohorts.acquired import read_acquired  # noqa: PLC0415
    from sitesynth.cohorts.acquisition import acquire_site  # noqa: PLC0415
    from sitesynth.cohorts.checks import check_site  # noqa: PLC0415
    from sitesynth.cohorts.doubles import (  # noqa: PLC0415
        find_doubles,
        looks_of,
        refuse_doubles,
    )
    from sitesynth.cohorts.splits import (  # noqa: PLC0415
        check_walls,
        voxel_digests,
        without_quarantined,
    )
    from sitesynth.cohorts.voxels import measure_scans  # noqa: PLC0415

    results, tables = {}, {}
    cohort = settings.cohort.model_copy(update={"table": table.name})
    for site in settings.sites.all:
        acquire_site(
            site,
            source=table.parent,
            folder=scratch / site,
            cohort=cohort,
            sites=settings.sites,
            phantom=None,
            seed=settings.seed,
            progress=show_progress,
        )
        found = read_acquired(scratch / site)
        results[site] = check_site(
            found,
            measure_scans(found, cohort=cohort, progress=show_progress),
            cohort=cohort,
            task=settings.task,
            check=settings.check,
        )
        tables[site] = without_quarantined(found.table, results[site])
    check_walls(tables, {site: voxel_digests(result) for site, result in results.items()})
    if settings.check.near_duplicates == "stop":
        refuse_doubles(find_doubles([look for site in results for look in looks_of(results[site])]))
    return results


def _write_page(path: Path, result: Mapping[str, Any], *, root: Path) -> None:
    from sitesynth.cohorts.data_docs import render_page  # noqa: PLC0415
    from sitesynth.cohorts.thumbnails import draw_thumbnails  # noqa: PLC0415

    write_text(path, render_page(result, thumbnails=draw_thumbnails(result, root=root)))


def _raise_first(results: Mapping[str, Mapping[str, Any]], pages: Path | None) -> None:
    """Raise the failures of the first site that has any."""
    from sitesynth.cohorts.checks import raise_failures  # noqa: PLC0415

    for site, result in results.items():
        raise_failures(
            result, page=Path(f"{site}.html") if pages is None else pages / f"{site}.html"
        )
