"""Measure what synthetic scans add, by their number; off unless a study asks for it."""

from pipelines._stage import In, Out, Scratch, main
from sitesynth.settings import (
    ClassifierSettings,
    CohortSettings,
    EvaluationSettings,
    GridSettings,
    IntensitySettings,
    SiteSettings,
    SupplementationSettings,
    TaskSettings,
)
from sitesynth.storage import read_json, write_json
from sitesynth.supplementation.findings import describe_curve, describe_nothing
from sitesynth.tracking import Run


def run(
    *,
    images: In,
    synthetic: In,
    splits: In,
    curve: Out,
    cohort: CohortSettings,
    sites: SiteSettings,
    task: TaskSettings,
    grid: GridSettings,
    intensity: IntensitySettings,
    classifier: ClassifierSettings,
    supplementation: SupplementationSettings,
    evaluation: EvaluationSettings,
    seed: int,
    scratch: Scratch,
    tracked: Run,
) -> None:
    """Read real and synthetic scans; write the external AUC of each amount of them."""
    if not supplementation.percentages:
        write_json(curve, describe_nothing())
        return
    # torch takes seconds to import, and a study that does not ask for the curve none of them.
    from sitesynth.supplementation.amounts import amounts_of, check_pool  # noqa: PLC0415
    from sitesynth.supplementation.curve import read_material, trace_curve  # noqa: PLC0415

    material = read_material(
        images,
        synthetic,
        cohort=cohort,
        sites=sites,
        task=task,
        grid=grid,
        intensity=intensity,
        classifier=classifier,
        supplementation=supplementation,
        seed=seed,
    )
    check_pool(material.num_real, material.num_synthetic, most=max(supplementation.percentages))
    amounts = amounts_of(supplementation.percentages)
    with tracked.progress(len(amounts), "amounts") as show:
        traced = trace_curve(
            material, amounts, kept=scratch, on_amount=lambda number: show(number, {})
        )
    test_sha256 = read_json(splits / "frozen.json")["test_sha256"]
    found = describe_curve(
        traced,
        real=material.num_real,
        num_resamples=evaluation.num_resamples,
        test_sha256=test_sha256,
        seed=seed,
    )
    write_json(curve, found)
    for told in found["amounts"]:
        tracked.log_metrics({f"auc_{told['kind']}": told["auc"]["value"]}, step=told["percentage"])
    tracked.log_dataset(
        "external/test", digest=test_sha256, num_scans=len(material.external), context="testing"
    )


if __name__ == "__main__":
    main(run)
