"""Knobs of what is asked of a generator before it leaves: quality and privacy."""

from typing import Annotated

from pydantic import Field

from sitesynth.settings.fields import Count, Fraction, Section


class QualitySettings(Section):
    """How a generator's scans are compared with held-out real ones."""

    neighbours: Count
    """The k of precision, recall, density and coverage."""

    num_pairs: Count
    """Pairs of scans behind the mean similarity within a set."""

    num_resamples: Annotated[int, Field(ge=100)]
    """Bootstrap resamples of patients behind the 95 % intervals of KID and FID."""


class PrivacySettings(Section):
    """What a generator is asked before it may leave its site; ADR 21 argues the defaults."""

    samples_per_scan: Count
    """Synthetic scans drawn per training scan, and searched for copies."""

    noise_draws: Count
    """Noises per noise level with which the flow's error on a scan is measured."""

    num_splits: Count
    """Random splits of the members in the member-against-member control."""

    confidence: Annotated[float, Field(gt=0.5, lt=1.0)]
    """With which all membership attacks' intervals hold together."""

    copy_level: Annotated[float, Field(gt=0.0, lt=0.5)]
    """Probability that an innocent generator is refused for copies, all views together."""

    max_membership_auc: Fraction
    """Refused where an attack's whole interval lies above this; 0.5 is chance."""

    min_held_out: Count
    """Held-out patients below which nothing can be audited, and so nothing is released."""

    powered_from: Count
    """Held-out patients below which the verdict says that it is underpowered."""
