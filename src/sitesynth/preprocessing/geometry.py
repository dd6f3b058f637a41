"""Where a scan's head is, and how it comes to the study's grid.

Everything happens in world millimetres (RAS+), in 3D and in planes alike: the grid's axes run
toward the right, anterior and superior, whatever the scanner's did. Sequences of one scan share
one target grid and are each resampled once, from their own affine.

Axes: x, y (and z) toward right, anterior (and superior).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product
from math import log, sqrt
from typing import final

import numpy as np
from jaxtyping import Bool, Float32, Float64, Shaped
from scipy import ndimage

from sitesynth.volumes import Volume


__all__ = [
    "Box",
    "bounding_box",
    "find_foreground",
    "place_grid",
    "resample",
    "resample_mask",
    "to_ras",
]

SIGNAL_PERCENTILE = 99.0
"""Signal that counts as bright: fat and vessels are brighter still, in few voxels."""

FOREGROUND_SIGNAL = 0.1
"""Least signal of the foreground, as a share of the bright signal; noise in air lies below."""

BORDER_PERCENTILES = (5.0, 95.0)
"""Between these a border is called quiet or not; what else is there may be a nose or a label."""

NUM_PLANE_AXES = 2

FWHM_PER_SIGMA = 2 * sqrt(2 * log(2))

BLUR_REACH = 4.0
"""Standard deviations after which the blur's Gaussian is cut."""

HALF = 0.5
"""Share of a voxel that must be inside for the voxel to be."""

SAME_PLACE = 1e-3
"""Affines that differ by less, in mm per voxel, are one grid."""


@final
@dataclass(frozen=True, eq=False)
class Box:
    """A box in world millimetres, its sides along the world's axes."""

    low: Float64[np.ndarray, " axes"]
    high: Float64[np.ndarray, " axes"]

    @property
    def centre(self) -> Float64[np.ndarray, " axes"]:
        """Return the middle of the box."""
        middle: np.ndarray = (self.low + self.high) / 2
        return middle

    @property
    def extent_mm(self) -> Float64[np.ndarray, " axes"]:
        """Return the lengths of the sides."""
        extent: np.ndarray = self.high - self.low
        return extent


def to_ras(volume: Volume) -> Volume:
    """Turn and flip the axes so that each runs along its own world axis, upward.

    No voxel changes its value or its place in the world; an oblique volume stays oblique.
    """
    num_axes = volume.voxels.ndim
    rotation = volume.affine[:num_axes, :num_axes] / np.array(volume.spacing_mm)
    # By world axis, the voxel axis that runs along it; the best pairing, not each axis's best,
    # so that no voxel axis is taken twice at 45 degrees.
    order = max(
        permutations(range(num_axes)),
        key=lambda axes: sum(abs(rotation[world, axis]) for world, axis in enumerate(axes)),
    )
    turn = np.eye(4)
    turn[:num_axes] = 0
    voxels = volume.voxels.transpose(order)
    for world, axis in enumerate(order):
        if rotation[world, axis] < 0:
            turn[axis, world] = -1
            turn[axis, 3] = volume.voxels.shape[axis] - 1
            voxels = np.flip(voxels, world)
        else:
            turn[axis, world] = 1
    return Volume(voxels, volume.affine @ turn)


def find_foreground(volumes: Sequence[Volume]) -> Bool[np.ndarray, "*axes"]:
    """Find the head (or body): all that gives signal in some sequence, in one piece, holes filled.

    A voxel gives signal if it differs from air by more than `FOREGROUND_SIGNAL` of what the
    sequence's bright voxels do. Air is what the volume's sides show, where they are quiet, so that
    the gray background of real-part images counts as air too; else it is the darkest value. The
    largest connected piece is kept: ghosts, labels and noise are not the head. Skull, ventricles
    and sinuses, dark as air, are inside by being enclosed in a plane of the last axis.

    Args:
        volumes: The sequences of one scan, at least one, oriented by `to_ras`.

    Returns:
        The foreground on the first volume's grid; empty where no sequence has any contrast.
    """
    reference = volumes[0]
    signal = np.zeros(reference.voxels.shape, dtype=bool)
    for volume in volumes:
        signal |= resample_mask(
            _has_signal(volume.voxels), volume.affine, reference.affine, signal.shape
        )
    return _without_holes(_largest_piece(signal))


def bounding_box(
    inside: Bool[np.ndarray, "*axes"], affine: Float64[np.ndarray, "4 4"]
) -> Box | None:
    """Return the smallest box around the voxels that are true, edges included; None if none is."""
    num_axes = inside.ndim
    ends = []
    for axis in range(num_axes):
        others = tuple(other for other in range(num_axes) if other != axis)
        indices = np.flatnonzero(inside.any(axis=others))
        if indices.size == 0:
            return None
        ends.append((indices[0] - 0.5, indices[-1] + 0.5))
    corners = np.array([*product(*ends)])
    world = corners @ affine[:num_axes, :num_axes].T + affine[:num_axes, 3]
    return Box(world.min(axis=0), world.max(axis=0))


def place_grid(
    *,
    head: Box,
    centre: Float64[np.ndarray, " axes"],
    shape: tuple[int, ...],
    spacing_mm: tuple[float, ...] | None,
) -> Float64[np.ndarray, "4 4"]:
    """Place the target grid in the world.

    Args:
        head: Box around the foreground.
        centre: Where the middle of the grid shall lie, mm.
        shape: Voxels of the grid.
        spacing_mm: Distance of its voxels; None takes, for all axes alike, the smallest distance
            at which the grid is as long as the head along every axis.

    Returns:
        The affine of the grid; its axes are the world's.
    """
    num_axes = len(shape)
    if spacing_mm is None:
        spacing = np.full(num_axes, (head.extent_mm / shape).max())
    else:
        spacing = np.array(spacing_mm)
    affine = np.eye(4)
    affine[range(num_axes), range(num_axes)] = spacing
    affine[:num_axes, 3] = centre - spacing * (np.array(shape) - 1) / 2
    return affine


def resample(
    volume: Volume, affine: Float64[np.ndarray, "4 4"], shape: tuple[int, ...]
) -> Float32[np.ndarray, "*grid"]:
    """Interpolate a volume linearly at the voxels of another grid; outside it is zero.

    Where the grid is coarser, the volume is blurred first along that axis, so that a voxel stands
    for its surroundings and not for one sample of them: by the Gaussian that takes the point
    spread of the volume's voxels to the grid's (Cardoso et al., 2015, "Scale factor point spread
    function matching", equation 4).

    Args:
        volume: Oriented by `to_ras`.
        affine: The grid's affine, its axes nearly along the world's.
        shape: The grid's voxels per axis.
    """
    num_axes = volume.voxels.ndim
    ratio = np.linalg.norm(affine[:3, :num_axes], axis=0) / np.array(volume.spacing_mm)
    sigma = np.sqrt(np.maximum(ratio**2 - 1, 0)) / FWHM_PER_SIGMA
    matrix = np.linalg.inv(volume.affine) @ affine
    matrix, offset = matrix[:num_axes, :num_axes], matrix[:num_axes, 3]
    # Only what the grid's voxels see is blurred: the grid may cover a corner of a large volume.
    corners = np.array([*product(*((0, size - 1) for size in shape))]) @ matrix.T + offset
    reach = np.ceil(BLUR_REACH * sigma) + 1
    first = np.maximum(np.floor(corners.min(axis=0)) - reach, 0).astype(int)
    last = np.minimum(np.ceil(corners.max(axis=0)) + reach, volume.voxels.shape).astype(int)
    if (last <= first).any():
        return np.zeros(shape, dtype=np.float32)
    seen = volume.voxels[tuple(slice(*ends) for ends in zip(first, last, strict=True))]
    seen = ndimage.gaussian_filter(seen, sigma, mode="nearest", truncate=BLUR_REACH)
    # grid-constant: within one voxel beyond its end the volume fades out; then it is nothing.
    resampled: np.ndarray = ndimage.affine_transform(
        seen, matrix, offset - first, output_shape=shape, order=1, mode="grid-constant"
    )
    return resampled


def resample_mask(
    inside: Bool[np.ndarray, "*axes"],
    own: Float64[np.ndarray, "4 4"],
    affine: Float64[np.ndarray, "4 4"],
    shape: tuple[int, ...],
) -> Bool[np.ndarray, "*grid"]:
    """Bring a mask to another grid: a voxel is inside if at least half of it is.

    Args:
        inside: The mask, oriented by `to_ras`.
        own: Its affine.
        affine: The grid's affine, its axes nearly along the world's.
        shape: The grid's voxels per axis.
    """
    if inside.shape == shape and np.allclose(own, affine, rtol=0, atol=SAME_PLACE):
        return inside
    share = resample(Volume(inside.astype(np.float32), own), affine, shape)
    is_inside: np.ndarray = share >= HALF
    return is_inside


def _has_signal(voxels: Float32[np.ndarray, "*axes"]) -> Bool[np.ndarray, "*axes"]:
    """Tell bright from air in one sequence."""
    sides = _sides(voxels)
    low, air, high = np.percentile(sides, (BORDER_PERCENTILES[0], 50, BORDER_PERCENTILES[1]))
    signal = np.abs(voxels - np.float32(air))
    if high - low > FOREGROUND_SIGNAL * np.percentile(signal, SIGNAL_PERCENTILE):
        signal = voxels - voxels.min()
    has_signal: np.ndarray = signal > FOREGROUND_SIGNAL * np.percentile(signal, SIGNAL_PERCENTILE)
    return has_signal


def _sides(voxels: Shaped[np.ndarray, "*axes"]) -> Shaped[np.ndarray, " side"]:
    """Return what lies on the sides of an image: right, left, front and back, not top or bottom.

    A scan of the head ends in the neck, but seldom in an ear.
    """
    ends = [voxels.take(end, axis) for axis in range(NUM_PLANE_AXES) for end in (0, -1)]
    return np.concatenate([end.ravel() for end in ends])


def _largest_piece(inside: Bool[np.ndarray, "*axes"]) -> Bool[np.ndarray, "*axes"]:
    """Keep the largest set of voxels that are connected by their faces."""
    pieces, num_pieces = ndimage.label(inside)
    if num_pieces == 0:
        return inside
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    is_largest: np.ndarray = pieces == sizes.argmax()
    return is_largest


def _without_holes(inside: Bool[np.ndarray, "*axes"]) -> Bool[np.ndarray, "*axes"]:
    """Add what is enclosed within a plane of the first two axes."""
    cross = ndimage.generate_binary_structure(NUM_PLANE_AXES, 1)
    if inside.ndim > NUM_PLANE_AXES:
        nothing = np.zeros_like(cross)
        cross = np.stack([nothing, cross, nothing], axis=-1)
    outside, num_pieces = ndimage.label(~inside, structure=cross)
    is_open = np.zeros(num_pieces + 1, dtype=bool)
    is_open[_sides(outside)] = True
    is_open[0] = False
    is_inside: np.ndarray = ~is_open[outside]
    return is_inside
