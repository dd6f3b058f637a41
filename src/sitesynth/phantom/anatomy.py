"""A head without a tumour: which share of each voxel is which tissue.

Tissues are nested shells around signed depths (positive inside), as in the phantom of Shepp and
Logan (1974), but in three dimensions, folded, and different in each person. The brain is symmetric
about x = 0 until it is tilted and warped.

Axes: x right, y anterior, z superior, in mm from the centre of the head.
"""

from dataclasses import dataclass
from typing import Final, final

import numpy as np
from jaxtyping import Float

from sitesynth.phantom.fields import Axes, SmoothField, draw_field, ramp


__all__ = ["TISSUES", "Head", "Placed", "draw_head", "place", "tissue_shares", "to_scanner"]

TISSUES: Final = ("scalp", "muscle", "skull", "fluid", "grey", "white", "nuclei", "vessel")
"""Air is what is left over."""

Grid = Float[np.ndarray, "x y z"]

BRAIN_MM: Final = (66.0, 84.0, 70.0)
"""Half axes of the cerebrum, from its centre to right, front and top."""

BRAIN_BOTTOM_MM: Final = 48.0
"""Half axis of the cerebrum downward, where the skull base flattens it."""

SKIN_MM: Final = (77.0, 97.0, 82.0)
"""Half axes of the head's surface."""

SKIN_BOTTOM_MM: Final = 160.0
"""Its half axis downward: the field of view ends before the neck does."""

MEAN_SKIN_RADIUS_MM: Final = 82.0
MEAN_RADIUS_MM: Final = 74.0
"""Turns a share of the brain's radius into millimetres of depth."""

EDGE_MM: Final = 2.0
"""Width of the border between two tissues, before the scanner blurs it."""

# A lateral ventricle: points (|x|, y, z) from frontal horn over body and atrium to both hind horns,
# with the radius of the tube.
VENTRICLE_TUBES: Final = (
    ((5.0, 32.0, 6.0), (9.0, 16.0, 14.0), 4.5),
    ((9.0, 16.0, 14.0), (12.0, -14.0, 18.0), 4.5),
    ((12.0, -14.0, 18.0), (22.0, -32.0, 10.0), 6.0),
    ((22.0, -32.0, 10.0), (24.0, -52.0, 6.0), 4.0),
    ((22.0, -32.0, 10.0), (31.0, -8.0, -14.0), 3.0),
)
VENTRICLE_BOX_MM: Final = ((-48.0, 48.0), (-72.0, 52.0), (-32.0, 36.0))
"""Where ventricles and nuclei can lie, tilted and displaced; nothing is computed elsewhere."""

# Grey nuclei: centre (|x|, y, z) and half axes of thalamus, lentiform nucleus and caudate head.
NUCLEI: Final = (
    ((10.0, -9.0, 6.0), (8.0, 14.0, 9.0)),
    ((24.0, 4.0, 2.0), (6.0, 15.0, 10.0)),
    ((12.5, 19.0, 7.0), (4.0, 9.0, 9.0)),
)


@final
@dataclass(frozen=True, slots=True)
class Head:
    """What differs between two people."""

    scale: tuple[float, float, float]
    """Size along x, y and z, relative to the template."""

    turns: tuple[float, float, float]
    """Rotation in the scanner about x, y and z, in radians."""

    warp_mm: float
    """Standard deviation of the smooth displacement of every structure."""

    warps: tuple[SmoothField, SmoothField, SmoothField]
    """The displacement's course along x, y and z."""

    folds: SmoothField
    """Sulci lie where this field is 0."""

    ventricle_mm: float
    """Added to the ventricles' radius."""

    fluid_mm: float
    """Fluid between brain and skull."""


@final
@dataclass(frozen=True, slots=True)
class Placed:
    """A head's own coordinates at every voxel of a grid, and its depth there."""

    axes: Axes
    """The grid's coordinates in the scanner."""

    x: Grid
    y: Grid
    z: Grid
    brain_depth: Grid
    """Depth below the convex hull of the cerebrum, in mm; negative outside."""


def draw_head(*, rng: np.random.Generator) -> Head:
    """Draw a person's anatomy; none of it depends on the tumour."""
    scale = 1.0 + 0.03 * np.clip(rng.standard_normal(3), -2.0, 2.0)
    turns = np.deg2rad(2.5) * np.clip(rng.standard_normal(3), -2.0, 2.0)
    return Head(
        scale=(float(scale[0]), float(scale[1]), float(scale[2])),
        turns=(float(turns[0]), float(turns[1]), float(turns[2])),
        warp_mm=1.2,
        warps=(
            draw_field(40.0, rng=rng),
            draw_field(40.0, rng=rng),
            draw_field(40.0, rng=rng),
        ),
        folds=draw_field(6.5, rng=rng),
        ventricle_mm=float(rng.uniform(-1.0, 2.0)),
        fluid_mm=float(rng.uniform(1.5, 3.5)),
    )


def _rotation(head: Head) -> Float[np.ndarray, "3 3"]:
    """Build the matrix that takes the scanner's coordinates to the head's, up to scale."""
    (cos_x, cos_y, cos_z), (sin_x, sin_y, sin_z) = np.cos(head.turns), np.sin(head.turns)
    about_x = np.array([[1.0, 0.0, 0.0], [0.0, cos_x, -sin_x], [0.0, sin_x, cos_x]])
    about_y = np.array([[cos_y, 0.0, sin_y], [0.0, 1.0, 0.0], [-sin_y, 0.0, cos_y]])
    about_z = np.array([[cos_z, -sin_z, 0.0], [sin_z, cos_z, 0.0], [0.0, 0.0, 1.0]])
    return np.asarray(about_z @ about_y @ about_x)


def to_scanner(head: Head, point: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    """Take a point of the head to the scanner's coordinates, leaving out the small warp."""
    return np.asarray(_rotation(head).T @ (point * np.array(head.scale)))


def place(head: Head, axes: Axes) -> Placed:
    """Compute a head's coordinates, and its depth below the brain's hull, on a grid."""
    matrix = (_rotation(head) / np.array(head.scale)[:, None]).astype(np.float32)
    along_x, along_y, along_z = (axis.astype(np.float32) for axis in axes)
    coordinates = []
    for row, warp in zip(matrix, head.warps, strict=True):
        coordinate = warp.on(axes)
        coordinate *= head.warp_mm
        coordinate += (row[0] * along_x)[:, None, None]
        coordinate += (row[1] * along_y)[:, None] + row[2] * along_z
        coordinates.append(coordinate)
    x, y, z = coordinates
    radius = np.sqrt(_ellipsoid(x, y, z, BRAIN_MM, BRAIN_BOTTOM_MM))
    return Placed(axes=axes, x=x, y=y, z=z, brain_depth=MEAN_RADIUS_MM * (1 - radius))


def tissue_shares(
    head: Head, placed: Placed, pushed: tuple[Grid, Grid, Grid]
) -> Float[np.ndarray, "tissue x y z"]:
    """Compute the share of every tissue in every voxel.

    Args:
        head: The person.
        placed: The head's coordinates; the skull and the brain's surface follow them.
        pushed: Coordinates that a tumour's mass has displaced; what is inside the brain follows
            them, the midline too.

    Returns:
        Shares in the order of `TISSUES`, at least 0; what their sum lacks to 1 is air.
    """
    inside_skull, brain = _brain_depths(head, placed, pushed)
    skin_depth = MEAN_SKIN_RADIUS_MM * (
        1 - np.sqrt(_ellipsoid(placed.x, placed.y, placed.z, SKIN_MM, SKIN_BOTTOM_MM))
    )

    in_head = ramp(skin_depth, EDGE_MM)
    under_scalp = np.minimum(in_head, ramp(skin_depth - 5.0, EDGE_MM))
    in_bone = np.minimum(under_scalp, ramp(inside_skull + 5.5, EDGE_MM))
    in_dura = np.minimum(in_bone, ramp(inside_skull, EDGE_MM))
    in_brain = np.minimum(in_dura, ramp(brain, EDGE_MM))
    in_white = np.minimum(in_brain, ramp(brain - 4.2, EDGE_MM))

    shares = np.empty((len(TISSUES), *in_head.shape), dtype=np.float32)
    scalp, muscle, skull, fluid, grey, white, nuclei, vessel = shares
    np.subtract(in_head, under_scalp, out=scalp)
    np.subtract(under_scalp, in_bone, out=muscle)
    np.subtract(in_bone, in_dura, out=skull)
    np.subtract(in_dura, in_brain, out=fluid)
    np.subtract(in_brain, in_white, out=grey)
    white[...] = in_white
    nuclei[...] = 0.0

    # The sagittal sinus, between the hemispheres under the bone: the landmark of t1c.
    vessel[...] = fluid
    vessel *= ramp(3.5 - np.abs(pushed[0]), EDGE_MM)
    vessel *= ramp(7.0 - inside_skull, EDGE_MM)
    vessel *= placed.z > 0.0
    fluid -= vessel

    _add_ventricles_and_nuclei(shares, head, placed.axes, pushed)
    return shares


def _ellipsoid(
    x: Grid, y: Grid, z: Grid, half_axes: tuple[float, float, float], bottom_mm: float
) -> Grid:
    """Squared radius in units of the ellipsoid's own, with another half axis below z = 0."""
    upper, lower = 1 / half_axes[2], 1 / bottom_mm
    squared = z * np.where(z > 0, upper, lower)
    squared *= squared
    squared += (x * 1 / half_axes[0]) ** 2
    squared += (y * 1 / half_axes[1]) ** 2
    return squared


def _brain_depths(head: Head, placed: Placed, pushed: tuple[Grid, Grid, Grid]) -> tuple[Grid, Grid]:
    """Depth below the dura, and depth below the nearest surface of the brain, folds included."""
    sideways = np.abs(placed.x)
    cerebellum = ((sideways - 23) / 27) ** 2 + ((placed.y + 52) / 28) ** 2
    cerebellum += ((placed.z + 36) / 24) ** 2
    hind = 25.0 * (1 - np.sqrt(cerebellum))
    stem = 13.0 - np.sqrt(placed.x**2 + (placed.y + 22 - 0.15 * placed.z) ** 2)
    stem = np.minimum(stem, -placed.z)
    hull = np.maximum(np.maximum(placed.brain_depth, hind), stem)

    # Depth below the walls of the fissure between the hemispheres, which the callosum closes.
    callosum = np.sqrt(((placed.y + 4) / 44) ** 2 + ((placed.z - 2) / 26) ** 2)
    midline = np.abs(pushed[0]) + 44 * np.maximum(1 - callosum, 0)
    midline += np.maximum(-20 - placed.z, 0)
    # And below the walls of the Sylvian fissure, which runs back and up from the temple.
    sylvian = np.abs(pushed[2] + 6 - 0.5 * placed.y)
    sylvian += np.maximum(42 - sideways, 0) + np.maximum(np.abs(placed.y - 6) - 22, 0)
    # And below the nearest fold, down to the depth of a sulcus.
    folds = head.folds.on(placed.axes)
    np.abs(folds, out=folds)
    folds *= 5.0
    folds += np.maximum(hull - 16, 0) * 0.6

    brain = np.minimum(np.minimum(hull, midline), np.minimum(sylvian, folds))
    return hull + head.fluid_mm, brain - 1.0


def _add_ventricles_and_nuclei(
    shares: Float[np.ndarray, "tissue x y z"],
    head: Head,
    axes: Axes,
    pushed: tuple[Grid, Grid, Grid],
) -> None:
    """Replace brain by nuclei, then by ventricles, in place."""
    box = tuple(
        slice(*np.searchsorted(axis, limits))
        for axis, limits in zip(axes, VENTRICLE_BOX_MM, strict=True)
    )
    x, y, z = (coordinate[box] for coordinate in pushed)
    sideways = np.abs(x)
    inner = shares[(slice(None), *box)]

    nearest = np.full(x.shape, -np.inf, dtype=np.float32)
    for centre, half_axes in NUCLEI:
        squared = ((sideways - centre[0]) / half_axes[0]) ** 2
        squared += ((y - centre[1]) / half_axes[1]) ** 2 + ((z - centre[2]) / half_axes[2]) ** 2
        np.maximum(nearest, half_axes[0] * (1 - np.sqrt(squared)), out=nearest)
    _replace(inner, "nuclei", ramp(nearest, EDGE_MM))

    # The third ventricle is a slit on the midline.
    depth = 1.5 + 0.5 * head.ventricle_mm - sideways
    np.minimum(depth, 14.0 - np.abs(y + 6.0), out=depth)
    np.minimum(depth, 10.0 - np.abs(z + 2.0), out=depth)
    for start, end, radius in VENTRICLE_TUBES:
        tube = radius + head.ventricle_mm
        np.maximum(depth, tube - _distance_to_segment(sideways, y, z, start, end), out=depth)
    _replace(inner, "fluid", ramp(depth, EDGE_MM))


def _replace(shares: Float[np.ndarray, "tissue x y z"], tissue: str, share: Grid) -> None:
    """Let `tissue` take `share` of what is brain in each voxel, in place."""
    target = TISSUES.index(tissue)
    for name in ("grey", "white", "nuclei"):
        if name != tissue:
            taken = shares[TISSUES.index(name)] * share
            shares[TISSUES.index(name)] -= taken
            shares[target] += taken


def _distance_to_segment(
    x: Grid,
    y: Grid,
    z: Grid,
    start: tuple[float, float, float],
    end: tuple[float, float, float],
) -> Grid:
    # In Python's floats, which leave float32 arrays as they are.
    steps = [stop - begin for begin, stop in zip(start, end, strict=True)]
    squared_length = sum(step**2 for step in steps)
    offsets = [coordinate - begin for coordinate, begin in zip((x, y, z), start, strict=True)]
    share = np.zeros_like(x)
    for offset, step in zip(offsets, steps, strict=True):
        share += offset * (step / squared_length)
    np.clip(share, 0.0, 1.0, out=share)
    squared = np.zeros_like(x)
    for offset, step in zip(offsets, steps, strict=True):
        squared += (offset - share * step) ** 2
    return np.asarray(np.sqrt(squared, out=squared))
