"""The privacy audit of one site's generator: copies, membership, verdict.

It belongs to a site's inside: it compares with the very scans it protects. What it returns holds
counts and distances, and nothing about any one patient.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sitesynth.described import Described
from sitesynth.privacy.copies import (
    Similarities,
    compare_scans,
    count_by_class,
    count_copied_patients,
    find_copies,
)
from sitesynth.privacy.gate import attack_confidence, copy_level, decide
from sitesynth.privacy.membership import Attack, run_attack, score_by_patient
from sitesynth.privacy.probes import membership_scores
from sitesynth.privacy.similarity import SimilarityView, feature_view, voxel_view
from sitesynth.settings import PrivacySettings


__all__ = ["audit_privacy"]


def audit_privacy(
    train: Described,
    held_out: Described,
    synthetic: Described,
    *,
    classes: Sequence[str],
    errors: Mapping[str, tuple[np.ndarray, np.ndarray]],
    limits: Sequence[str] = (),
    feature_names: Sequence[str],
    guarantee: Mapping[str, Any] | None,
    settings: PrivacySettings,
    rng: np.random.Generator,
    learned: SimilarityView | None = None,
) -> dict[str, Any]:
    """Audit a generator.

    Args:
        train: The scans it was trained on.
        held_out: Scans of other patients of the same site, which it never saw.
        synthetic: Scans drawn from it.
        classes: The class that each of them was asked to be of.
        errors: Per white-box probe, the model's errors on training and on held-out scans, one row
            per scan.
        limits: What those probes leave open, for the verdict's notes.
        feature_names: Names of the features.
        guarantee: What differential privacy promises; see `sitesynth.privacy.accounting`.
        settings: The `privacy` section of params.yaml.
        rng: Source of the random splits of the controls.
        learned: A third view for copies, by an encoder that learned from training scans; it is no
            membership attack.

    Returns:
        The site's entry in results/privacy.json, its gate included.
    """
    views = {"features": feature_view(train, feature_names), "voxels": voxel_view(train)}
    fixed = {name: compare_scans(view, train, held_out, synthetic) for name, view in views.items()}
    similar = dict(fixed)
    if learned is not None:
        similar["encoder"] = compare_scans(
            learned, train, held_out, synthetic, are_members_strangers=False
        )
    level = copy_level(settings, len(similar))
    copies = {name: find_copies(found, level=level) for name, found in similar.items()}
    planted = {
        name: find_copies(_with_copier(found), level=level) for name, found in similar.items()
    }

    scores = {name: membership_scores(*pair) for name, pair in errors.items()}
    for name, found in fixed.items():
        nearest = found.synthetic_to_train.max(axis=0), found.synthetic_to_held_out.max(axis=0)
        scores[f"samples ({name})"] = nearest

    def attack(pair: tuple[np.ndarray, np.ndarray], confidence: float) -> Attack:
        return run_attack(
            score_by_patient(pair[0], train.patients),
            score_by_patient(pair[1], held_out.patients),
            confidence=confidence,
            num_splits=settings.num_splits,
            rng=rng,
        )

    confidence = attack_confidence(settings, len(scores))
    attacks = {name: attack(pair, confidence) for name, pair in scores.items()}
    blind = attack(_typicality(train, held_out, feature_names), settings.confidence)
    verdict = decide(
        copies=copies,
        planted=planted,
        attacks=attacks,
        blind=blind,
        guarantee=guarantee,
        settings=settings,
    )
    verdict = replace(verdict, notes=(*verdict.notes, *limits))
    return {
        "patients": {"train": blind.num_members, "held_out": blind.num_others},
        "scans": {
            "train": len(train),
            "held_out": len(held_out),
            "synthetic": len(synthetic),
        },
        "copies": {
            name: {
                **found.as_json(),
                "classes": count_by_class(similar[name], found, classes=classes),
                "training_patients": count_copied_patients(similar[name]),
            }
            for name, found in copies.items()
        },
        "planted_copies_found": {name: round(found.rate, 6) for name, found in planted.items()},
        "membership": {
            "confidence": settings.confidence,
            "attacks": {name: found.as_json() for name, found in attacks.items()},
            "blind": blind.as_json(),
        },
        "epsilon": None if guarantee is None else guarantee["epsilon"],
        "differential_privacy": None if guarantee is None else dict(guarantee),
        "gate": verdict.as_json(),
    }


def _with_copier(found: Similarities) -> Similarities:
    """Return the similarities as if the generator had given out the training scans."""
    return replace(
        found,
        synthetic_to_train=found.train_to_train,
        synthetic_to_held_out=found.held_out_to_train.T,
    )


def _typicality(
    train: Described, held_out: Described, feature_names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return each real scan's similarity to its best match among all other patients' scans."""
    everyone = Described(
        np.concatenate([train.features, held_out.features]),
        np.concatenate([train.thumbnails, held_out.thumbnails]),
        np.concatenate([train.presence, held_out.presence]),
        (*train.patients, *held_out.patients),
    )
    names = np.asarray(everyone.patients)
    similar = feature_view(everyone, feature_names)(everyone, everyone)
    best = np.where(names[:, None] != names[None, :], similar, -1.0).max(axis=1)
    return best[: len(train)], best[len(train) :]
