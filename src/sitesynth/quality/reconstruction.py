"""How much of a scan comes back from the autoencoder: for the eye, and for whoever tells classes.

A mean error weighs voxels alike, and what tells a class is few of them. So reconstructions are
also compared with their originals by structure (multi-scale SSIM, at full resolution), and by a
judge: the regression of `sitesynth.judges`, learned on original training scans, says what it
thinks of scans that it did not learn from, and of the same scans after the autoencoder. What it
ranks worse then, the autoencoder has lost, and no flow on its latents can bring back.

What it does not see: detail that the features of this project do not measure, and that the
autoencoder was trained on most of these scans. Held-out scans alone are too few to rank.

Axes: n = scans, s = sequences, k = classes, d = features, e = those that vary,
r = resamples, then the grid.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sitesynth.described import Described
from sitesynth.features import Extractor, FeatureScale
from sitesynth.generators.autoencoder import Autoencoder
from sitesynth.images import MASK, ImageSet
from sitesynth.judges import Examples, learn_judge
from sitesynth.quality.diversity import multiscale_ssim, num_scales
from sitesynth.quality.fidelity import CONFIDENCE, PatientInterval, draw_weights
from sitesynth.sampling import MASK_THRESHOLD
from sitesynth.threads import in_order
from sitesynth.training import best_device


__all__ = [
    "Reconstruct",
    "Returned",
    "assess_reconstruction",
    "describe_reconstructions",
    "reconstruct_by",
]

Reconstruct = Callable[[Tensor, Tensor], Tensor]
"""Given scans and which channels each has, returns them as they come back."""

Labels = Int[np.ndarray, " _"]
Json = dict[str, Any]

ENDS: Final = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


@final
@dataclass(frozen=True)
class Returned:
    """What is kept of the reconstructions of some scans."""

    features: Float[np.ndarray, "n d"]
    """NaN where the scan lacks a channel."""
    error: Float[np.ndarray, "n s"]
    """Mean absolute error, in units of the range of intensities; NaN likewise."""
    similarity: Float[np.ndarray, "n s"]
    """Multi-scale SSIM of reconstruction and original, NaN likewise, or if it is not asked for."""


def reconstruct_by(autoencoder: Autoencoder) -> Reconstruct:
    """Return what sends scans through an autoencoder and back, into [0, 1], without noise."""
    model = autoencoder.to(best_device())

    @torch.no_grad()
    def reconstruct(scans: Tensor, presence: Tensor) -> Tensor:
        device = model.typical.device
        mean, _ = model.encode(scans.to(device), presence.to(device))
        return model.decode(mean).clamp(0, 1).float().cpu()

    return reconstruct


def describe_reconstructions(
    images: ImageSet,
    reconstruct: Reconstruct,
    extractor: Extractor,
    *,
    with_similarity: bool,
) -> Returned:
    """Send scans through an autoencoder, one at a time, and describe what comes back.

    Args:
        images: The originals.
        reconstruct: The autoencoder; see `reconstruct_by`.
        extractor: Where the features come from.
        with_similarity: Whether to measure structure, which takes longest.
    """
    count = len(images.sequences)

    def look(number: int) -> tuple[np.ndarray, np.ndarray, list[float]]:
        scan, has = images.load([number]), images.presence[[number]]
        back = reconstruct(scan, has)
        if images.channels[-1] == MASK:
            back[:, -1] = (back[:, -1] > MASK_THRESHOLD).float()
        original, returned, present = np.asarray(scan[0]), np.asarray(back[0]), np.asarray(has[0])
        off = np.abs(returned[:count] - original[:count]).reshape(count, -1).mean(axis=1)
        measured = present[:count] & with_similarity
        similarities = [
            multiscale_ssim(original[channel], returned[channel]) if asked else np.nan
            for channel, asked in enumerate(measured.tolist())
        ]
        errors = np.where(present[:count], off, np.nan)
        return extractor.extract(returned, present), errors, similarities

    features, errors, similarities = zip(*in_order(look, range(len(images))), strict=True)
    return Returned(
        np.stack(features), np.stack(errors).astype(float), np.array(similarities, dtype=float)
    )


def assess_reconstruction(
    train: Described,
    held_out: Described,
    *,
    back: tuple[Returned, Returned],
    labels: tuple[Labels, Labels],
    classes: Sequence[str],
    sequences: Sequence[str],
    grid: Sequence[int],
    num_resamples: int,
    rng: np.random.Generator,
) -> Json:
    """Return `reconstruction` of a site's entry in results/quality.json.

    Args:
        train: The training scans.
        held_out: Real scans of the site that the autoencoder did not learn from.
        back: Reconstructions of the two, in the same order; structure of the latter.
        labels: Class numbers of the two, below 0 where unknown.
        classes: Names of the classes.
        sequences: Names of the sequences.
        grid: Voxels per axis.
        num_resamples: Resamples of patients behind each interval.
        rng: Source of the resamples and of the judge's folds.
    """
    back_train, back_held_out = back
    mean_of = partial(_mean_by_patient, num_resamples=num_resamples, rng=rng)
    similarity = back_held_out.similarity
    return {
        "scans": {"held_out": len(held_out), "train": len(train)},
        "ms_ssim_scales": num_scales(grid),
        "ms_ssim": {
            "mean": mean_of(similarity, held_out.patients),
            "by_sequence": {
                name: mean_of(similarity[:, [number]], held_out.patients)
                for number, name in enumerate(sequences)
            },
        },
        "error": {
            "held_out": mean_of(back_held_out.error, held_out.patients),
            "train": mean_of(back_train.error, train.patients),
        },
        "judge": _judge(
            train,
            held_out,
            back=back,
            labels=labels,
            num_classes=len(classes),
            num_resamples=num_resamples,
            rng=rng,
        ),
    }


def _judge(
    train: Described,
    held_out: Described,
    *,
    back: tuple[Returned, Returned],
    labels: tuple[Labels, Labels],
    num_classes: int,
    num_resamples: int,
    rng: np.random.Generator,
) -> Json | None:
    """Return how well classes are ranked before and after; None with too few patients of one."""
    scale = FeatureScale.of(train.features)

    def known(features: Float[np.ndarray, "n d"], told: Labels) -> Float[np.ndarray, "m e"]:
        found: np.ndarray = np.nan_to_num(scale.standardize(features[told >= 0]), nan=0.0)
        return found

    patients = [
        tuple(np.asarray(scans.patients)[told >= 0].tolist())
        for scans, told in zip((train, held_out), labels, strict=True)
    ]
    in_train, in_held_out = (told[told >= 0] for told in labels)
    learned = Examples(known(train.features, labels[0]), in_train, patients[0])
    judge = learn_judge(learned, num_classes=num_classes, rng=rng)
    if judge is None:
        return None
    said = [
        np.concatenate([judge.of_left_out(known(a, labels[0])), judge.of(known(b, labels[1]))])
        for a, b in (
            (train.features, held_out.features),
            (back[0].features, back[1].features),
        )
    ]
    truth = np.concatenate([in_train, in_held_out])
    once = np.ones((1, len(truth)))
    weights = draw_weights([*patients[0], *patients[1]], num_resamples, rng)
    before, after = (float(_auc(probabilities, truth, once)[0]) for probabilities in said)
    gained = _auc(said[1], truth, weights) - _auc(said[0], truth, weights)
    low, high = np.nanquantile(gained, ENDS)
    return {
        "ridge": judge.ridge,
        "n": len(truth),
        "n_held_out": len(in_held_out),
        "auc": {
            "original": float(f"{before:.6g}"),
            "reconstruction": float(f"{after:.6g}"),
            "difference": PatientInterval(after - before, float(low), float(high)).as_json(),
        },
    }


def _mean_by_patient(
    values: Float[np.ndarray, "n s"],
    patients: Sequence[str],
    *,
    num_resamples: int,
    rng: np.random.Generator,
) -> dict[str, float] | None:
    """Return the mean of what is known, with its interval; None if nothing is."""
    is_known: Bool[np.ndarray, "n s"] = ~np.isnan(values)
    weights = draw_weights(patients, num_resamples, rng)
    sums, counts = np.nansum(values, axis=1), is_known.sum(axis=1)
    if not counts.any():
        return None
    drawn = weights @ counts
    resampled = (weights @ sums)[drawn > 0] / drawn[drawn > 0]
    low, high = np.quantile(resampled, ENDS)
    return PatientInterval(float(sums.sum() / counts.sum()), float(low), float(high)).as_json()


def _auc(
    probabilities: Float[np.ndarray, "n k"],
    labels: Int[np.ndarray, " n"],
    weights: Float[np.ndarray, "r n"],
) -> Float[np.ndarray, " r"]:
    """Return the mean over classes of each one's AUC against all others, per resample.

    NaN where a resample lacks a class.
    """
    by_class = []
    for number in range(probabilities.shape[1]):
        scores, is_own = probabilities[:, number], labels == number
        own, other = scores[is_own][:, None], scores[~is_own][None, :]
        wins = (own > other) + 0.5 * (own == other)
        won = ((weights[:, is_own] @ wins) * weights[:, ~is_own]).sum(axis=1)
        pairs = weights[:, is_own].sum(axis=1) * weights[:, ~is_own].sum(axis=1)
        by_class.append(np.divide(won, pairs, out=np.full(len(weights), np.nan), where=pairs > 0))
    mean: np.ndarray = np.mean(by_class, axis=0)
    return mean
