"""Compare the strategies on the frozen external patients, and count what each exchange sends."""

import sys

from pipelines._stage import In, Measured, Out, main
from sitesynth.evaluation.comparisons import compare_strategies
from sitesynth.evaluation.predictions import ClassPredictions, read_evaluations
from sitesynth.evaluation.stages import compare_stages
from sitesynth.evaluation.subgroups import compare_subgroups, find_subgroups, read_attributes
from sitesynth.evaluation.tables import render_comparison
from sitesynth.exchange import ledger, measure_folder, read_seconds, read_traffic
from sitesynth.settings import (
    CohortSettings,
    EvaluationSettings,
    FederatedSettings,
    SiteSettings,
    TaskSettings,
)
from sitesynth.storage import read_json, write_json
from sitesynth.strategies.sealed import sealed_bytes
from sitesynth.tracking import Run


FLOAT32_BYTES = 4
REFERENCE = "centralized"
"""What a consortium without walls would do; `settings` guarantees that it is among them."""


def run(
    *,
    predictions: In,
    splits: In,
    bundles: In,
    classifiers: In,
    mixes: In,
    comparison: Out,
    exchange: Measured,
    timings: Measured,
    cohort: CohortSettings,
    task: TaskSettings,
    strategies: tuple[str, ...],
    sites: SiteSettings,
    federated: FederatedSettings,
    evaluation: EvaluationSettings,
    seed: int,
    tracked: Run,
) -> None:
    """Read every strategy's predictions; write how they compare, and the exchange ledger."""
    test_sha256 = read_json(splits / "frozen.json")["test_sha256"]
    predicted, thresholds = read_evaluations(predictions, strategies, test_sha256=test_sha256)
    compared = compare_strategies(
        predicted,
        thresholds,
        task=task.label,
        positive=task.positive,
        sites=sites.external,
        reference=REFERENCE,
        margin=evaluation.margin,
        num_resamples=evaluation.num_resamples,
        test_sha256=test_sha256,
        seed=seed,
    )
    groups = find_subgroups(
        read_attributes(
            predictions / REFERENCE / "predictions.csv",
            predicted[REFERENCE],
            covariates=cohort.covariates,
            sequences=cohort.sequences,
        )
    )
    compared["subgroups"] = compare_subgroups(
        predicted, groups, reference=REFERENCE, min_patients=evaluation.min_subgroup
    )
    if task.stages is not None:
        compared["stages"] = compare_stages(
            {n: told for n, told in predicted.items() if isinstance(told, ClassPredictions)},
            task.stages,
            num_resamples=evaluation.num_resamples,
            seed=seed,
        )
    write_json(comparison, compared)
    model_bytes = (classifiers / REFERENCE / "seed_0.safetensors").stat().st_size
    write_json(
        exchange,
        ledger(
            federated_rounds=federated.num_rounds,
            num_sites=len(sites.training),
            model_bytes=model_bytes,
            bundle_bytes={site: measure_folder(bundles / site) for site in sites.training},
            seconds=read_seconds(timings, sites=sites.training),
            num_members=len(list((classifiers / REFERENCE).glob("seed_*.safetensors"))),
            num_validations=read_json(mixes)["validations"],
            message_bytes=model_bytes
            if federated.encryption == "none"
            else sealed_bytes(model_bytes // FLOAT32_BYTES),
            privacy=federated.privacy,
            measured=read_traffic(timings),
        ),
    )
    table = render_comparison(compared)
    tracked.log_text("comparison.txt", table)
    sys.stdout.write(table)


if __name__ == "__main__":
    main(run)
