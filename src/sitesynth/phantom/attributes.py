"""What a glioma looks like, as numbers whose distribution is known.

Each patient has one latent value z per attribute. Given the tumour type t,

    z ~ N(separation * mean_t, 1),   independent between attributes,

and each z is mapped onto a physical range by an increasing function. So the likelihood ratio of two
types is exact in z, and the best possible classifier is known (`sitesynth.phantom.truth`).

The directions are those of the radiology of adult gliomas (WHO 2021; Patel et al., 2017, for the
T2-FLAIR mismatch); the sizes of the differences are ours, chosen so that the types overlap.

Axes: n patients, a attributes, t tumour types.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr


__all__ = [
    "ATTRIBUTES",
    "IDH_OF_TYPE",
    "TUMOUR_TYPES",
    "Attribute",
    "Look",
    "class_means",
    "look_of",
]

TUMOUR_TYPES: Final = ("glioblastoma", "astrocytoma", "oligodendroglioma")

IDH_OF_TYPE: Final[Mapping[str, str]] = {
    "glioblastoma": "wildtype",
    "astrocytoma": "mutant",
    "oligodendroglioma": "mutant",
}


@final
@dataclass(frozen=True, slots=True)
class Attribute:
    """One visible property of a tumour."""

    name: str
    """A field of `Look`."""

    means: tuple[float, float, float]
    """Mean of z by tumour type, in the order of `TUMOUR_TYPES`, at separation 1."""

    middle: float
    """The z that is mapped half way between `low` and `high`."""

    low: float
    """Physical value at z = -infinity."""

    high: float
    """Physical value at z = +infinity."""


ATTRIBUTES: Final = (
    Attribute("enhancement", (0.90, -0.85, -0.60), 0.1, 0.0, 1.3),
    Attribute("necrosis", (0.40, -0.35, -0.35), 0.1, 0.0, 0.70),
    Attribute("oedema_mm", (0.70, -0.60, -0.45), 0.1, 0.0, 25.0),
    Attribute("mismatch", (-0.40, 0.65, 0.00), 0.3, 0.0, 1.0),
    Attribute("depth_mm", (0.00, 0.20, -0.50), 0.0, -4.0, 16.0),
    Attribute("heterogeneity", (0.00, -0.35, 0.45), 0.0, 0.0, 1.0),
)


@final
@dataclass(frozen=True, slots=True)
class Look:
    """The attributes of one tumour in physical units."""

    enhancement: float
    """Signal that contrast agent adds to the solid rim on t1c, in units of white matter's."""

    necrosis: float
    """Radius of the necrotic centre as a share of the core's."""

    oedema_mm: float
    """Width of the oedema around the core."""

    mismatch: float
    """From 0 (core as bright on flair as on t2) to 1 (dark on flair but for its margin)."""

    depth_mm: float
    """Brain between the core and the cortical surface; negative where the core reaches it."""

    heterogeneity: float
    """From 0 (even signal, border of 2 mm) to 1 (signal varies by a quarter, border of 9 mm)."""


def class_means(separation: float) -> Float[np.ndarray, "t a"]:
    """Tabulate the mean of every z by tumour type, in units of the spread within a type."""
    return separation * np.array([attribute.means for attribute in ATTRIBUTES]).T


def look_of(values: Float[np.ndarray, " a"]) -> Look:
    """Map latent values onto their physical ranges; increasing in every one of them."""
    shares = ndtr(values - [attribute.middle for attribute in ATTRIBUTES])
    return Look(
        **{
            attribute.name: float(attribute.low + (attribute.high - attribute.low) * share)
            for attribute, share in zip(ATTRIBUTES, shares, strict=True)
        }
    )
