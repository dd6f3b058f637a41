"""Whether the tuner notices a site whose generator knows nothing of the label.

The synthetic pool of the study in this folder, in which one site's labels are permuted: what a
generator draws that was trained on noise labels, its images left as they are. The tuner knows
nothing of it, and judges mixes by the training sites' validation scans as ever. Each training site
in turn is the bad one, and once none is; each of these several times, from the root seed of the
study onwards, which changes the labels' order, every training's randomness and the sampler's.

    PYTHONPATH=src OMP_NUM_THREADS=1 python -m benchmarks.bad_site --seeds 2 --out bad-site.jsonl

Needs `dvc repro sample package` before it. A search takes a minute and a half of an idle core;
those that the file holds are not done again. Prints a table, and writes docs/images/bad-site.png.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
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

Json = Mapping[str, Any]


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


def open_bad(study: Settings, root: Path, bad: str | None) -> MixingProblem:
    """Open the study's problem, one site's labels permuted."""
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
    if bad is None:
        return problem
    noise = permute_labels(problem.pool[bad], rng=seeds.generator(study.seed, "bad-site", bad))
    return replace(problem, pool={**problem.pool, bad: noise})


def tune(study: Settings, root: Path, bad: str | None) -> Json:
    """Search for the mix as the study would."""
    with TemporaryDirectory() as folder:
        return tune_mix(
            lambda: open_bad(study, root, bad),
            scans={
                site: read_json(root / "bundles" / site / "card.json")["training"][
                    "scans_per_class"
                ]
                for site in study.sites.training
            },
            settings=study.mixing,
            address=f"journal:{folder}/trials.log",
            name="bad-site",
            seed=study.seed,
        )


def draw(searches: Sequence[Json], sites: Sequence[str]) -> Figure:
    """Draw the first search's trials, and every search's share of each site."""
    figure = Figure(figsize=(8.0, 3.4), layout="constrained")
    of_trials, of_sites = figure.subplots(1, 2)
    first = searches[0]
    for trial in first["found"]["trials"]:
        if trial["validation_loss"] is not None:
            face = "C0" if trial["state"] == "complete" else "none"
            x, y = shares_of(trial["counts"])[first["bad"]], trial["validation_loss"]
            of_trials.plot(x, y, "o", color="C0", markerfacecolor=face)
            name = trial["name"] or "proposed"
            of_trials.annotate(name, (x, y), (5, 4), textcoords="offset points", fontsize=7)
    of_trials.margins(0.25, 0.1)
    of_trials.set(
        xlabel=f"share of {first['bad']}, whose labels are noise",
        ylabel="validation loss",
        title="one search: trials; hollow: pruned",
    )
    for place, site in enumerate(sites):
        for shift, colour, bad, label in (
            (-0.15, "C0", None, "honest labels everywhere"),
            (0.15, "C3", site, "this site's labels are noise"),
        ):
            shares = [
                shares_of(search["found"]["mixes"]["tuned"])[site]
                for search in searches
                if search["bad"] == bad
            ]
            of_sites.plot(
                [place + shift] * len(shares), shares, "o", color=colour, alpha=0.6,
                label=None if place else label,
            )  # fmt: skip
    of_sites.axhline(1 / len(sites), color="0.3", linestyle=":", label="equal share")
    of_sites.set_xticks(range(len(sites)), list(sites))
    of_sites.set_xlim(-0.5, len(sites) - 0.5)
    of_sites.set(ylabel="share of the tuned mix", title="every search", ylim=(-0.03, 1))
    of_sites.legend()
    return figure


def show(search: Json) -> str:
    """Return a search's row of the table."""
    found = search["found"]
    losses = {entry["name"]: entry["validation_loss"] for entry in found["finalists"]}
    best = found["best"]
    shares = " | ".join(f"{share:.2f}" for share in shares_of(best["counts"]).values())
    return (
        f"| {search['bad'] or 'none'} | {search['seed']} | {best['name']} | {shares} "
        f"| {losses['equal']:.3f} | {best['validation_loss']:.3f} |"
    )


def main() -> None:
    """Tune, print, draw."""
    parser = argparse.ArgumentParser(description="Tune the mix with one bad site.")
    parser.add_argument("--seeds", type=int, required=True, help="searches of each kind")
    parser.add_argument("--out", type=Path, required=True, help="file of searches, a line each")
    parser.add_argument("--root", type=Path, default=Path(), help="folder with the study's data/")
    told = parser.parse_args()
    study = load_settings(Path("params.yaml"))
    sites = study.sites.training
    lines = told.out.read_text().splitlines() if told.out.exists() else []
    done = {(search["bad"], search["seed"]): search for search in map(json.loads, lines)}
    print("| bad site | seed | tuned mix |", " | ".join(sites), "| loss, equal | loss, tuned |")
    for number in range(told.seeds):
        seeded = study.model_copy(update={"seed": study.seed + number})
        for bad in (*sites, None):
            key = (bad, seeded.seed)
            if key not in done:
                found = tune(seeded, told.root, bad)
                done[key] = {"bad": bad, "seed": seeded.seed, "found": found}
                with told.out.open("a") as file:
                    file.write(json.dumps(done[key]) + "\n")
            print(show(done[key]), flush=True)
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    draw(list(done.values()), sites).savefig(FIGURE, dpi=110)


if __name__ == "__main__":
    main()
