"""Put the study's classifiers and generators into the registry, and write the receipt."""

from pathlib import Path

from pipelines._stage import In, Out, main
from sitesynth.lockfile import read_lock
from sitesynth.mlruns import Mlruns
from sitesynth.registry.patients import digests_of_patients
from sitesynth.registry.standing import Standards
from sitesynth.registry.study import classifiers_of, generators_of, register_all
from sitesynth.settings import (
    BASELINES,
    EvaluationSettings,
    RegistrySettings,
    SiteSettings,
    TaskSettings,
)
from sitesynth.storage import read_json, write_json
from sitesynth.tracking import git_commit


LOCK = Path("dvc.lock")


def run(
    *,
    classifiers: In,
    bundles: In,
    predictions: In,
    comparison: In,
    splits: In,
    receipt: Out,
    study: str,
    seed: int,
    sites: SiteSettings,
    task: TaskSettings,
    strategies: tuple[str, ...],
    evaluation: EvaluationSettings,
    registry: RegistrySettings,
) -> None:
    """Read models, bundles and the comparison; write which version each became, and why."""
    compared = read_json(comparison)
    tags = {"commit": git_commit(), "test_sha256": compared["test_sha256"]}
    # Not an input: what it says of the stages before this one is kept with each version.
    lock = read_lock(LOCK)
    packed = {site: bundles / site for site in sites.training}
    submissions = classifiers_of(
        classifiers,
        # A baseline is there to be exceeded: it is evaluated, and never deployed.
        [strategy for strategy in strategies if strategy not in BASELINES],
        label=task.label,
        comparison=compared,
        evaluation=predictions,
        bundles=packed,
        test_patients=digests_of_patients(splits, sites.external),
        settings=registry,
        tags=tags,
        lock=lock,
    )
    mlruns = Mlruns()
    # A version names the run that trained it, which the recorder may not have copied yet.
    mlruns.copy_journals()
    models = register_all(
        mlruns,
        study,
        submissions + generators_of(packed, tags=tags, lock=lock),
        standards=Standards(
            test_sha256=read_json(splits / "frozen.json")["test_sha256"],
            margin=evaluation.margin,
            num_resamples=evaluation.num_resamples,
            seed=seed,
        ),
    )
    write_json(receipt, {"models": models})


if __name__ == "__main__":
    main(run)
