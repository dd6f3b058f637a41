"""The head without a tumour."""

from dataclasses import replace

import numpy as np

from sitesynth.phantom.anatomy import TISSUES, Head, draw_head, place, tissue_shares, to_scanner
from sitesynth.phantom.fields import Axes
from sitesynth.phantom.scanner import grid_axes
from sitesynth.seeds import numpy_generator


def _head() -> Head:
    """Return a head that is neither tilted nor warped, whose folds are symmetric."""
    head = draw_head(rng=numpy_generator(0, "head"))
    folds = replace(head.folds, control=np.full_like(head.folds.control, 3.0))
    return replace(head, scale=(1.0, 1.0, 1.0), turns=(0.0, 0.0, 0.0), warp_mm=0.0, folds=folds)


def _shares(head: Head, axes: Axes) -> np.ndarray:
    placed = place(head, axes)
    return tissue_shares(head, placed, (placed.x, placed.y, placed.z))


def test_a_head_that_is_not_warped_is_its_own_mirror_image() -> None:
    axes = grid_axes((5.0, 5.0, 8.0))
    shares = _shares(_head(), (axes[0] - axes[0].mean(), axes[1], axes[2]))

    np.testing.assert_allclose(shares, shares[:, ::-1], atol=1e-4)


def test_shares_are_parts_of_one_voxel() -> None:
    shares = _shares(draw_head(rng=numpy_generator(1, "head")), grid_axes((5.0, 5.0, 8.0)))

    assert shares.min() >= 0.0
    assert shares.sum(axis=0).max() <= 1.0 + 1e-5


def test_known_places_hold_their_tissue() -> None:
    """Body of the lateral ventricle, thalamus, deep white matter, falx, and the air in a corner."""
    expected = {
        (10.0, 0.0, 16.0): "fluid",
        (12.0, -9.0, 2.0): "nuclei",
        (26.0, 26.0, 24.0): "white",
        (0.0, 60.0, 30.0): "fluid",
    }
    for place_mm, tissue in expected.items():
        axes = tuple(np.array([coordinate]) for coordinate in place_mm)
        shares = _shares(_head(), _around(axes))[:, 0, 0, 0]

        assert TISSUES[int(shares.argmax())] == tissue, place_mm
    corner = _shares(_head(), _around(tuple(np.array([c]) for c in (82.0, 98.0, 80.0))))
    assert corner.sum() == 0.0


def _around(axes: tuple[np.ndarray, ...]) -> Axes:
    return axes[0], axes[1], axes[2]


def test_the_brain_is_as_large_as_a_brain() -> None:
    """Grey, white and nuclei of adults are 0.9 to 1.5 litres (Good et al., 2001: 1.2)."""
    spacing = (4.0, 4.0, 4.0)
    for number in range(3):
        shares = _shares(draw_head(rng=numpy_generator(number, "size")), grid_axes(spacing))
        brain = sum(shares[TISSUES.index(name)].sum() for name in ("grey", "white", "nuclei"))

        assert 0.9 < brain * np.prod(spacing) / 1e6 < 1.5


def test_a_place_in_the_head_is_found_again_in_the_scanner() -> None:
    head = replace(draw_head(rng=numpy_generator(2, "head")), warp_mm=0.0)
    point = np.array([30.0, -20.0, 25.0])
    axes = tuple(np.array([coordinate]) for coordinate in to_scanner(head, point))
    placed = place(head, _around(axes))

    found = np.array([placed.x.item(), placed.y.item(), placed.z.item()])
    np.testing.assert_allclose(found, point, atol=1e-4)
