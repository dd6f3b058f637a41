"""PIQE against known scores, and what may not change one.

The pictures' scores are those of pypiqe 1.2, which gives MATLAB's published scores of five TID2013
pictures (100, 21.62, 35.86, 41.15, 76.95) within 0.005.
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sitesynth.quality.piqe import piqe


PICTURES = Path(__file__).parent / "pictures"


def read(name: str) -> np.ndarray:
    with Image.open(PICTURES / f"{name}.png") as picture:
        return np.asarray(picture.convert("L"), dtype=np.float64)[None]


def whole(stack: np.ndarray) -> np.ndarray:
    return np.ones(stack.shape, dtype=bool)


@pytest.mark.parametrize(("name", "score"), [("moon", 36.67917), ("clock_motion", 11.38037)])
def test_pictures_get_their_known_scores(name: str, score: float) -> None:
    """One's sides are multiples of a block, the other's are not."""
    picture = read(name)

    assert piqe(picture, whole(picture)) == pytest.approx(score, abs=1e-4)


def test_a_picture_without_an_active_block_is_worst() -> None:
    flat = np.full((1, 32, 32), 10.0)

    assert piqe(flat, whole(flat)) == 100


def test_what_lies_outside_the_mask_does_not_count() -> None:
    clean = read("moon")[:, :128, :128]
    mask = np.zeros(clean.shape, dtype=bool)
    mask[:, 28:116, 28:116] = True
    noise = np.random.default_rng(0).uniform(0, 20, clean.shape)
    noisy = np.where(mask, clean, np.minimum(clean + noise, clean.max()))

    assert piqe(noisy, mask) == pytest.approx(piqe(clean, mask))
    assert piqe(noisy, whole(noisy)) != pytest.approx(piqe(clean, whole(clean)), abs=1)


def test_slices_are_pooled() -> None:
    """With k active blocks with distortion d: (d + 1) / (k + 1), twice (2d + 1) / (2k + 1).

    So both together give k, which is a whole number.
    """
    picture = read("clock_motion")
    one, two = (
        piqe(stack, whole(stack)) for stack in (picture, np.concatenate([picture, picture]))
    )

    assert one is not None
    assert two is not None
    # (k + 1) one / 100 - 1 = d = ((2k + 1) two / 100 - 1) / 2, solved for k.
    blocks = (one / 100 - 0.5 - two / 200) / (two / 100 - one / 100)
    assert blocks == pytest.approx(round(blocks), abs=1e-6)
    assert 0 < blocks <= 19 * 25


def test_nothing_to_look_at_has_no_score() -> None:
    assert piqe(np.zeros((1, 32, 32)), np.ones((1, 32, 32), dtype=bool)) is None
    assert piqe(np.ones((1, 32, 32)), np.zeros((1, 32, 32), dtype=bool)) is None
