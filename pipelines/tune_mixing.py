"""Find how many synthetic scans of each site and class the hub should learn from."""

from functools import partial

from pipelines._stage import In, Out, Scratch, main
from sitesynth.mixing.problem import open_problem
from sitesynth.mixing.recording import TrialRecorder
from sitesynth.mixing.tuning import tune_mix
from sitesynth.settings import (
    ClassifierSettings,
    CohortSettings,
    MixingSettings,
    SiteSettings,
    TaskSettings,
)
from sitesynth.storage import read_json, write_json
from sitesynth.tracking import Run


def run(
    *,
    images: In,
    synthetic: In,
    bundles: In,
    mixes: Out,
    cohort: CohortSettings,
    sites: SiteSettings,
    task: TaskSettings,
    classifier: ClassifierSettings,
    mixing: MixingSettings,
    seed: int,
    scratch: Scratch,
    tracked: Run,
) -> None:
    """Read the pool, and what bundles' cards say; write the mixes to learn from."""
    with tracked.progress(mixing.num_trials, "trials") as show:
        recorder = TrialRecorder(tracked, show=show, max_total=mixing.max_total)
        found = tune_mix(
            partial(
                open_problem,
                images=images,
                synthetic=synthetic,
                sites=sites.training,
                label=task.label,
                classes=cohort.labels[task.label],
                positive=task.positive,
                classifier=classifier,
                mixing=mixing,
                seed=seed,
            ),
            scans={
                site: read_json(bundles / site / "card.json")["training"]["scans_per_class"]
                for site in sites.training
            },
            settings=mixing,
            address=mixing.storage or f"journal:{scratch / 'trials.log'}",
            # The scratch folder is named after everything that the stage obeys and reads.
            name=f"mixing-{scratch.name}",
            seed=seed,
            on_progress=recorder.record_new,
            on_end=recorder.record_figures,
        )
    write_json(mixes, found)
    loss = found["best"]["validation_loss"]
    tracked.log_metrics({} if loss is None else {"validation_loss": loss})
    tracked.set_tags({"best": found["best"]["name"]})


if __name__ == "__main__":
    main(run)
