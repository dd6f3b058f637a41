"""Put the study's classifiers and generators into the registry, and write the receipt."""

from pipelines._stage import In, Out, main
from sitesynth.mlruns import Mlruns
from sitesynth.registry.study import classifiers_of, generators_of, register_all
from sitesynth.settings import RegistrySettings, SiteSettings, TaskSettings
from sitesynth.storage import read_json, write_json
from sitesynth.tracking import git_commit


def run(
    *,
    classifiers: In,
    bundles: In,
    comparison: In,
    receipt: Out,
    study: str,
    sites: SiteSettings,
    task: TaskSettings,
    strategies: tuple[str, ...],
    registry: RegistrySettings,
) -> None:
    """Read models, bundles and the comparison; write which version each became, and why."""
    compared = read_json(comparison)
    tags = {"commit": git_commit(), "test_sha256": compared["test_sha256"]}
    packed = {site: bundles / site for site in sites.training}
    submissions = classifiers_of(
        classifiers,
        strategies,
        label=task.label,
        comparison=compared,
        bundles=packed,
        settings=registry,
        tags=tags,
    )
    mlruns = Mlruns()
    # A version names the run that trained it, which the recorder may not have copied yet.
    mlruns.copy_journals()
    models = register_all(mlruns, study, submissions + generators_of(packed, tags=tags))
    write_json(receipt, {"models": models})


if __name__ == "__main__":
    main(run)
