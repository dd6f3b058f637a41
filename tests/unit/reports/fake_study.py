"""A finished study that never ran: small, consistent, and the same every time.

Predictions, scans and losses are drawn from a named generator; what follows from them (the
comparison, the ledger) is computed by the code that computes it in the pipeline. Run this file to
look at the page: `python -m tests.unit.reports.fake_study FOLDER`.
"""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from sitesynth import seeds
from sitesynth.cohorts.confounding import describe_confounding
from sitesynth.described import describe_real
from sitesynth.evaluation.comparisons import compare_strategies
from sitesynth.evaluation.predictions import read_evaluations
from sitesynth.evaluation.subgroups import compare_subgroups, find_subgroups, read_attributes
from sitesynth.exchange import ledger
from sitesynth.features import extractor_for
from sitesynth.images import read_images, write_index, write_voxels
from sitesynth.privacy.audit import audit_privacy
from sitesynth.privacy.nearest import find_nearest_pairs
from sitesynth.privacy.pairs import write_pairs
from sitesynth.quality.appearance import AppearanceScores
from sitesynth.quality.assessment import assess_quality, features_of
from sitesynth.quality.conditions import assess_conditions
from sitesynth.quality.matrix import measure_matrix, summarize_quality
from sitesynth.quality.reconstruction import assess_reconstruction, describe_reconstructions
from sitesynth.registry.gates import gates_of_classifier
from sitesynth.reports.study import Results, Study, read_results
from sitesynth.settings import (
    BASELINES,
    CohortSettings,
    GridSettings,
    PrivacySettings,
    QualitySettings,
    RegistrySettings,
    SiteSettings,
    TaskSettings,
)
from sitesynth.storage import write_json, write_text


SEED = 7

TRAINING = ("alder", "birch", "cedar")
EXTERNAL = ("dogwood", "elm")
CLASSES = ("wildtype", "mutant")
SEQUENCES = ("t1", "t1c", "flair")

STRATEGIES = {
    "local-alder": 1.0,
    "local-birch": 0.8,
    "local-cedar": 0.7,
    "centralized": 1.7,
    "federated": 1.6,
    "synthetic": 1.5,
    "augmented": 1.75,
    "baseline-covariates": 0.9,
    "baseline-site": None,
}
"""By strategy: how far apart the classes' logits lie; None says the same of everyone."""

TRAINED = tuple(name for name in STRATEGIES if name not in BASELINES)

NUM_SEEDS = 3
THRESHOLD = 0.45
TEST_SHA256 = "0123456789abcdef" * 4


def fake_study(*, grid: tuple[int, ...], is_phantom: bool) -> Study:
    """Return what params.yaml and git would say."""
    return Study(
        name="fake",
        seed=SEED,
        cohort=CohortSettings(
            source="nowhere",
            table=None,
            columns={},
            codes={},
            sequences=SEQUENCES,
            has_mask=True,
            mask_labels=None,
            has_brain_mask=False,
            labels={"idh": CLASSES},
            label_unit="patient",
            covariates=("age", "sex", "scanner"),
        ),
        sites=SiteSettings(all=TRAINING + EXTERNAL, training=TRAINING, external=EXTERNAL),
        task=TaskSettings(label="idh", positive="mutant", stages=None),
        grid=GridSettings(
            region="tumour",
            shape=grid,
            spacing_mm=(3.5, 3.5, 6.0) if len(grid) == 3 else None,
            registration=None,
        ),
        is_phantom=is_phantom,
        num_resamples=200,
        commit="c0ffee" * 6 + "c0ff",
    )


def write_fake_results(folder: Path, study: Study, *, num_patients: int) -> Results:
    """Write every file that the report reads, and read them as the report does."""
    for site in study.sites.all:
        _write_scans(folder / "images" / site, study, site, num_scans=8, kind="real")
        write_json(folder / "checks" / f"{site}.json", _check(site))
    write_json(folder / "confounding.json", confounding(positive="mutant"))
    for site in TRAINING:
        _write_scans(folder / "synthetic" / site, study, site, num_scans=8, kind="synthetic")
        write_json(folder / "bundles" / site / "card.json", _card(site))
        for model, names in (("autoencoder", ("error", "kl", "loss")), ("flow", ("loss",))):
            _write_history(folder / model / site / "history.csv", names, members=0)
    for strategy in TRAINED:
        path = folder / "classifier" / strategy / "history.csv"
        _write_history(path, ("loss", "validation_loss"), members=NUM_SEEDS)
    counts = {site: _counts(study, site, num_patients) for site in study.sites.all}
    write_json(
        folder / "splits" / "frozen.json",
        {"counts": counts, "test_sha256": TEST_SHA256, "near_duplicates": []},
    )
    _write_predictions(folder / "evaluation", num_patients=num_patients)
    _write_comparison(folder, study)
    _write_audits(folder, study)
    write_json(folder / "mixing.json", fake_mixing())
    write_json(folder / "supplementation.json", fake_curve())
    return read_results(
        study,
        comparison=folder / "comparison.json",
        quality=folder / "quality.json",
        privacy=folder / "privacy.json",
        registry=folder / "registry.json",
        mixing=folder / "mixing.json",
        supplementation=folder / "supplementation.json",
        evaluation=folder / "evaluation",
        checks=folder / "checks",
        confounding=folder / "confounding.json",
        splits=folder / "splits",
        images=folder / "images",
        synthetic=folder / "synthetic",
        pairs=folder / "pairs",
        autoencoders=folder / "autoencoder",
        flows=folder / "flow",
        classifiers=folder / "classifier",
        bundles=folder / "bundles",
    )


def fake_mixing() -> dict[str, Any]:
    """Return a search of eight trials, in which the fourth was best and cedar got least."""
    equal = {site: dict.fromkeys(CLASSES, 60) for site in TRAINING}
    tuned = {
        "alder": {"wildtype": 51, "mutant": 47},
        "birch": {"wildtype": 39, "mutant": 58},
        "cedar": {"wildtype": 3, "mutant": 7},
    }
    losses = [0.55, 0.56, 0.61, 0.48, 0.53, 0.57, 0.66, 0.5]
    trials = [
        {
            "number": number,
            "name": {0: "equal", 1: "proportional"}.get(number),
            "state": "pruned" if number == 6 else "complete",
            "skipped": None,
            "counts": equal if number < 2 else tuned,
            "validation_loss": loss,
            "looks": [[20, loss + 0.05], [40, loss]],
            "sites": dict.fromkeys(TRAINING, loss),
        }
        for number, loss in enumerate(losses)
    ]
    finalists = [
        {
            "name": name,
            "counts": counts,
            "validation_loss": loss,
            "by_seed": [loss - 0.02, loss + 0.02],
            "sites": dict.fromkeys(TRAINING, loss),
        }
        for name, counts, loss in (
            ("equal", equal, 0.561),
            ("proportional", equal, 0.573),
            ("trial-3", tuned, 0.517),
        )
    ]
    return {
        "objective": {"name": "log loss", "scans": dict.fromkeys(TRAINING, 11)},
        "pool": equal,
        "max_total": 360,
        "mixes": {"equal": equal, "proportional": equal, "tuned": tuned},
        "best": finalists[-1],
        "finalists": finalists,
        "trials": trials,
        "validations": 35,
    }


def fake_curve() -> dict[str, Any]:
    """Return a curve of three points, two trainings each; a larger amount brings more."""
    real = {site: dict.fromkeys(CLASSES, 20) for site in TRAINING}
    points = [("added", 0, 0.8), ("added", 200, 0.85), ("alone", 200, 0.75)]
    return {
        "n": 60,
        "real_scans": real,
        "amounts": [
            {
                "kind": kind,
                "percentage": percentage,
                "synthetic_scans": {
                    site: {name: count * percentage // 100 for name, count in counts.items()}
                    for site, counts in real.items()
                },
                "auc": {"value": auc, "low": auc - 0.06, "high": auc + 0.04},
                "difference": {"value": auc - 0.8, "low": auc - 0.83, "high": auc - 0.77}
                if percentage
                else None,
                "sd": 0.014,
                "replicates": [
                    {"replicate": 0, "auc": auc - 0.01},
                    {"replicate": 1, "auc": auc + 0.01},
                ],
            }
            for kind, percentage, auc in points
        ],
    }


def _write_comparison(folder: Path, study: Study) -> None:
    """Compare the strategies as the pipeline does, and write what follows from that."""
    predictions, thresholds = read_evaluations(
        folder / "evaluation", list(STRATEGIES), test_sha256=TEST_SHA256
    )
    comparison = compare_strategies(
        predictions,
        thresholds,
        task="idh",
        positive="mutant",
        sites=EXTERNAL,
        reference="centralized",
        margin=0.05,
        num_resamples=study.num_resamples,
        test_sha256=TEST_SHA256,
        seed=SEED,
    )
    path = folder / "evaluation" / "centralized" / "predictions.csv"
    attributes = read_attributes(
        path, predictions["centralized"], covariates=("age", "sex"), sequences=SEQUENCES
    )
    comparison["subgroups"] = compare_subgroups(
        predictions, find_subgroups(attributes), reference="centralized", min_patients=5
    )
    write_json(folder / "comparison.json", comparison)
    write_json(
        folder / "exchange.json",
        ledger(
            federated_rounds=12,
            num_sites=len(TRAINING),
            model_bytes=412_345,
            message_bytes=412_345,
            privacy={
                "encryption": "none",
                "clip_norm": None,
                "noise_multiplier": 0.0,
                "epsilon": None,
            },
            bundle_bytes=dict.fromkeys(TRAINING, 9_876_543),
            seconds={"federated_wall": 61.2, "one_shot_wall": 142.8},
            num_members=NUM_SEEDS,
            num_validations=35,
        ),
    )
    settings = RegistrySettings(
        min_auc=0.5, max_ece=0.25, min_recall=0.5, candidates=("federated", "synthetic")
    )
    models = [
        {
            "strategy": strategy,
            "model": "classifier-idh",
            "version": number,
            "alias": {"federated": "champion", "synthetic": "challenger"}.get(strategy),
            "sha256": TEST_SHA256,
            "gates": [
                asdict(gate)
                for gate in gates_of_classifier(
                    strategy,
                    comparison,
                    settings=settings,
                    privacy=dict.fromkeys(TRAINING, "not assessed"),
                    provenance={"patients": {site: [site] for site in TRAINING}},
                    test_patients=set(EXTERNAL),
                )
            ],
        }
        for number, strategy in enumerate(TRAINED, start=1)
    ]
    write_json(folder / "registry.json", {"models": models})


def _darken(scans: Tensor, presence: Tensor) -> Tensor:
    """Return scans as a poor autoencoder would."""
    return 0.9 * scans


def _write_audits(folder: Path, study: Study) -> None:
    """Audit the sites' synthetic scans as the pipeline does, with losses that tell nothing."""
    audits, features = [], {}
    privacy: dict[str, object] = {}
    for site in TRAINING:
        rng = seeds.numpy_generator(SEED, "audits", site)
        real = read_images(folder / "images" / site)
        first = [number < len(real) - 2 for number in range(len(real))]
        sets = {
            "train": real.select(first),
            "held_out": real.select(not chosen for chosen in first),
            "synthetic": read_images(folder / "synthetic" / site).select(first),
        }
        looks = {
            name: AppearanceScores(np.asarray(images.presence), len(SEQUENCES))
            for name, images in sets.items()
        }
        described = [describe_real(images, observe=looks[n].observe) for n, images in sets.items()]
        extractor = extractor_for(real.channels, len(real.grid))
        found = assess_quality(
            *described,
            appearance=looks,
            extractor=extractor,
            settings=QualitySettings(neighbours=2, num_pairs=6, num_resamples=100),
            rng=rng,
        )
        labels = [np.asarray(images.labels("idh", CLASSES)) for images in sets.values()]
        found |= assess_conditions(
            *described,
            labels=(labels[0], labels[1], labels[2]),
            classes=CLASSES,
            extractor=extractor,
            grid=study.grid.shape,
            spacing_mm=study.grid.spacing_mm,
            num_resamples=100,
            rng=rng,
        )
        found["reconstruction"] = assess_reconstruction(
            *described[:2],
            back=(
                describe_reconstructions(sets["train"], _darken, extractor, with_similarity=False),
                describe_reconstructions(
                    sets["held_out"], _darken, extractor, with_similarity=True
                ),
            ),
            labels=(labels[0], labels[1]),
            classes=CLASSES,
            sequences=SEQUENCES,
            grid=study.grid.shape,
            num_resamples=100,
            rng=rng,
        )
        audits.append({"site": site, **found})
        features[site] = features_of(*described, extractor=extractor)
        write_pairs(folder / "pairs" / f"{site}.safetensors", find_nearest_pairs(*described))
        sizes = len(described[0]), len(described[1])
        privacy[site] = audit_privacy(
            *described,
            classes=list(sets["synthetic"].table["idh"]),
            errors={"flow": (rng.random((sizes[0], 2)), rng.random((sizes[1], 2)))},
            feature_names=extractor.names,
            guarantee=None,
            settings=PrivacySettings(
                samples_per_scan=1,
                noise_draws=1,
                num_splits=10,
                confidence=0.95,
                encoder=None,
                copy_level=0.025,
                max_membership_auc=0.5,
                max_epsilon=None,
                min_held_out=2 if site == "alder" else 8,
                powered_from=50,
            ),
            rng=rng,
        )
    matrix = measure_matrix(
        features, num_resamples=100, rng=seeds.numpy_generator(SEED, "audits", "matrix")
    )
    write_json(folder / "quality.json", summarize_quality(audits, matrix, by_network={}))
    write_json(folder / "privacy.json", {"sites": privacy})


def _write_predictions(folder: Path, *, num_patients: int) -> None:
    """Write predictions of patients who are as hard for one strategy as for another."""
    rng = seeds.numpy_generator(SEED, "patients")
    label = rng.random(num_patients) < 0.4
    shared = rng.normal(size=num_patients)
    ages = rng.normal(50, 12, num_patients).round().astype(int)
    for strategy, separation in STRATEGIES.items():
        draws = seeds.numpy_generator(SEED, "predictions", strategy)
        own = draws.normal(size=(NUM_SEEDS if strategy in TRAINED else 1, num_patients))
        logits = np.full(own.shape, -0.4)
        if separation is not None:
            logits = separation * (2 * label - 1) / 1.5 + 0.9 * shared + 0.45 * own
        by_seed = (1 / (1 + np.exp(-logits))).round(6)
        table = pd.DataFrame(
            {
                "patient_id": [f"patient-{number:03d}" for number in range(num_patients)],
                "scan_id": [f"scan-{number:03d}" for number in range(num_patients)],
                "site": [EXTERNAL[number % len(EXTERNAL)] for number in range(num_patients)],
                "label": label.astype(int),
                "probability": by_seed.mean(axis=0).round(6),
                "age": ages,
                "sex": [("F", "M")[number % 5 % 2] for number in range(num_patients)],
            }
            | {
                f"has_{sequence}": [
                    str(sequence != "t1c" or number % 6 > 0).lower()
                    for number in range(num_patients)
                ]
                for sequence in SEQUENCES
            }
            | {
                f"seed_{number}": values
                for number, values in enumerate(by_seed)
                if strategy in TRAINED
            }
        )
        write_text(folder / strategy / "predictions.csv", table.to_csv(index=False))
        write_json(
            folder / strategy / "metrics.json",
            {"strategy": strategy, "threshold": THRESHOLD, "test_sha256": TEST_SHA256},
        )


def _write_scans(folder: Path, study: Study, site: str, *, num_scans: int, kind: str) -> None:
    """Write an image set of heads, each with a tumour that tells its class."""
    channels = (*SEQUENCES, "mask")
    rng = seeds.numpy_generator(SEED, "scans", site, kind)
    split = "train" if site in TRAINING else "test"
    rows = []
    for number in range(num_scans):
        name = CLASSES[number % len(CLASSES)]
        scan = f"{site}-{kind}-{number}"
        missing = "t1c" if kind == "real" and number == 2 else None
        write_voxels(folder, scan, _head(study.grid.shape, name, missing=missing, rng=rng))
        rows.append(
            {"scan_id": scan, "patient_id": scan, "site": site, "split": split}
            | {f"has_{channel}": str(channel != missing).lower() for channel in channels}
            | {"idh": name}
            | {"age": f"{rng.normal(52, 9):.0f}", "sex": "FM"[number % 3 % 2], "scanner": "Aquila"}
        )
    write_index(folder, channels=channels, grid=study.grid.shape, rows=rows, about={})


def _head(
    grid: tuple[int, ...], name: str, *, missing: str | None, rng: np.random.Generator
) -> np.ndarray:
    """Return a bright ellipsoid with a tumour, ring-shaped in the wild type's t1c."""
    axes = np.meshgrid(*[np.linspace(-1, 1, size) for size in grid], indexing="ij")
    radius = np.sqrt(sum((axis / 1.3) ** 2 for axis in axes))
    centre = rng.uniform(-0.35, 0.35, size=len(grid))
    size = rng.uniform(0.28, 0.42)
    distance = np.sqrt(sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True))) / size
    mask = distance < 1
    looks = {
        "t1": np.where(mask, 0.3, 0.55),
        "t1c": np.where(mask, 0.35, 0.5)
        + (0.5 * np.exp(-(((distance - 0.8) / 0.15) ** 2)) if name == "wildtype" else 0.0),
        "flair": np.where(mask, 0.9 if name == "mutant" else 0.75, 0.4),
    }
    head = [
        np.zeros(grid)
        if sequence == missing
        else np.where(radius < 1, looks[sequence] + rng.normal(0, 0.04, size=grid), 0.0)
        for sequence in SEQUENCES
    ]
    channels: np.ndarray = np.clip(np.stack([*head, mask.astype(float)]), 0, 1)
    return channels


def _write_history(path: Path, names: tuple[str, ...], *, members: int) -> None:
    """Write losses that fall with noise; a validation loss is measured every tenth step."""
    rng = seeds.numpy_generator(SEED, "history", str(path.parent.name), *names)
    tables = []
    for member in range(max(1, members)):
        steps = np.arange(1, 121)
        table = pd.DataFrame({"step": steps})
        for name in names:
            noise = 0.02 if name.startswith("validation") else 0.08
            table[name] = (
                0.3 + np.exp(-steps / 40) + rng.normal(0, noise, size=len(steps)).clip(-0.2)
            )
            if name.startswith("validation"):
                table.loc[steps % 10 != 0, name] = np.nan
        if members:
            table.insert(0, "member", member)
        tables.append(table)
    write_text(path, pd.concat(tables).to_csv(index=False, float_format="%.6g"))


def _counts(study: Study, site: str, num_patients: int) -> dict[str, dict[str, int]]:
    """Return patients by split and class, as data/splits/frozen.json has them."""
    share = num_patients // len(EXTERNAL)
    known = (
        {"train": (23, 21), "validation": (6, 5), "test": (0, 0)}
        if site in study.sites.training
        else {"train": (0, 0), "validation": (0, 0), "test": (share - share // 3, share // 3)}
    )
    return {
        split: {**dict(zip(CLASSES, numbers, strict=True)), "unknown": 0}
        for split, numbers in known.items()
    }


def _card(site: str) -> dict[str, object]:
    return {
        "site": site,
        "task": "idh",
        "training": {"patients": 44, "scans": 44},
        "flow_losses": {
            "train": {"0.1": 0.9, "0.5": 0.6, "0.9": 0.8},
            "validation": {"0.1": 0.95, "0.5": 0.63, "0.9": 0.82},
        },
        "privacy": {},
        "quality": {},
        "signature": "development key: whole, but anyone could sign",
    }


def confounding(*, positive: str | None) -> dict[str, Any]:
    """Describe ten patients a site, whose age and class depend on each other and on the site."""
    return describe_confounding(
        {
            site: {
                "quarantine": [],
                "scans": [
                    {
                        "scan_id": f"{site}-{number}",
                        "patient_id": f"{site}-{number}",
                        "values": {
                            "idh": CLASSES[number % (2 + place) % 2],
                            "age": str(40 + 20 * (number % 2) + number + place),
                            "sex": "FM"[number % 3 % 2],
                        },
                        "files": {"t1": {"likeness": "", "snr": 10.0 + place + number / 10}},
                    }
                    for number in range(10)
                ],
            }
            for place, site in enumerate((*TRAINING, *EXTERNAL))
        },
        training=TRAINING,
        label="idh",
        positive=positive,
        classes=CLASSES,
        covariates=("age", "sex"),
        seed=SEED,
    )


def _check(site: str) -> dict[str, object]:
    rules = [{"rule": f"Rule {number} holds", "failures": []} for number in range(18)]
    about = {"site": site, "success": True, "num_scans": 60, "num_patients": 60}
    return about | {"rules": rules, "quarantine": [], "outliers": []}


if __name__ == "__main__":
    from sitesynth.reports.page import render_page
    from sitesynth.reports.sections import build_page

    target = Path(sys.argv[1])
    fake = fake_study(grid=(32, 32, 16), is_phantom=True)
    found = write_fake_results(target, fake, num_patients=180)
    write_text(target / "index.html", render_page(build_page(fake, found), runs={}))
