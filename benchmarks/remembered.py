"""How much nearer a generator's scans come to patients because it was trained on them.

A gate compares training with held-out patients, who may differ in more than that. Here the same
patients are both: one site's scans are split at random several times, a generator is trained on
each split, and each patient's best match among its scans is compared between the splits in which
they were in training and those in which they were not (counterfactual memorization, Feldman and
Zhang, 2020). A patient whom everybody's scans resemble resembles them either way, and counts for
nothing.

    dvc repro preprocess && python -m benchmarks.remembered --site DU [--splits 6]

Prints, for each view of the gate, the mean over patients of that difference, its null by permuting
for each patient in which splits they were in training, and how large differences between patients
are; then what the gate says of each split, and the attack on the flow. It trains as many
autoencoders and flows as there are splits: minutes each.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from jaxtyping import Bool, Float

from benchmarks.flows import changed, train_generator
from sitesynth import seeds
from sitesynth.audits import describe_synthetic
from sitesynth.cohorts.splits import draw_validation
from sitesynth.described import describe_real
from sitesynth.features import extractor_for
from sitesynth.generators.autoencoder_training import train_autoencoder
from sitesynth.generators.label_scores import as_told
from sitesynth.images import ImageSet, read_images
from sitesynth.privacy.audit import audit_privacy
from sitesynth.privacy.probes import limits_of, probe
from sitesynth.privacy.similarity import feature_view, voxel_view
from sitesynth.settings import Settings, load_settings


__all__ = ["counterfactual", "main", "random_splits"]

PERMUTATIONS: Final = 2000


def random_splits(scans: ImageSet, label: str, *, count: int, seed: int) -> Iterator[ImageSet]:
    """Hold out other patients each time, as a study of other seeds would."""
    patients = scans.table["patient_id"].to_numpy()
    classes = dict(zip(patients, scans.table[label], strict=True))
    share = (scans.table["split"] == "validation").mean()
    lacks = ~scans.presence.all(dim=1).numpy()
    for number in range(count):
        held_out: set[str] = set()
        for name in sorted(set(classes.values())):
            held_out |= draw_validation(
                (patient for patient, told in classes.items() if told == name),
                incomplete=set(patients[lacks]),
                validation_fraction=share,
                seed=seed,
                site=f"remembered {number}",
            )
        table = scans.table.assign(
            split=["validation" if patient in held_out else "train" for patient in patients]
        )
        yield replace(scans, table=table)


@final
class _Trial:
    """A generator of one split, and its scans."""

    def __init__(self, scans: ImageSet, site: str, number: int, study: Settings) -> None:
        self.study = study
        # Only the split and the weights to begin with differ from trial to trial.
        seed = study.seed + number
        autoencoder = train_autoencoder(
            scans.in_split("train"),
            settings=study.autoencoder,
            compute=study.compute,
            seed=seed,
            site=site,
        )
        self.generator, _ = train_generator(scans, autoencoder, study, site=site, seed=seed)
        told = as_told(scans, self.generator.config, seed=seed)
        self.train, self.held_out = told.in_split("train"), told.in_split("validation")
        self.synthetic = describe_synthetic(
            self.generator,
            self.train,
            samples_per_scan=study.privacy.samples_per_scan,
            sampling=study.sampling,
            seed=seed,
            purpose="privacy",
        )

    def audit(self) -> dict[str, Any]:
        """Return what the gate finds."""
        study, train = self.study, self.train
        found: dict[str, Any] = audit_privacy(
            describe_real(train),
            describe_real(self.held_out),
            self.synthetic,
            classes=[*train.table[study.task.label]] * study.privacy.samples_per_scan,
            errors=probe(
                self.generator,
                train,
                self.held_out,
                num_draws=study.privacy.noise_draws,
                seed=study.seed,
            ),
            limits=limits_of(self.generator.config),
            feature_names=extractor_for(train.channels, len(train.grid)).names,
            guarantee=None,
            settings=study.privacy,
            rng=seeds.numpy_generator(study.seed, "privacy", "remembered"),
        )
        return found


def counterfactual(
    best: Float[np.ndarray, "splits patients"],
    trained: Bool[np.ndarray, "splits patients"],
    *,
    rng: np.random.Generator,
) -> tuple[float, float, float]:
    """Compare patients with themselves, in training and not.

    Args:
        best: Similarity of each patient to the most similar scan of each split's generator.
        trained: Whether the patient was in training there.
        rng: Source of the permutations.

    Returns:
        Mean difference, over patients who were both; its one-sided p-value; the standard deviation
        of the similarity over patients.
    """
    # Some generators come nearer to everybody than others do.
    centred = best - best.mean(axis=1, keepdims=True)
    both = trained.any(axis=0) & ~trained.all(axis=0)
    centred, trained = centred[:, both], trained[:, both]

    def mean_difference(inside: np.ndarray) -> float:
        with_them = (centred * inside).sum(axis=0) / inside.sum(axis=0)
        without = (centred * ~inside).sum(axis=0) / (~inside).sum(axis=0)
        return float((with_them - without).mean())

    observed = mean_difference(trained)
    null = [mean_difference(rng.permuted(trained, axis=0)) >= observed for _ in range(PERMUTATIONS)]
    p_value = (1 + sum(null)) / (1 + PERMUTATIONS)
    return observed, p_value, float(centred.mean(axis=0).std())


def _tell(view: str, best: Sequence[np.ndarray], trained: np.ndarray, seed: int) -> str:
    found = counterfactual(
        np.stack(best), trained, rng=seeds.numpy_generator(seed, "remembered", "null")
    )
    return "{}: {:+.3f} (p = {:.4f}); patients vary by {:.3f}".format(view, *found)


def main() -> None:
    """Train and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, default=Path("data/images"))
    parser.add_argument("--site", required=True)
    parser.add_argument("--splits", type=int, default=6)
    parser.add_argument("--steps", type=int, help="of the flows; those of params.yaml if not given")
    given = parser.parse_args()
    study = load_settings(Path("params.yaml"), site=given.site)
    if given.steps is not None:
        study = changed(study, "diffusion", num_steps=given.steps)
    scans = read_images(given.images / given.site)
    everyone = describe_real(scans)
    names = extractor_for(scans.channels, len(scans.grid)).names
    views = {"features": feature_view(everyone, names), "voxels": voxel_view(everyone)}
    best: dict[str, list[np.ndarray]] = {view: [] for view in views}
    trained = []
    splits = random_splits(scans, study.task.label, count=given.splits, seed=study.seed)
    for number, split in enumerate(splits):
        trial = _Trial(split, given.site, number, study)
        found = trial.audit()
        attack = found["membership"]["attacks"]["flow"]["auc"]
        told = {view: copies["num_copies"] for view, copies in found["copies"].items()}
        sys.stdout.write(
            f"split {number}: {found['gate']['verdict']}; copies {told}; attack on the flow "
            f"{attack['value']:.2f} ({attack['low']:.2f} to {attack['high']:.2f})\n"
        )
        sys.stdout.flush()
        for view, similarity in views.items():
            best[view].append(similarity(trial.synthetic, everyone).max(axis=0))
        trained.append((split.table["split"] == "train").to_numpy())
    for view, matches in best.items():
        sys.stdout.write(_tell(view, matches, np.stack(trained), study.seed) + "\n")


if __name__ == "__main__":
    main()
