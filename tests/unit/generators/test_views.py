"""Views of scans: what is warped stays a scan, and what is not is left alone."""

import numpy as np
import torch

from sitesynth import seeds
from sitesynth.generators.views import MAX_SCALE, NUM_UNSHIFTED, Warp, views_of


GRID = (24, 24, 12)
SPACING = (2.0, 2.0, 4.0)


def ball(radius_mm: float) -> torch.Tensor:
    """Return a scan of a soft-edged ball in the middle, and its mask."""
    axes = [
        (torch.arange(size) - (size - 1) / 2) * step
        for size, step in zip(GRID, SPACING, strict=True)
    ]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    distance = (x**2 + y**2 + z**2).sqrt()
    soft = ((radius_mm - distance) / 4 + 0.5).clamp(0, 1)
    return torch.stack([soft, (distance < radius_mm).float()])[None]


def test_nothing_happens_by_an_amount_of_zero() -> None:
    """Splines pass through what they are of."""
    scans = torch.rand(2, 2, *GRID, generator=seeds.generator(0, "scans"))
    scans[:, -1] = (scans[:, -1] > 0.5).float()
    warped = Warp(0.0, SPACING, has_mask=True).apply(scans, rng=seeds.generator(0, "warp"))

    torch.testing.assert_close(warped, scans, atol=1e-4, rtol=0)


def test_a_warped_ball_is_a_ball_with_its_mask() -> None:
    """Turned by millimetres and not by voxels, scaled by no more than told, in one piece."""
    scans = ball(14.0).repeat(8, 1, 1, 1, 1)
    warped = Warp(1.0, SPACING, has_mask=True).apply(scans, rng=seeds.generator(0, "warp"))

    assert warped.min() >= 0
    assert warped.max() <= 1
    assert set(np.unique(warped[:, 1].numpy())) <= {0.0, 1.0}
    agree = ((warped[:, 0] > 0.5) == (warped[:, 1] > 0.5)).float().mean()
    assert agree > 0.98
    volume = warped[:, 1].flatten(1).sum(1) / scans[:, 1].flatten(1).sum(1)
    assert (volume > (1 - MAX_SCALE) ** 3 * 0.7).all()
    assert (volume < (1 + MAX_SCALE) ** 3 * 1.4).all()
    assert volume.std() > 0.01


def test_what_is_turned_keeps_its_shape_on_unequal_voxels() -> None:
    """Turned by voxels, a step of 1 mm toward axes of 4 mm would become one of up to 1.6."""
    step = torch.tensor([1.0, 4.0])
    warp = Warp(1.0, (1.0, 4.0), has_mask=False)
    for number in range(20):
        coordinates = warp._coordinates((40, 10), seeds.generator(number, "turn"))
        millimetres = coordinates * step.reshape(-1, 1, 1)
        for axis in range(2):
            along = millimetres.diff(dim=axis + 1).flatten(1).mean(dim=1) / step[axis]

            # Longer or shorter by at most its scale, and by what bending adds from end to end.
            assert abs(along.norm() - 1) < MAX_SCALE + 0.15, (number, axis)


def test_the_first_views_are_the_scans_and_their_mirror_images() -> None:
    """A warp is for shifted views; every scan is also seen as it is."""
    scans = torch.rand(2, 1, *GRID, generator=seeds.generator(0, "scans"))
    warp = Warp(1.0, SPACING, has_mask=False)
    views = list(views_of(scans, num_views=4, rng=seeds.generator(0, "views"), warp=warp))

    assert torch.equal(views[0], scans)
    assert torch.equal(views[1], scans.flip(2))
    plain = list(views_of(scans, num_views=4, rng=seeds.generator(0, "views")))
    for number in range(NUM_UNSHIFTED, 4):
        assert (views[number] - plain[number]).abs().mean() > 0.05


def test_the_same_randomness_warps_alike_in_two_dimensions_too() -> None:
    """A killed training encodes its scans again."""
    scans = torch.rand(2, 1, 16, 12, generator=seeds.generator(0, "scans"))
    warp = Warp(1.0, (1.0, 1.0), has_mask=False)
    one, two = (
        torch.stack(list(views_of(scans, num_views=4, rng=seeds.generator(0, "views"), warp=warp)))
        for _ in range(2)
    )

    assert torch.equal(one, two)
