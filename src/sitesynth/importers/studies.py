"""The study that a fresh cohort belongs to: the knobs of another one, and its own names."""

from pathlib import Path

from sitesynth.errors import CohortError
from sitesynth.importers.drafts import Draft
from sitesynth.settings import Settings, check_settings
from sitesynth.volumes import PICTURE_SUFFIXES


__all__ = ["ABSENT", "choose_task", "draft_study"]

ABSENT = "another"
"""Name of the external site that a cohort of one hospital still lacks."""

TWO, THREE = 2, 3


def draft_study(
    draft: Draft,
    knobs: Settings,
    *,
    name: str,
    source: Path,
    task: tuple[str, str | None],
    external: tuple[str, ...],
) -> Settings:
    """Describe a study of an imported cohort.

    Args:
        draft: The cohort.
        knobs: A study whose every other knob is taken over.
        name: Name of the new study.
        source: The folder that the cohort is written to.
        task: The label to predict, and its positive class; None predicts every class.
        external: Sites that are only tested on; empty takes the smallest site that has every
            class of the task, the smallest if none has.

    Raises:
        CohortError: If a site is not there, or the grid has another number of axes.
        SettingsError: If the study is not valid, e.g. because one class of three is positive.
    """
    is_plane = any(
        path.suffix.lower() in PICTURE_SUFFIXES
        for scan in draft.scans
        for path in scan.files.values()
    )
    wanted = TWO if is_plane else THREE
    if len(knobs.grid.shape) != wanted:
        raise CohortError(
            f"the cohort's images have {wanted} axes, but the grid of study '{knobs.study}', whose "
            f"knobs were to be taken over, has {len(knobs.grid.shape)}; name a study of "
            f"{wanted} axes with --params, e.g. studies/{'cxr' if is_plane else 'phantom'}.yaml."
        )
    training, tested = _roles(draft, task[0], external)
    general = [one for one in knobs.strategies if not one.startswith("local-")]
    if not draft.covariates:
        general = [one for one in general if one != "baseline-covariates"]
    strategies = [*(f"local-{site}" for site in training), *general]
    raw = knobs.model_dump(mode="json")
    raw["study"] = name
    raw["cohort"] = {
        "source": source.as_posix(),
        "table": "cohort.csv",
        "columns": {},
        "codes": {},
        "sequences": list(draft.sequences),
        "has_mask": draft.has_mask,
        "mask_labels": None,
        "has_brain_mask": False,
        "labels": {label: list(classes) for label, classes in draft.labels.items()},
        "label_unit": "patient",
        "covariates": list(draft.covariates),
    }
    raw["sites"] = {"all": [*training, *tested], "training": training, "external": tested}
    raw["task"] = {"label": task[0], "positive": task[1], "stages": None}
    raw["strategies"] = strategies
    raw["phantom"] = None
    if not draft.has_mask:
        raw["grid"]["region"] = "head"
    kept = [one for one in knobs.registry.candidates if one in strategies]
    raw["registry"]["candidates"] = kept or ["synthetic"]
    raw["overrides"] = {site: {} for site in (*training, *tested)}
    return check_settings(raw, named=f"the study of {source}")


def choose_task(draft: Draft, wanted: tuple[str, str | None] | None) -> tuple[str, str | None]:
    """Return the task: the one that is asked for, or the first label of two classes.

    Where no label has two, every class of the first is predicted.

    Raises:
        CohortError: If the cohort has no such label or class.
    """
    labels = draft.labels
    if wanted is None:
        binary = [name for name, classes in labels.items() if len(classes) == TWO]
        name = (binary or list(labels))[0]
        return name, labels[name][-1] if name in binary else None
    label, positive = wanted
    if label not in labels or (positive is not None and positive not in labels[label]):
        asked = label if positive is None else f"{label}={positive}"
        raise CohortError(
            f"--task {asked} is no label and class of the cohort; there are "
            f"{ {name: list(classes) for name, classes in labels.items()} }."
        )
    return wanted


def _roles(draft: Draft, label: str, external: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Divide the sites into training and external ones."""
    sites = list(draft.sites)
    unknown = sorted(set(external) - set(sites))
    if unknown:
        raise CohortError(f"--external {unknown} are no sites of the cohort, which has {sites}.")
    if len(sites) == 1:
        return sites, [ABSENT]
    if not external:
        complete = [
            site
            for site in sites
            if set(draft.labels[label])
            <= {scan.values.get(label) for scan in draft.scans if scan.site == site}
        ]
        # Sites are in descending order of size; at least one must be left to train.
        external = ((complete or sites)[-1],)
    training = [site for site in sites if site not in external]
    if not training:
        raise CohortError(
            f"all of {sites} are external, and no site is left to train; name fewer --external."
        )
    return training, list(external)
