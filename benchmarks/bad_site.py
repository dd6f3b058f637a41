"""Whether the tuner notices a site whose generator knows nothing of the label.

The synthetic pool of the study in this folder, in which one site's labels are permuted: what a
generator draws that was trained on noise labels, its images left as they are. The tuner knows
nothing of it, and judges mixes by the training sites' validation scans as ever.

    PYTHONPATH=src OMP_NUM_THREADS=1 python -m benchmarks.bad_site --site alder --trials 24

Needs `dvc repro sample` before it. Three minutes on an idle core; prints shares, and writes
docs/images/bad-site.png.
"""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch
from matplotlib.figure import Figure

from sitesynth import seeds
from sitesynth.classifiers.training import Examples
from sitesynth.mixing.problem import MixingProblem, open_problem
from sitesynth.mixing.tuning import tune_mix
from sitesynth.settings import Settings, load_settings
from sitesynth.storage import read_json
from sitesynth.strategies.mixes import Mix


__all__ = ["main", "permute_labels", "shares_of"]

FIGURE: Final = Path("docs/images/bad-site.png")

NUM_RANDOM: Final = 8
"""Of the trials: the tuner learns nothing from fewer, and a third of a budget is customary."""


def permute_labels(examples: Examples, *, rng: torch.Generator) -> Examples:
    """Return the same scans with as many of each label, dealt out anew."""
    order = torch.randperm(len(examples), generator=rng)
    return replace(examples, labels=examples.labels[order], weights=examples.weights[order])


def shares_of(mix: Mix) -> dict[str, float]:
    """Return each site's share of a mix's scans, classes counting alike, as they do in training."""
    classes = list(next(iter(mix.values())))
    totals = {name: sum(counts[name] for counts in mix.values()) for name in classes}
    return {
        site: sum(counts[name] / totals[name] for name in classes) / len(classes)
        for site, counts in mix.items()
    }


def open_bad(study: Settings, root: Path, site: str) -> MixingProblem:
    """Open the study's problem with one site's labels permuted."""
    problem = open_problem(
        images=root / "data/images",
        synthetic=root / "data/synthetic",
        sites=study.sites.training,
        label=study.task.label,
        classes=study.classes,
        positive=study.task.positive,
        classifier=study.classifier,
        mixing=study.mixing,
        seed=study.seed,
    )
    noise = permute_labels(problem.pool[site], rng=seeds.generator(study.seed, "bad-site", site))
    return replace(problem, pool={**problem.pool, site: noise})


def draw(found: Mapping[str, Any], site: str) -> Figure:
    """Draw what every trial gave the site and lost by it, and each site's share at the end."""
    figure = Figure(figsize=(8.0, 3.4), layout="constrained")
    of_trials, of_sites = figure.subplots(1, 2)
    equal, tuned = (shares_of(found["mixes"][name]) for name in ("equal", "tuned"))
    for trial in found["trials"]:
        if trial["validation_loss"] is not None:
            face = "C0" if trial["state"] == "complete" else "none"
            x = shares_of(trial["counts"])[site]
            of_trials.plot(x, trial["validation_loss"], "o", color="C0", markerfacecolor=face)
    for share, name, dashes in ((equal[site], "equal", ":"), (tuned[site], "tuned", "-")):
        of_trials.axvline(share, color="0.3", linestyle=dashes, label=f"{name}: {share:.2f}")
    of_trials.set(
        xlabel=f"share of {site}, whose labels are noise",
        ylabel="validation loss",
        title="trials; hollow: pruned",
    )
    of_trials.legend()
    places = range(len(tuned))
    of_sites.bar(places, tuned.values(), color=["C3" if name == site else "C0" for name in tuned])
    of_sites.axhline(1 / len(tuned), color="0.3", linestyle=":", label="equal share")
    of_sites.set_xticks(places, list(tuned))
    of_sites.set(ylabel="share of the tuned mix", title="what each site gives")
    of_sites.legend()
    return figure


def main() -> None:
    """Tune, print, draw."""
    parser = argparse.ArgumentParser(description="Tune the mix with one bad site.")
    parser.add_argument("--site", required=True)
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--root", type=Path, default=Path(), help="folder with the study's data/")
    told = parser.parse_args()
    study = load_settings(Path("params.yaml"))
    mixing = study.mixing.model_copy(update={"num_trials": told.trials, "num_random": NUM_RANDOM})
    study = study.model_copy(update={"mixing": mixing})
    with TemporaryDirectory() as folder:
        found = tune_mix(
            lambda: open_bad(study, told.root, told.site),
            scans={
                site: read_json(told.root / "bundles" / site / "card.json")["training"][
                    "scans_per_class"
                ]
                for site in study.sites.training
            },
            settings=mixing,
            address=f"journal:{folder}/trials.log",
            name="bad-site",
            seed=study.seed,
        )
    for finalist in found["finalists"]:
        shares = ", ".join(f"{s} {share:.2f}" for s, share in shares_of(finalist["counts"]).items())
        print(
            f"{finalist['name']:>12}: {shares}; validation loss {finalist['validation_loss']:.3f}"
        )
    print(f"tuned: {found['best']['name']}; equal share {1 / len(study.sites.training):.2f}")
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    draw(found, told.site).savefig(FIGURE, dpi=110)


if __name__ == "__main__":
    main()
