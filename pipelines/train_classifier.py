"""Fit one strategy: all its seeds."""

from collections.abc import Mapping

from pipelines._stage import In, Measured, Out, Scratch, main
from sitesynth.classifiers.baseline import write_baseline
from sitesynth.classifiers.ensemble import write_ensemble
from sitesynth.classifiers.provenance import PROVENANCE, describe_fit
from sitesynth.history import History
from sitesynth.images import read_images
from sitesynth.settings import (
    BASELINES,
    ClassifierSettings,
    CohortSettings,
    FederatedSettings,
    GridSettings,
    IntensitySettings,
    SiteSettings,
    TaskSettings,
)
from sitesynth.storage import read_json, write_json
from sitesynth.strategies.baselines import fit_baseline
from sitesynth.strategies.catalogue import is_staged, members
from sitesynth.strategies.fitting import count_learned, fit_strategy, visible_scans
from sitesynth.tracking import OnStep, Run


def run(
    *,
    strategy: str,
    images: In,
    synthetic: In,
    mixes: In,
    model: Out,
    traffic: Measured,
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
    """Read scans, the synthetic pool and how much of it to take; write the strategy's classifier.

    On a federated engine, each site's scans are read by that site's own process and not here; of
    a site's image set, only the table is.
    """
    write_json(
        model / PROVENANCE,
        describe_fit(
            scans=count_learned(
                strategy,
                images,
                read_json(mixes)["mixes"],
                sites=sites.training,
                label=task.label,
            ),
            offered={
                site: read_images(images / site) for site in members(strategy, sites.training)
            },
            learned=visible_scans(strategy, images, synthetic, sites=sites.training),
        ),
    )
    if strategy in BASELINES:
        baseline = fit_baseline(
            strategy,
            real={site: read_images(images / site) for site in sites.training},
            label=task.label,
            classes=cohort.labels[task.label],
            positive=task.positive,
            covariates=cohort.covariates,
        )
        write_baseline(model, baseline)
        write_json(traffic, None)
        _log_threshold(tracked, baseline.threshold)
        return
    history = History(scratch / "history.csv")
    sent = None
    num_steps = classifier.num_steps
    if strategy.startswith("finetuned-"):
        num_steps += federated.finetune_steps
    if is_staged(strategy) and task.stages is not None:
        num_steps *= len(task.stages)
    taken = [0] * classifier.num_seeds
    with tracked.progress(classifier.num_seeds * num_steps, strategy) as show:

        def on_step_of(member: int) -> OnStep:
            def tell(step: int, losses: Mapping[str, float]) -> None:
                taken[member] = step
                show(sum(taken), {})
                named = {f"{name}_seed_{member}": value for name, value in losses.items()}
                tracked.log_metrics(named, step=step)

            return history.and_also(tell, member=str(member))

        if strategy == "federated" and federated.engine == "nvflare":
            # NVFlare takes half a second to import, and no other strategy needs it.
            from sitesynth.strategies.federation import fit_federation  # noqa: PLC0415

            ensemble, sent = fit_federation(
                images,
                cohort=cohort,
                sites=sites,
                task=task,
                grid=grid,
                intensity=intensity,
                classifier=classifier,
                federated=federated,
                seed=seed,
                standings=scratch / "standings",
                on_step_of=on_step_of,
            )
        else:
            ensemble = fit_strategy(
                strategy,
                real={site: read_images(images / site) for site in sites.training},
                synthetic={site: read_images(synthetic / site) for site in sites.training},
                mixes=read_json(mixes)["mixes"],
                label=task.label,
                classes=cohort.labels[task.label],
                positive=task.positive,
                stages=task.stages,
                grid=grid,
                mask_labels=cohort.mask_labels,
                intensity=intensity,
                classifier=classifier,
                federated=federated,
                seed=seed,
                on_step_of=on_step_of,
            )
    write_ensemble(model, ensemble)
    history.write(model / "history.csv")
    write_json(traffic, sent)
    if sent is not None:
        tracked.log_metrics({"bytes_sent": sent["bytes"], "messages_sent": sent["messages"]})
    _log_threshold(tracked, ensemble.config.threshold)


def _log_threshold(tracked: Run, threshold: float | None) -> None:
    tracked.log_metrics({} if threshold is None else {"threshold": threshold})


if __name__ == "__main__":
    main(run)
