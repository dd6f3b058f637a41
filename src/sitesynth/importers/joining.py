"""Imported cohorts of several hospitals, made one: a study needs a site to test on."""

from collections.abc import Sequence

from sitesynth.errors import CohortError
from sitesynth.importers.drafts import Draft, LeftOut, Reason, Scan


__all__ = ["join_drafts"]


def join_drafts(drafts: Sequence[Draft]) -> Draft:
    """Put cohorts together.

    A sequence, label or covariate that one cohort lacks is missing or unknown there. A patient who
    is in two cohorts stays in the first: BraTS handed the same patients out under one id.

    Raises:
        CohortError: If a label has other classes, or another order of them, in two cohorts.
    """
    labels: dict[str, tuple[str, ...]] = {}
    for draft in drafts:
        for name, classes in draft.labels.items():
            if labels.setdefault(name, classes) != classes:
                raise CohortError(
                    f"the label '{name}' has the classes {list(labels[name])} in one cohort and "
                    f"{list(classes)} in another; import them again with the same --label."
                )
    scans: list[Scan] = []
    left_out: list[LeftOut] = []
    owners: dict[str, Draft] = {}
    for draft in drafts:
        left_out += draft.left_out
        for scan in draft.scans:
            owner = owners.setdefault(scan.patient_id, draft)
            if owner is draft:
                scans.append(scan)
            else:
                detail = f"of {owner.layout}; this one is of {draft.layout}, site {scan.site}"
                left_out.append(
                    LeftOut(scan.patient_id, scan.scan_id, Reason.IN_EARLIER_COHORT, detail)
                )
    return Draft(
        " + ".join(draft.layout for draft in drafts),
        tuple(dict.fromkeys(name for draft in drafts for name in draft.sequences)),
        labels,
        tuple(dict.fromkeys(name for draft in drafts for name in draft.covariates)),
        tuple(scans),
        tuple(left_out),
    )
