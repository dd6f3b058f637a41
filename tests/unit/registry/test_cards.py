"""What a registered classifier says of itself."""

from pathlib import Path

from sitesynth.classifiers.ensemble import write_ensemble
from sitesynth.registry.cards import describe_classifier
from tests.unit.tiny_models import tiny_ensemble_of_three


def test_a_classifier_of_three_classes_tells_each_of_them(tmp_path: Path) -> None:
    ensemble = tiny_ensemble_of_three()
    write_ensemble(tmp_path, ensemble)
    for name in ("predictions.csv", "metrics.json"):
        (tmp_path / name).write_text("told")
    value = {"value": 0.75, "low": 0.5, "high": 0.875}
    figures = dict.fromkeys(("auc", "sensitivity", "specificity", "brier", "ece"), value)
    overall = {
        "n": 9,
        "positives": None,
        "counts": dict(sorted(zip(ensemble.config.classes, (4, 3, 2), strict=True))),
        "classes": dict.fromkeys(ensemble.config.classes, figures),
        **figures,
    }
    found = describe_classifier(
        tmp_path,
        tmp_path,
        results={"overall": overall, "sites": {"elm": {"n": 9, "auc": value}}},
        gates=[],
        tags={},
        lineage="",
    )

    assert [column.name for column in found.outputs] == [
        "probability_glioblastoma",
        "probability_astrocytoma",
        "probability_oligodendroglioma",
        "call",
        "warning",
    ]
    assert "external patients (4 glioblastoma, 3 astrocytoma, 2 oligodendroglioma)" in found.card
    assert "oligodendroglioma against the rest: auc 0.750 (0.500 to 0.875)" in found.card
    assert "Called the most probable one." in found.card
