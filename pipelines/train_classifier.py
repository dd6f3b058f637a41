"""Fit one strategy: all its seeds."""

from pipelines._stage import In, Out, Scratch, main
from sitesynth.classifiers.ensemble import write_ensemble
from sitesynth.history import History
from sitesynth.images import read_images
from sitesynth.settings import (
    ClassifierSettings,
    CohortSettings,
    FederatedSettings,
    GridSettings,
    IntensitySettings,
    SiteSettings,
    TaskSettings,
)
from sitesynth.strategies.fitting import fit_strategy
from sitesynth.tracking import Run


def run(
    *,
    strategy: str,
    images: In,
    synthetic: In,
    model: Out,
    cohort: CohortSettings,
    sites: SiteSettings,
    task: TaskSettings,
    grid: GridSettings,
    intensity: IntensitySettings,
    classifier: ClassifierSettings,
    federated: FederatedSettings,
    seed: int,
    scratch: Scratch,
    tracked: Run,
) -> None:
    """Read the training sites' scans and the synthetic cohort; write the strategy's classifier."""
    history = History(scratch / "history.csv")
    with tracked.progress(classifier.num_seeds * classifier.num_steps, strategy) as show:
        ensemble = fit_strategy(
            strategy,
            real={site: read_images(images / site) for site in sites.training},
            synthetic={site: read_images(synthetic / site) for site in sites.training},
            label=task.label,
            classes=cohort.labels[task.label],
            positive=task.positive,
            grid=grid,
            intensity=intensity,
            classifier=classifier,
            federated=federated,
            seed=seed,
            on_step_of=lambda member: history.and_also(
                lambda step, losses: show(
                    member * classifier.num_steps + step,
                    {f"{name}_seed_{member}": value for name, value in losses.items()},
                ),
                member=str(member),
            ),
        )
    write_ensemble(model, ensemble)
    history.write(model / "history.csv")
    tracked.log_metrics({"threshold": ensemble.config.threshold})


if __name__ == "__main__":
    main(run)
