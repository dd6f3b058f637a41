"""The leads of the audits' sections, from audits with known numbers."""

from typing import Any

from sitesynth.reports.audits_in_short import (
    conditions_in_short,
    privacy_in_short,
    quality_in_short,
)


def v(value: float, reach: float = 1.0) -> dict[str, float]:
    return {"value": value, "low": value - reach, "high": value + reach}


def judged(synthetic: float, real: float) -> dict[str, Any]:
    return {"synthetic": {"agreement": v(synthetic)}, "real": {"agreement": v(real)}}


def test_the_diagonal_is_counted_by_either_distance() -> None:
    """Alder's row is right by both, birch's by FID alone; birch's intervals overlap.

    Held-out scans alone are nearest to the other generator at both.
    """
    quality = {
        "extractor": {"name": "radiomics", "digest": "ab" * 32},
        "sites": {
            "alder": {"synthetic": {"kid": v(9)}, "real": {"kid": v(0)}},
            "birch": {"synthetic": {"kid": v(1)}, "real": {"kid": v(0)}},
        },
        "matrix": {
            "kid": {
                "alder": {"alder": v(9), "birch": v(10)},
                "birch": {"alder": v(0), "birch": v(1)},
            },
            "fid": {
                "alder": {"alder": v(9), "birch": v(10)},
                "birch": {"alder": v(2), "birch": v(1)},
            },
            "held_out": {
                "kid": {
                    "alder": {"alder": v(9), "birch": v(8)},
                    "birch": {"alder": v(0), "birch": v(1)},
                },
            },
        },
    }
    told = quality_in_short(quality)

    assert "at 1 of 2 hospitals by KID, at 2 by FID, and held-out scans alone at 0" in told
    assert "radiomics, sha256 abababababab" in told
    assert "At 1 of 2, synthetic scans lie farther" in told


def test_agreement_is_told_from_least_to_most() -> None:
    """Whoever has no judge is left out."""
    sites = {"a": judged(0.5, 0.8), "b": None, "c": judged(0.25, 0.8)}
    told = conditions_in_short({"sites": {name: {"judge": judge} for name, judge in sites.items()}})

    assert "in 25.0 to 50.0 % of its synthetic scans, and the true class in 80.0 % of real" in told
    assert conditions_in_short({"sites": {"b": {"judge": None}}}).startswith("No hospital")


def test_who_was_refused_is_named_and_what_was_not_seen_is_told() -> None:
    def audit(verdict: str, auc: float, epsilon: float | None) -> dict[str, Any]:
        seen = {"membership_auc": auc, "copy_rate": 0.1}
        return {"gate": {"verdict": verdict, "detectable": seen}, "epsilon": epsilon}

    sites = {"alder": audit("passed", 0.8, 3.0), "birch": audit("refused", 0.75, None)}
    told = privacy_in_short({"sites": sites})

    assert told.startswith("1 of 2 generators passed the gate; refused: birch.")
    assert "AUC of 0.750 to 0.800, or fewer copies than 10.0 %" in told
    assert told.endswith("1 of 2 have an epsilon.")
    assert "refused" not in privacy_in_short({"sites": {"alder": sites["alder"]}})
