"""Where a tumour lies and what it is made of."""

from dataclasses import replace

import numpy as np
import pytest

from sitesynth.phantom.anatomy import TISSUES, draw_head, place, tissue_shares
from sitesynth.phantom.attributes import ATTRIBUTES, Look, look_of
from sitesynth.phantom.scanner import grid_axes
from sitesynth.phantom.tumour import COMPARTMENTS, Painted, draw_tumour, paint, push
from sitesynth.seeds import numpy_generator


SPACING_MM = (4.0, 4.0, 4.0)
MIDDLE = look_of(np.zeros(len(ATTRIBUTES)))


def _painted(look: Look, *, number: int = 0) -> tuple[Painted, np.ndarray]:
    """Return the tumour of person `number`, and the tissues of the head it is in."""
    rng = numpy_generator(number, "tumour")
    head = draw_head(rng=rng)
    tumour = draw_tumour(look, head, rng=rng)
    placed = place(head, grid_axes(SPACING_MM))
    pushed = push(tumour, placed)
    tissues = tissue_shares(head, placed, pushed)
    return paint(tumour, placed, pushed, tissues), tissues


def _volume(painted: Painted, *names: str) -> float:
    """Return the volume of some compartments in millilitres."""
    shares = sum(painted.shares[COMPARTMENTS.index(name)].sum() for name in names)
    return float(shares * np.prod(SPACING_MM) / 1e3)


def test_compartments_share_a_voxel() -> None:
    painted, _ = _painted(MIDDLE)

    assert painted.shares.min() >= 0.0
    assert painted.shares.sum(axis=0).max() <= 1.0 + 1e-5


def test_the_mask_is_where_half_a_voxel_is_tumour() -> None:
    painted, _ = _painted(MIDDLE)
    total = painted.shares.sum(axis=0)

    assert painted.mask[total > 0.501].all()
    assert not painted.mask[total < 0.499].any()


@pytest.mark.parametrize("number", range(4))
def test_no_tumour_leaves_the_skull(number: int) -> None:
    """Even the one that reaches farthest lies where scalp, muscle and bone are not."""
    painted, tissues = _painted(replace(MIDDLE, depth_mm=-4.0, oedema_mm=25.0), number=number)
    outside = tissues[[TISSUES.index(name) for name in ("scalp", "muscle", "skull")]].sum(axis=0)

    assert outside[painted.box][painted.mask].max() < 0.5


def test_the_core_has_the_volume_of_its_radius() -> None:
    """Between 18 and 23 mm: 24 to 51 ml, less what the skull and the falx cut off."""
    deep = replace(MIDDLE, depth_mm=10.0, heterogeneity=0.0)

    for number in range(3):
        core = _volume(_painted(deep, number=number)[0], "rim", "margin", "core", "necrosis")
        assert 16.0 < core < 62.0


def test_oedema_grows_with_its_width_and_is_absent_without() -> None:
    widths = [0.0, 8.0, 16.0, 25.0]
    volumes = [_volume(_painted(replace(MIDDLE, oedema_mm=w))[0], "oedema") for w in widths]

    assert volumes == sorted(volumes)
    assert volumes[-1] > 4.0 * volumes[1]
    assert volumes[0] < 0.3 * volumes[1]


def test_necrosis_takes_the_centre_that_its_share_says() -> None:
    """A radius of 0.6 is 0.6^3 = 22 % of a sphere; the border is soft and the surface rough."""
    painted, _ = _painted(replace(MIDDLE, necrosis=0.6, depth_mm=12.0, heterogeneity=0.0))
    core = _volume(painted, "rim", "margin", "core", "necrosis")

    assert _volume(painted, "necrosis") / core == pytest.approx(0.6**3, abs=0.1)
    none, _ = _painted(replace(MIDDLE, necrosis=0.0))
    assert _volume(none, "necrosis") == 0.0


def test_mass_pushes_outward_and_fades() -> None:
    """Each voxel shows what lay nearer to the centre, and far away what lay there."""
    rng = numpy_generator(0, "push")
    head = replace(draw_head(rng=rng), turns=(0.0, 0.0, 0.0), scale=(1.0, 1.0, 1.0), warp_mm=0.0)
    tumour = draw_tumour(MIDDLE, head, rng=rng)
    centre = tumour.centre_mm[0]
    places = centre + np.array([0.0, tumour.radius_mm, 5 * tumour.radius_mm])
    placed = place(head, (places, np.array([tumour.centre_mm[1]]), np.array([tumour.centre_mm[2]])))
    moved = (placed.x - push(tumour, placed)[0]).ravel()

    assert moved[0] == pytest.approx(0.0, abs=1e-4)
    assert 2.0 < moved[1] < 6.0
    assert moved[2] == pytest.approx(0.0, abs=1e-3)
