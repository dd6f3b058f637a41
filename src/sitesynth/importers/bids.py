r"""The Brain Imaging Data Structure, as far as a cohort needs it.

    participants.tsv                                             participant_id, age, sex, ...
    sub-01[/ses-pre]/anat/sub-01[_ses-pre]_T1w.nii.gz            t1
                          sub-01[_ses-pre]_ce-gadolinium_T1w...  t1c
                          sub-01[_ses-pre]_T2w..., _FLAIR...     t2, flair
    derivatives/<any>/sub-01/.../sub-01_..._dseg.nii.gz          mask
                                 sub-01_..._label-tumor_mask...  mask; desc-brain_mask is none

Of a patient's sessions, the first by name goes in, or the one that is asked for; the others are
follow-ups. Two files for one sequence (runs, acquisitions) are an ambiguity that `only` decides.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sitesynth.errors import CohortError
from sitesynth.importers.drafts import Draft
from sitesynth.importers.general import Meaning, import_found
from sitesynth.importers.trees import FoundScan, Identity, Rule, find_scans, list_files
from sitesynth.tracking import Progress


__all__ = ["PARTICIPANTS", "import_bids"]

PARTICIPANTS = "participants.tsv"

_FOLDER = r"^(?:{above})sub-(?P<patient>[A-Za-z0-9]+)/(?:ses-(?P<session>[A-Za-z0-9]+)/)?"
_RAW = _FOLDER.format(above="") + r"anat/sub-(?P=patient)(?P<entities>(?:_[a-z]+-[A-Za-z0-9+]+)*)"
_DERIVED = (
    _FOLDER.format(above=r"derivatives/(?:[^/]+/)*")
    + r"(?:anat/)?sub-(?P=patient)(?P<entities>(?:_[a-z]+-[A-Za-z0-9+]+)*)"
)
_END = r"\.nii(?:\.gz)?$"
_LESION = re.compile(r"_(?:label|desc)-(?:[A-Za-z0-9]*)(?:tumou?r|lesion)", re.IGNORECASE)

SEQUENCES = ("t1", "t1c", "t2", "flair")
SUFFIXES = {"T1w": "t1", "T2w": "t2", "FLAIR": "flair"}


def import_bids(
    source: Path,
    tables: Sequence[Path],
    meaning: Meaning,
    *,
    session: str | None,
    only: Mapping[str, str],
    progress: Progress,
) -> Draft:
    """Import a BIDS data set.

    Args:
        source: The folder that holds participants.tsv.
        tables: Label tables; none takes participants.tsv.
        meaning: What they mean; patient_id is participant_id unless mapped.
        session: The session that goes in, without `ses-`; None takes each patient's first.
        only: By entity (run, acq, space): the value that a file which has it must have.
        progress: Shows how far it is.

    Raises:
        CohortError: If it is no BIDS folder, or nobody has such a session.
    """
    files = list_files(source)
    found = _with_follow_ups(find_scans(files, _rules(), lambda m: _identify(m, only)), session)
    if not any(set(one.files) & set(SEQUENCES) for one in found):
        raise CohortError(
            f"{source} does not look like BIDS: none of its {len(files)} files is like "
            "sub-01/anat/sub-01_T1w.nii.gz (T1w, T2w or FLAIR). Name the folder that holds "
            f"{PARTICIPANTS}, or use `sitesynth import folder`."
        )
    if session is not None and all(one.identity.is_follow_up for one in found):
        raise CohortError(f"{source}: nobody has a session '{session}'; correct --session.")
    columns = {"patient_id": "participant_id", **meaning.columns}
    return import_found(
        "bids",
        source,
        found,
        tables or [source / PARTICIPANTS],
        replace(meaning, columns=columns),
        sequences=tuple(name for name in SEQUENCES if any(name in one.files for one in found)),
        identify_key="sub-",
        progress=progress,
    )


def _rules() -> list[Rule]:
    rules = [
        Rule(column, re.compile(f"{_RAW}_(?P<suffix>{suffix}){_END}"))
        for suffix, column in SUFFIXES.items()
    ]
    # The same file name with and without contrast: `_identify` tells them apart by `ce-`.
    rules.append(Rule("t1c", re.compile(f"{_RAW}_(?P<suffix>T1w)(?P<contrast>){_END}")))
    rules.append(Rule("mask", re.compile(f"{_DERIVED}_(?P<suffix>dseg|mask){_END}")))
    return rules


def _identify(match: re.Match[str], only: Mapping[str, str]) -> Identity | None:
    """Return whose file it is; None if it is not what its rule is for."""
    parts = match.groupdict()
    entities = dict(one.split("-", 1) for one in parts["entities"].split("_") if one)
    if any(entities.get(name, value) != value for name, value in only.items()):
        return None
    is_for_contrast = "contrast" in parts
    if parts["suffix"] in SUFFIXES and ("ce" in entities) != is_for_contrast:
        return None
    if parts["suffix"] == "mask" and not _LESION.search(parts["entities"]):
        return None
    patient, session = parts["patient"], parts["session"]
    scan = patient if session is None else f"{patient}_ses-{session}"
    return Identity(patient, scan)


def _with_follow_ups(found: Sequence[FoundScan], session: str | None) -> list[FoundScan]:
    """Say which scans are follow-ups: all but the session asked for, or the first with images."""
    first: dict[str, str] = {}
    for one in found:
        if set(one.files) & set(SEQUENCES):
            first.setdefault(one.identity.patient_id, one.identity.scan_id)
    marked = []
    for one in found:
        who = one.identity
        wanted = (
            first.get(who.patient_id, who.scan_id)
            if session is None
            else f"{who.patient_id}_ses-{session}"
        )
        marked.append(replace(one, identity=replace(who, is_follow_up=who.scan_id != wanted)))
    return marked
