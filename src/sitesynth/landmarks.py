"""Landmarks of intensities: measured at each training site, joined at the hub, the same for all.

What crosses sites is, for each training site and sequence, how many scans it was measured in and
the mean of their deciles: nine numbers, over at least `MIN_SCANS` scans. What comes back is the
mean over the sites, by scans. Nothing is measured in an external site's scans, nor in validation
or test scans: they are bent toward landmarks in which they have no part, by their own deciles.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sitesynth.cohorts.acquired import Acquired
from sitesynth.errors import CohortError
from sitesynth.preprocessing.intensity import DECILES, deciles_of
from sitesynth.preprocessing.opened import open_scan
from sitesynth.preprocessing.scans import channels_of, checked_paths
from sitesynth.settings import CohortSettings, GridSettings, IntensitySettings
from sitesynth.storage import digest_of
from sitesynth.tracking import OnStep


__all__ = ["MIN_SCANS", "join_landmarks", "measure_landmarks"]

MIN_SCANS = 5
"""Scans without which a site tells nothing of a sequence: a mean of fewer shows who they are."""

DECIMALS = 4
"""Of landmarks; float16 keeps no more."""


def measure_landmarks(
    found: Acquired,
    *,
    splits: Mapping[str, str],
    cohort: CohortSettings,
    grid: GridSettings,
    intensity: IntensitySettings,
    on_scan: OnStep,
) -> dict[str, Any]:
    """Measure the mean deciles of each sequence over a site's training scans.

    Args:
        found: A training site.
        splits: Split by scan; only scans of split train are opened.
        cohort: The study's sequences.
        grid: How a scan's sequences are moved onto each other before.
        intensity: How they are brought to [0, 1] before; its own landmarks are left aside.
        on_scan: Told after each scan how many are done.

    Returns:
        JSON content: `site`, `prepared` (a digest of how scans were prepared), and by sequence
        `num_scans` and `deciles`; a sequence of too few scans is left out.

    Raises:
        CohortError: If the site is an external one.
        VolumeError: As for `scans.preprocess_scan`.
    """
    if found.role != "training":
        raise CohortError(
            f"landmarks are measured at training sites only, but '{found.site}' is an external "
            "one: nothing may be fitted to its scans. Name a training site."
        )
    bare = intensity.model_copy(update={"landmarks": None})
    rows = [
        {str(name): str(cell) for name, cell in row.items()}
        for row in found.table.to_dict("records")
        if splits.get(str(row["scan_id"])) == "train"
    ]
    measured: dict[str, list[tuple[float, ...]]] = {name: [] for name in cohort.sequences}
    for number, row in enumerate(rows, start=1):
        scan = open_scan(
            checked_paths(row, found.root), channels=channels_of(cohort), grid=grid, intensity=bare
        )
        for name in scan.sequences:
            even = scan.even_out(name, bare)
            measured[name].append(deciles_of(even.voxels, scan.foreground_on(name)))
        on_scan(number, {})
    return {
        "site": found.site,
        "prepared": _digest_of_preparation(cohort, grid, bare),
        "sequences": {
            name: {
                "num_scans": len(deciles),
                "deciles": np.mean(deciles, axis=0).round(DECIMALS).tolist(),
            }
            for name, deciles in measured.items()
            if len(deciles) >= MIN_SCANS
        },
    }


def join_landmarks(
    measures: Sequence[Mapping[str, Any]],
    *,
    training: Sequence[str],
    cohort: CohortSettings,
    grid: GridSettings,
    intensity: IntensitySettings,
) -> dict[str, tuple[float, ...]]:
    """Return the landmarks of a study: the sites' means, each counted by its scans.

    Args:
        measures: What `measure_landmarks` returned at each training site, in any order.
        training: The training sites.
        cohort: The study's sequences.
        grid: The study's grid.
        intensity: How the study brings scans to [0, 1].

    Raises:
        CohortError: If a site is missing, there twice or no training site, prepared its scans in
            another way, or if no site had enough scans of a sequence.
    """
    for measure in measures:
        _check_measure(measure)
    names = sorted(str(measure["site"]) for measure in measures)
    if names != sorted(training):
        raise CohortError(
            f"landmarks are joined of every training site once, which are {sorted(training)}, but "
            f"got {names}. Run `sitesynth landmarks measure` at each of them, and nowhere else."
        )
    own = _digest_of_preparation(cohort, grid, intensity.model_copy(update={"landmarks": None}))
    other = [str(measure["site"]) for measure in measures if measure["prepared"] != own]
    if other:
        raise CohortError(
            f"scans must be prepared alike everywhere, but {other} measured with other settings of "
            "cohort, grid or intensity. Measure again there, with this study's params.yaml."
        )
    joined = {}
    for name in cohort.sequences:
        told = [one["sequences"][name] for one in measures if name in one["sequences"]]
        if not told:
            raise CohortError(
                f"no site has {MIN_SCANS} training scans of sequence '{name}', so it has no "
                "landmarks. Set intensity.landmarks to null."
            )
        counts = [entry["num_scans"] for entry in told]
        mean = np.average([entry["deciles"] for entry in told], axis=0, weights=counts)
        joined[name] = tuple(float(value) for value in mean.round(DECIMALS))
    return joined


def _check_measure(measure: Any) -> None:
    """Refuse what `measure_landmarks` cannot have returned: it came from another machine."""
    is_ours = (
        isinstance(measure, dict)
        and measure.keys() == {"site", "prepared", "sequences"}
        and isinstance(measure["sequences"], dict)
        and all(_is_entry(entry) for entry in measure["sequences"].values())
    )
    if not is_ours:
        raise CohortError(
            "landmarks are joined of files that `sitesynth landmarks measure` wrote, but one holds "
            f"{measure!r:.80}. Ask its site for the file again."
        )


def _is_entry(entry: Any) -> bool:
    """Tell whether an entry is a count of enough scans and deciles from 0 to 1."""
    return (
        isinstance(entry, dict)
        and entry.keys() == {"num_scans", "deciles"}
        and isinstance(entry["num_scans"], int)
        and entry["num_scans"] >= MIN_SCANS
        and isinstance(entry["deciles"], list)
        and len(entry["deciles"]) == len(DECILES)
        and all(isinstance(value, float | int) and 0 <= value <= 1 for value in entry["deciles"])
    )


def _digest_of_preparation(
    cohort: CohortSettings, grid: GridSettings, intensity: IntensitySettings
) -> str:
    """Return what must be the same at all sites for their landmarks to be comparable."""
    moved = None if grid.registration is None else grid.registration.model_dump(mode="json")
    return digest_of([cohort.sequences, moved, intensity.model_dump(mode="json")])
