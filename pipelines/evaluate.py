"""Try one strategy's classifier on the frozen external sites."""

from collections.abc import Mapping
from typing import Annotated, Any

from pipelines._stage import In, Knob, Out, main
from sitesynth.classifiers.baseline import read_baseline
from sitesynth.classifiers.ensemble import read_ensemble
from sitesynth.classifiers.prediction import predict_by_baseline, predict_labelled
from sitesynth.classifiers.provenance import read_provenance
from sitesynth.evaluation.class_summaries import summarize_points_of
from sitesynth.evaluation.figures import draw_predictions
from sitesynth.evaluation.predictions import read_predictions
from sitesynth.images import pool, read_images
from sitesynth.settings import BASELINES, LabelUnit
from sitesynth.storage import read_json, write_json, write_text
from sitesynth.tracking import Run


def run(
    *,
    strategy: str,
    model: In,
    images: In,
    splits: In,
    predictions: Out,
    label_unit: Annotated[LabelUnit, Knob("cohort.label_unit")],
    external: Annotated[tuple[str, ...], Knob("sites.external")],
    tracked: Run,
) -> None:
    """Read a classifier and the external sites' scans; write a probability per scan."""
    test = pool([read_images(images / site).in_split("test") for site in external])
    if strategy in BASELINES:
        baseline = read_baseline(model)
        threshold = baseline.threshold
        table = predict_by_baseline(baseline, test, label_unit=label_unit)
    else:
        ensemble = read_ensemble(model)
        threshold = ensemble.config.threshold
        table = predict_labelled(ensemble, test, label_unit=label_unit)
    write_text(predictions / "predictions.csv", table.to_csv(index=False, lineterminator="\n"))
    write_json(
        predictions / "metrics.json",
        {
            "strategy": strategy,
            "threshold": threshold,
            "test_sha256": read_json(splits / "frozen.json")["test_sha256"],
        },
    )
    predicted = read_predictions(predictions / "predictions.csv")
    tracked.log_metrics(summarize_points_of(predicted, threshold=threshold))
    for name, figure in draw_predictions(predicted, title=strategy):
        tracked.log_figure(name, figure)
    tracked.log_params({"strategy": strategy, **_counts(read_provenance(model))})
    tracked.log_dataset(
        "external/test",
        digest=read_json(splits / "frozen.json")["test_sha256"],
        num_scans=len(table),
        context="testing",
    )


def _counts(provenance: Mapping[str, Any] | None) -> dict[str, int]:
    """Return what tells strategies apart in MLflow; nothing of a classifier made elsewhere."""
    if provenance is None:
        return {}
    scans = provenance["scans"]
    return {
        "sites": len({site for counts in scans.values() for site in counts}),
        **{f"{origin}_scans": sum(counts.values()) for origin, counts in scans.items()},
    }


if __name__ == "__main__":
    main(run)
