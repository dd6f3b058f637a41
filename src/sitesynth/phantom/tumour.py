"""A glioma: where it lies, its irregular shape, and its compartments on a grid.

All compartments follow one signed depth below the surface of the core (positive inside): the rim
that enhances, the necrotic centre, and outside the core the oedema.

Axes: x right, y anterior, z superior, in mm.
"""

from dataclasses import dataclass
from typing import Final, final

import numpy as np
from jaxtyping import Bool, Float

from sitesynth.phantom.anatomy import (
    BRAIN_MM,
    EDGE_MM,
    MEAN_RADIUS_MM,
    TISSUES,
    Head,
    Placed,
    to_scanner,
)
from sitesynth.phantom.attributes import Look
from sitesynth.phantom.fields import Axes, SmoothField, draw_field, ramp


__all__ = ["COMPARTMENTS", "Painted", "Tumour", "draw_tumour", "paint", "push"]

COMPARTMENTS: Final = ("rim", "margin", "core", "necrosis", "oedema")
"""Enhancing rim; the rest of the core's outer 4 mm; its inside; necrosis; oedema."""

Grid = Float[np.ndarray, "x y z"]

RIM_SHARE: Final = 0.45
"""Thickness of the rim as a share of the core's radius: 8 to 10 mm."""

MARGIN_MM: Final = 4.0
"""Thickness of the bright margin of a core with T2-FLAIR mismatch."""

MASKED_SHARE: Final = 0.5
"""Share of a voxel that is core or oedema, from which on the mask contains it."""

REACH_MM: Final = 14.0
"""How far irregularities can carry a surface outward."""


@final
@dataclass(frozen=True, slots=True)
class Tumour:
    """Place and shape of one tumour; its look is in `look`."""

    look: Look
    radius_mm: float
    """Mean radius of the core."""

    centre_mm: tuple[float, float, float]
    """In the scanner's coordinates."""

    stretch: tuple[float, float, float]
    """Half axes of the core relative to `radius_mm`."""

    surface: SmoothField
    """Irregularity of the core's surface."""

    fingers: SmoothField
    """Irregularity of the oedema's."""

    texture: SmoothField
    """Signal inside the core, where heterogeneous."""


@final
@dataclass(frozen=True, slots=True)
class Painted:
    """Compartments of a tumour on a part of a grid."""

    box: tuple[slice, slice, slice]
    """The part of the grid outside of which there is no tumour."""

    shares: Float[np.ndarray, "compartment x y z"]
    """Share of each compartment in each voxel, in the order of `COMPARTMENTS`."""

    texture: Grid
    """Standard normal field that varies the core's signal."""

    mask: Bool[np.ndarray, "x y z"]
    """Whole tumour: at least half of the voxel is core or oedema."""


def draw_tumour(look: Look, head: Head, *, rng: np.random.Generator) -> Tumour:
    """Draw place and shape; the look decides how deep the tumour lies, and nothing else here.

    Args:
        look: The tumour's attributes.
        head: The head it grows in.
        rng: Source of side, lobe, size and irregularity.
    """
    radius = float(rng.uniform(18.0, 23.0))
    side = float(rng.choice([-1.0, 1.0]))
    # Frontal to parietal, from the temple up; never so steep that it leaves its hemisphere.
    around, up = np.deg2rad(rng.uniform([-55.0, -8.0], [55.0, 38.0]))
    direction = np.array(
        [side * np.cos(around) * np.cos(up), np.sin(around) * np.cos(up), np.sin(up)]
    )
    # Along a ray the hull is at share 1, so a share of depth below it is a share of the way in.
    surface = direction / np.linalg.norm(direction / np.array(BRAIN_MM))
    centre = to_scanner(head, surface * (1.0 - (radius + look.depth_mm) / MEAN_RADIUS_MM))
    stretch = np.exp(0.1 * np.clip(rng.standard_normal(3), -1.5, 1.5))
    return Tumour(
        look=look,
        radius_mm=radius,
        centre_mm=(float(centre[0]), float(centre[1]), float(centre[2])),
        stretch=(float(stretch[0]), float(stretch[1]), float(stretch[2])),
        surface=draw_field(11.0, rng=rng),
        fingers=draw_field(13.0, rng=rng),
        texture=draw_field(6.0, rng=rng),
    )


def push(tumour: Tumour, placed: Placed) -> tuple[Grid, Grid, Grid]:
    """Displace a head's coordinates by the tumour's mass, so that midline and ventricles give way.

    A voxel shows what lay nearer to the tumour's centre before it grew.
    """
    reach = 1.5 * tumour.radius_mm
    falls = [
        np.exp(-(((axis - centre) / reach) ** 2)).astype(np.float32)
        for axis, centre in zip(placed.axes, tumour.centre_mm, strict=True)
    ]
    strength = (0.32 * falls[0])[:, None, None] * falls[1][:, None] * falls[2]
    shifts = [
        (axis - centre).astype(np.float32)
        for axis, centre in zip(placed.axes, tumour.centre_mm, strict=True)
    ]
    return (
        placed.x - strength * shifts[0][:, None, None],
        placed.y - strength * shifts[1][:, None],
        placed.z - strength * shifts[2],
    )


def paint(
    tumour: Tumour,
    placed: Placed,
    pushed: tuple[Grid, Grid, Grid],
    tissues: Float[np.ndarray, "tissue x y z"],
) -> Painted:
    """Compute the compartments where the tumour is; no voxel of it lies outside the brain.

    Args:
        tumour: What to paint.
        placed: The head's coordinates.
        pushed: The same after `push`; the tumour stays on its side of the midline there.
        tissues: Shares of the head's tissues; oedema spreads through brain, not through fluid.
    """
    look = tumour.look
    border = EDGE_MM + 7.0 * look.heterogeneity
    box = _box_around(tumour, placed.axes, margin_mm=look.oedema_mm + border + REACH_MM)
    axes = (placed.axes[0][box[0]], placed.axes[1][box[1]], placed.axes[2][box[2]])
    depth = _depth_below_core(tumour, axes)

    # The core replaces what it grew into, but the dura and the falx hold it.
    side = 1.0 if tumour.centre_mm[0] > 0 else -1.0
    room = ramp(placed.brain_depth[box], EDGE_MM)
    room *= ramp(side * pushed[0][box], EDGE_MM)
    core = ramp(depth, border)
    core *= room

    shares = np.empty((len(COMPARTMENTS), *core.shape), dtype=np.float32)
    rim, margin, inside, necrosis, oedema = shares
    thickness = RIM_SHARE * tumour.radius_mm
    under_margin = ramp(depth - MARGIN_MM, EDGE_MM)
    under_rim = ramp(depth - thickness, 2 * EDGE_MM)
    # Where the necrosis is large the rim around it is what remains of the core.
    necrosis[...] = core * ramp(depth - (1.0 - look.necrosis) * tumour.radius_mm, 2 * EDGE_MM)
    necrosis *= min(1.0, look.necrosis / 0.1)
    living = core - necrosis
    np.multiply(living, 1.0 - under_margin, out=margin)
    np.multiply(living, under_margin - np.minimum(under_margin, under_rim), out=rim)
    np.multiply(living, np.minimum(under_margin, under_rim), out=inside)

    # Vasogenic oedema follows the white matter between the folds.
    fingers = tumour.fingers.on(axes)
    fingers *= 0.22 * look.oedema_mm
    brain = tissues[(slice(TISSUES.index("grey"), TISSUES.index("nuclei") + 1), *box)]
    oedema[...] = ramp(depth + fingers + look.oedema_mm, 2 * EDGE_MM)
    oedema *= np.clip(0.45 * brain[0] + brain[1] + 0.8 * brain[2], 0.0, 1.0)
    oedema *= room
    oedema *= 1.0 - core
    return Painted(
        box=box, shares=shares, texture=tumour.texture.on(axes), mask=core + oedema >= MASKED_SHARE
    )


def _box_around(tumour: Tumour, axes: Axes, *, margin_mm: float) -> tuple[slice, slice, slice]:
    """Find the part of a grid within a distance of the core."""
    limits = [
        np.searchsorted(
            axis,
            (
                centre - tumour.radius_mm * stretch - margin_mm,
                centre + tumour.radius_mm * stretch + margin_mm,
            ),
        )
        for axis, centre, stretch in zip(axes, tumour.centre_mm, tumour.stretch, strict=True)
    ]
    return (slice(*limits[0]), slice(*limits[1]), slice(*limits[2]))


def _depth_below_core(tumour: Tumour, axes: Axes) -> Grid:
    """Depth below the core's irregular surface, in mm."""
    shares = [
        (((axis - centre) / (tumour.radius_mm * stretch)) ** 2).astype(np.float32)
        for axis, centre, stretch in zip(axes, tumour.centre_mm, tumour.stretch, strict=True)
    ]
    radius = np.sqrt(shares[0][:, None, None] + shares[1][:, None] + shares[2])
    depth = tumour.radius_mm * (1 - radius)
    irregular = tumour.surface.on(axes)
    irregular *= 2.2
    depth += irregular
    return np.asarray(depth)
