"""What the audits found, in a sentence or two: the leads of their sections."""

from collections.abc import Iterable, Mapping
from typing import Any

from sitesynth.reports.numbers import show_percent, show_score


__all__ = ["conditions_in_short", "privacy_in_short", "quality_in_short"]

Json = Mapping[str, Any]


def quality_in_short(quality: Json) -> str:
    """Say whose scans generators draw, and whether they can be told from real ones."""
    sites, matrix = quality["sites"], quality["matrix"]
    by_all, by_fid = (_num_nearest(matrix[metric]) for metric in ("kid", "fid"))
    by_held_out = _num_nearest(matrix["held_out"]["kid"])
    apart = sum(
        found["synthetic"]["kid"]["low"] > found["real"]["kid"]["high"] for found in sites.values()
    )
    extractor = quality["extractor"]
    return (
        f"Each hospital's scans should be nearest to its own generator's: they are at "
        f"{by_all} of {len(sites)} hospitals by KID, at {by_fid} by FID, and held-out scans "
        f"alone at {by_held_out} by KID. At {apart} of {len(sites)}, synthetic scans lie farther "
        "from held-out real ones than real scans in their place do, KID's intervals apart: these "
        f"features ({extractor['name']}, sha256 {extractor['digest'][:12]}) tell them from real "
        "scans."
    )


def _num_nearest(rows: Mapping[str, Mapping[str, Any]]) -> int:
    """Count the rows whose least entry is on the diagonal."""
    return sum(
        row[site]["value"] == min(entry["value"] for entry in row.values())
        for site, row in rows.items()
    )


def conditions_in_short(quality: Json) -> str:
    """Say how often the class that was asked for is seen."""
    judges = [found["judge"] for found in quality["sites"].values() if found["judge"] is not None]
    if not judges:
        return "No hospital has training patients enough to judge classes by."
    seen = {
        kind: _range(show_percent(judge[kind]["agreement"]["value"]) for judge in judges)
        for kind in ("synthetic", "real")
    }
    return (
        f"A judge that learned from a hospital's real scans sees the class asked for in "
        f"{seen['synthetic']} % of its synthetic scans, and the true class in {seen['real']} % of "
        "real ones that it did not learn from."
    )


def privacy_in_short(privacy: Json) -> str:
    """Say who passed, and how large a leak would not have been seen."""
    sites = privacy["sites"]
    refused = [site for site, found in sites.items() if found["gate"]["verdict"] != "passed"]
    detectable = [found["gate"]["detectable"] for found in sites.values()]
    auc = _range(show_score(seen["membership_auc"]) for seen in detectable)
    copies = _range(show_percent(seen["copy_rate"]) for seen in detectable)
    bounded = sum(found["epsilon"] is not None for found in sites.values())
    return (
        f"{len(sites) - len(refused)} of {len(sites)} generators passed the gate"
        f"{'; refused: ' + ', '.join(refused) if refused else ''}. A leak smaller than an attack's "
        f"AUC of {auc}, or fewer copies than {copies} %, would mostly have passed unseen. "
        f"{bounded} of {len(sites)} have an epsilon."
    )


def _range(shown: Iterable[str]) -> str:
    """Return the ends of printed numbers, or the one number that all are."""
    ends = sorted(set(shown), key=float)
    return ends[0] if len(ends) == 1 else f"{ends[0]} to {ends[-1]}"
