"""The verdict on a generator, from its audit; `sitesynth.privacy.release` obeys it.

The first four are written so that each has a known probability to refuse a generator that leaks
nothing (ADR 21 argues the defaults, `benchmarks/gate_false_refusals.py` measures them):

1. Enough held-out patients, or nothing can be said.
2. The audit works: given the training scans themselves, it finds copies.
3. No more copies than chance explains, in any view.
4. No attack whose interval lies above chance.
5. Where `max_epsilon` asks for it: an epsilon of the whole bundle, not above that.

A pass means that no leak was found at this power, which the verdict states. It never means
anonymous.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from scipy.stats import norm

from sitesynth.privacy.copies import Copies
from sitesynth.privacy.membership import Attack
from sitesynth.privacy.release import PASSED, REFUSED
from sitesynth.settings import PrivacySettings


__all__ = ["Verdict", "attack_confidence", "copy_level", "decide"]

CHANCE: Final = 0.5

POWER: Final = 0.8
"""Probability with which a leak of the stated size would have been noticed."""


@final
@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says, and why."""

    reasons: tuple[str, ...]
    """Why it refuses; empty if it does not."""

    notes: tuple[str, ...]
    """What limits the verdict."""

    detectable_auc: float
    """Membership AUC that would have been refused with probability `POWER`, about."""

    detectable_copy_rate: float
    """Least share of copies that is refused."""

    @property
    def passed(self) -> bool:
        """Whether the generator may leave its site."""
        return not self.reasons

    def as_json(self) -> dict[str, Any]:
        """Return the `gate` entry of results/privacy.json."""
        return {
            "verdict": PASSED if self.passed else REFUSED,
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            "detectable": {
                "membership_auc": round(self.detectable_auc, 4),
                "copy_rate": round(self.detectable_copy_rate, 4),
            },
        }


def decide(
    *,
    copies: Mapping[str, Copies],
    planted: Mapping[str, Copies],
    attacks: Mapping[str, Attack],
    blind: Attack,
    guarantee: Mapping[str, Any] | None,
    settings: PrivacySettings,
) -> Verdict:
    """Judge a generator.

    Args:
        copies: The copy test by view.
        planted: The same with training scans in the place of synthetic ones.
        attacks: Membership attacks by name, their intervals simultaneous.
        blind: The attack that never met the generator.
        guarantee: What `sitesynth.privacy.accounting.account` says of its training; None if that
            was not private.
        settings: The `privacy` section of params.yaml.
    """
    level = copy_level(settings, len(copies))
    num_members, num_others = blind.num_members, blind.num_others
    reasons, notes = [], []
    if num_others < settings.min_held_out:
        reasons.append(
            f"{num_others} held-out patients are too few to audit anything; at least "
            f"{settings.min_held_out} are needed (split.validation_fraction)."
        )
    for view, found in planted.items():
        if found.p_value >= level:
            reasons.append(
                f"The audit does not work here: given the training scans themselves it finds "
                f"{found.num_copies} of {found.num_synthetic} copies in {view}. Different patients "
                "with the same scan, or scans without content, do this."
            )
    for view, found in copies.items():
        if found.p_value < level:
            reasons.append(
                f"{found.num_copies} of {found.num_synthetic} synthetic scans are copies of "
                f"training scans in {view}; chance explains {found.num_allowed} "
                f"(p = {found.p_value:.2g})."
            )
    for name, attack in attacks.items():
        if attack.low > settings.max_membership_auc:
            reasons.append(
                f"Who was in training can be told from {name}: AUC {attack.auc:.2f} "
                f"[{attack.low:.2f}, {attack.high:.2f}], above {settings.max_membership_auc}."
            )
    reasons += _beyond_epsilon(guarantee, settings.max_epsilon)
    auc = _detectable_auc(num_members, num_others, settings, len(attacks))
    rate = min(1.0, max((c.num_allowed + 1) / c.num_synthetic for c in copies.values()))
    if num_others < settings.powered_from:
        notes.append(
            f"Underpowered: {num_others} held-out patients, fewer than {settings.powered_from}. "
            f"Small leaks pass unseen: what would likely have been refused is a membership AUC of "
            f"{auc:.2f}, or {rate:.0%} of copies."
        )
    if not blind.low <= CHANCE <= blind.high:
        notes.append(
            f"The split is biased: held-out patients differ from training patients without any "
            f"generator (AUC {blind.auc:.2f} [{blind.low:.2f}, {blind.high:.2f}]). Attacks on it "
            "mean little; split anew."
        )
    return Verdict(
        tuple(reasons),
        tuple(notes),
        detectable_auc=auc,
        detectable_copy_rate=rate,
    )


def _beyond_epsilon(guarantee: Mapping[str, Any] | None, most: float | None) -> list[str]:
    """Say why a bundle's epsilon, or its lack, is not what a study asks for."""
    if most is None:
        return []
    asked = f"privacy.max_epsilon is {most:g}, "
    if guarantee is None:
        return [asked + "and nothing was trained with differential privacy (diffusion.dp)."]
    told = guarantee["epsilon"]
    if told is not None and told <= most:
        return []
    if told is not None:
        why = (
            f"the bundle's epsilon is {told:.2f} at delta {guarantee['delta']:g}: more noise, "
            "fewer steps or smaller batches (diffusion) lower it."
        )
    elif guarantee["not_covered"]:
        why = f"the bundle has no epsilon: uncovered is {'; '.join(guarantee['not_covered'])}."
    else:
        why = (
            "the bundle has no epsilon: its noise was drawn from the study's seed. Set "
            "SITESYNTH_NOISE_SECRET at the site and train again."
        )
    return [f"{asked}and {why}"]


def copy_level(settings: PrivacySettings, num_views: int) -> float:
    """Return the level of the copy test in each view (Bonferroni)."""
    return settings.copy_level / num_views


def attack_confidence(settings: PrivacySettings, num_attacks: int) -> float:
    """Return the confidence of each attack's interval, so that all hold together (Bonferroni)."""
    return 1 - (1 - settings.confidence) / num_attacks


def _detectable_auc(
    num_members: int, num_others: int, settings: PrivacySettings, num_attacks: int
) -> float:
    """Approximate the AUC that is refused with probability `POWER`, by the null's spread."""
    spread = np.sqrt((num_members + num_others + 1) / (12 * num_members * num_others))
    reach = norm.ppf((1 + attack_confidence(settings, num_attacks)) / 2) + norm.ppf(POWER)
    return float(min(1.0, settings.max_membership_auc + reach * spread))
