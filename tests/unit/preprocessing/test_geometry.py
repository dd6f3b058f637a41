"""Geometry: phantoms whose place in the world is known."""

import numpy as np
import pytest
from scipy import ndimage

from sitesynth.preprocessing.geometry import (
    Box,
    bounding_box,
    find_foreground,
    place_grid,
    resample,
    resample_mask,
    to_ras,
)
from sitesynth.volumes import Volume


def affine_of(spacing: tuple[float, ...], origin: tuple[float, ...]) -> np.ndarray:
    """A grid along the world's axes."""
    affine = np.eye(4)
    affine[range(len(spacing)), range(len(spacing))] = spacing
    affine[: len(origin), 3] = origin
    return affine


def world_ramp(shape: tuple[int, ...], affine: np.ndarray) -> Volume:
    """A volume whose voxels are x + 10 y + 100 z of their place, mm."""
    indices = np.moveaxis(np.indices(shape), 0, -1)
    num_axes = len(shape)
    world = indices @ affine[:num_axes, :num_axes].T + affine[:num_axes, 3]
    return Volume((world @ (10.0 ** np.arange(num_axes))).astype(np.float32), affine)


def cube(shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    """True in a cube of voxels, from `low` to below `high` on each axis."""
    inside = np.zeros(shape, dtype=bool)
    inside[(slice(low, high),) * len(shape)] = True
    return inside


class TestToRas:
    @pytest.mark.parametrize(
        ("axes", "signs"),
        [((0, 1, 2), (-1, -1, 1)), ((2, 0, 1), (1, -1, -1)), ((1, 0, 2), (-1, 1, -1))],
    )
    def test_voxels_keep_their_place_in_the_world(
        self, axes: tuple[int, ...], signs: tuple[int, ...]
    ) -> None:
        """Each voxel says where it is, so after turning it must still be there."""
        affine = np.eye(4)
        affine[:3, :3] = 0
        for axis, (world, sign) in enumerate(zip(axes, signs, strict=True)):
            affine[world, axis] = sign * (axis + 2)
        affine[:3, 3] = (5, -3, 7)
        volume = world_ramp((3, 4, 5), affine)

        turned = to_ras(volume)
        assert turned.orientation == "RAS"
        expected = world_ramp(turned.voxels.shape, turned.affine)
        np.testing.assert_array_equal(turned.voxels, expected.voxels)

    def test_a_turn_there_and_back_changes_nothing(self) -> None:
        volume = world_ramp((3, 4, 5), affine_of((1.5, 2, 3), (4, 5, 6)))
        flipped = volume.affine @ np.diag([-1.0, 1, -1, 1])
        flipped[:3, 3] = (volume.affine @ [2, 0, 4, 1])[:3]
        back = to_ras(Volume(volume.voxels[::-1, :, ::-1], flipped))

        np.testing.assert_array_equal(back.voxels, volume.voxels)
        np.testing.assert_allclose(back.affine, volume.affine, atol=1e-12)

    def test_an_oblique_volume_takes_each_axis_once(self) -> None:
        """At 45 degrees two voxel axes are as near to the same world axis."""
        half = np.sqrt(0.5)
        affine = np.eye(4)
        affine[:2, :2] = [[half, -half], [half, half]]

        assert to_ras(Volume(np.zeros((2, 3, 4), "f4"), affine)).voxels.size == 24


class TestForeground:
    def test_the_head_is_one_piece_with_its_holes(self) -> None:
        """A box with a dark cave inside, a bright label far off, and noise in the air."""
        head = np.stack([cube((20, 20), 4, 16)] * 8, axis=-1)
        voxels = np.where(head, 100, 3).astype(np.float32)
        voxels[8:12, 8:12, :] = 1
        voxels[0:2, 18:20, 4] = 200

        np.testing.assert_array_equal(find_foreground([Volume(voxels, np.eye(4))]), head)

    def test_gray_air_is_air(self) -> None:
        """In a real-part image air is in the middle, and tissue on both sides of it."""
        head = cube((20, 20), 5, 15)
        voxels = np.full((20, 20), 100, np.float32)
        voxels[5:15, 5:10], voxels[5:15, 10:15] = 40, 160

        np.testing.assert_array_equal(find_foreground([Volume(voxels, np.eye(4))]), head)

    def test_a_picture_that_fills_its_frame_has_no_air(self) -> None:
        ramp = np.linspace(50, 200, 400, dtype=np.float32).reshape(20, 20)
        ramp[9, 9] = 0

        assert find_foreground([Volume(ramp, np.eye(4))]).mean() > 0.9

    def test_every_sequence_adds_what_it_sees(self) -> None:
        one, two = cube((20, 20), 5, 12), cube((20, 20), 8, 15)
        volumes = [Volume(np.where(m, 100, 0).astype("f4"), np.eye(4)) for m in (one, two)]

        np.testing.assert_array_equal(find_foreground(volumes), one | two)

    def test_a_sequence_on_another_grid_is_brought_over(self) -> None:
        """The second sees the same slab at half the resolution, and fades out at its rim."""
        fine, coarse = np.zeros((20, 20, 20), dtype=bool), np.zeros((10, 10, 10), np.float32)
        fine[:, :, 4:16], coarse[:, :, 2:8] = True, 100
        other = Volume(coarse, affine_of((2, 2, 2), (0.5, 0.5, 0.5)))
        blank = Volume(np.zeros((20, 20, 20), "f4"), np.eye(4))

        found = find_foreground([blank, other])[1:-1, 1:-1]
        np.testing.assert_array_equal(found, fine[1:-1, 1:-1])

    def test_a_constant_volume_has_none(self) -> None:
        assert not find_foreground([Volume(np.full((9, 9, 9), 7, "f4"), np.eye(4))]).any()


class TestGrid:
    def test_a_box_reaches_to_the_outer_edges_of_its_voxels(self) -> None:
        """Voxels 4 to 15 of 2 mm from origin 10: centres at 18 and 40."""
        box = bounding_box(cube((20, 20, 20), 4, 16), affine_of((2, 2, 2), (10, 10, 10)))

        assert box is not None
        assert box.low.tolist() == [17, 17, 17]
        assert box.high.tolist() == [41, 41, 41]

    def test_an_empty_mask_has_no_box(self) -> None:
        assert bounding_box(np.zeros((3, 3), dtype=bool), np.eye(4)) is None

    @pytest.mark.parametrize("num_axes", [2, 3])
    def test_the_centre_lands_in_the_middle_voxel(self, num_axes: int) -> None:
        """A point at (30, 31, 32) mm must be voxel 4 of a grid of 9."""
        affine = affine_of((1.0,) * num_axes, (0,) * num_axes)
        voxels = np.zeros((60,) * num_axes, np.float32)
        voxels[(30, 31, 32)[:num_axes]] = 1
        box = bounding_box(voxels > 0, affine)
        assert box is not None
        target = place_grid(
            head=box, centre=box.centre, shape=(9,) * num_axes, spacing_mm=(1.0,) * num_axes
        )

        found = resample(Volume(voxels, affine), target, (9,) * num_axes)
        assert found[(4,) * num_axes] == 1
        assert found.sum() == 1

    def test_a_grid_without_a_spacing_fits_the_longest_side(self) -> None:
        """A head of 160 x 200 x 120 mm in 32 x 40 x 16 voxels: 5, 5 and 7.5 mm; so 7.5."""
        head = Box(np.array([0.0, 0, 0]), np.array([160.0, 200, 120]))
        affine = place_grid(head=head, centre=head.centre, shape=(32, 40, 16), spacing_mm=None)

        assert np.diag(affine).tolist() == [7.5, 7.5, 7.5, 1]
        middle = affine @ [15.5, 19.5, 7.5, 1]
        assert middle[:3].tolist() == [80, 100, 60]


class TestResample:
    def test_a_ramp_is_known_at_every_place(self) -> None:
        """Linear interpolation of a ramp is the ramp, on any grid inside it."""
        volume = world_ramp((12, 12, 12), affine_of((2, 2, 2), (-11, -11, -11)))
        target = affine_of((1.1, 0.7, 1.9), (-4.2, -3, -5))

        found = resample(volume, target, (6, 6, 4))
        np.testing.assert_allclose(found, world_ramp((6, 6, 4), target).voxels, atol=1e-3)

    def test_a_blurred_ramp_is_the_ramp(self) -> None:
        """A symmetric blur keeps a ramp, so downsampling one is known too."""
        volume = world_ramp((80, 40, 40), affine_of((1, 1, 1), (0, 0, 0)))
        target = affine_of((4, 2, 2), (30, 15, 15))

        found = resample(volume, target, (5, 5, 5))
        np.testing.assert_allclose(found, world_ramp((5, 5, 5), target).voxels, rtol=1e-5)

    def test_its_own_grid_gives_the_volume(self) -> None:
        volume = world_ramp((5, 6, 7), affine_of((1.3, 2.1, 0.7), (3, -8, 2)))

        np.testing.assert_array_equal(resample(volume, volume.affine, (5, 6, 7)), volume.voxels)

    def test_a_checkerboard_becomes_gray(self) -> None:
        """At a quarter of the resolution it cannot be seen; single samples would show it."""
        board = (np.indices((64, 64)).sum(axis=0) % 2).astype(np.float32)
        found = resample(Volume(board, np.eye(4)), affine_of((4, 4), (8, 8)), (12, 12))

        np.testing.assert_allclose(found, 0.5, atol=1e-3)

    def test_a_part_is_a_part_of_the_whole(self) -> None:
        """Blurring only what the grid sees gives what blurring everything does."""
        volume = Volume(
            ndimage.gaussian_filter(np.indices((40, 40, 40)).sum(axis=0) % 7, 1.0).astype("f4"),
            np.eye(4),
        )
        target = affine_of((3, 3, 3), (0, 0, 0))

        whole = resample(volume, target, (13, 13, 13))
        part = resample(volume, target @ affine_of((1, 1, 1), (5, 6, 7)), (4, 4, 4))
        np.testing.assert_allclose(part, whole[5:9, 6:10, 7:11], atol=1e-5)

    def test_outside_is_nothing(self) -> None:
        volume = Volume(np.ones((4, 4, 4), "f4"), np.eye(4))

        assert not resample(volume, affine_of((1, 1, 1), (90, 0, 0)), (3, 3, 3)).any()
        beside = resample(volume, affine_of((1, 1, 1), (2, 0, 0)), (4, 4, 4))
        assert beside[:, 0, 0].tolist() == [1, 1, 0, 0]

    def test_half_a_voxel_is_inside_and_less_is_not(self) -> None:
        """Grid voxels of 2 mm over mask voxels of 1 mm; the edge of the mask is at 3.5 mm."""
        mask = cube((12, 12), 4, 12)
        found = resample_mask(mask, np.eye(4), affine_of((2, 2), (0.5, 0.5)), (6, 6))

        np.testing.assert_array_equal(found, cube((6, 6), 2, 6))
