"""Split the patients of every site, and freeze the external test set."""

from pipelines._stage import In, Out, main
from sitesynth.cohorts.acquired import read_acquired
from sitesynth.cohorts.doubles import find_doubles, looks_of, refuse_doubles
from sitesynth.cohorts.splits import make_splits, voxel_digests, without_quarantined
from sitesynth.settings import (
    CheckSettings,
    CohortSettings,
    SiteSettings,
    SplitSettings,
    TaskSettings,
)
from sitesynth.storage import read_json, write_json, write_text
from sitesynth.tracking import Run


def run(
    *,
    acquired: In,
    checks: In,
    splits: Out,
    cohort: CohortSettings,
    sites: SiteSettings,
    task: TaskSettings,
    check: CheckSettings,
    split: SplitSettings,
    seed: int,
    tracked: Run,
) -> None:
    """Read every site's table and check; write who is in which split."""
    checked = {site: read_json(checks / f"{site}.json") for site in sites.all}
    made = make_splits(
        {
            site: without_quarantined(read_acquired(acquired / site).table, result)
            for site, result in checked.items()
        },
        {site: voxel_digests(result) for site, result in checked.items()},
        sites=sites,
        label=task.label,
        classes=cohort.labels[task.label],
        split=split,
        seed=seed,
    )
    doubles = find_doubles([look for site in sites.all for look in looks_of(checked[site])])
    if check.near_duplicates == "stop":
        refuse_doubles(doubles)
    for site, table in made.tables.items():
        write_text(splits / f"{site}.csv", table.to_csv(index=False, lineterminator="\n"))
    write_json(splits / "frozen.json", {**made.frozen, "near_duplicates": doubles})
    tracked.log_file(splits / "frozen.json", folder="")


if __name__ == "__main__":
    main(run)
