"""The pairs to look at: a planted copy comes first, and faces its original."""

from pathlib import Path

import numpy as np
import pytest

from sitesynth.described import Described
from sitesynth.errors import MissingInputError
from sitesynth.privacy.nearest import NUM_PAIRS, find_nearest_pairs
from sitesynth.privacy.pairs import read_pairs, write_pairs


def describe(rng: np.random.Generator, count: int) -> Described:
    """Return unrelated scans of two channels."""
    return Described(
        rng.standard_normal((count, 3)),
        rng.random((count, 2, 8, 8, 8)),
        np.ones((count, 2), dtype=bool),
        tuple(str(number) for number in range(count)),
    )


@pytest.fixture
def parts() -> tuple[Described, Described, Described]:
    """Return training, held-out and synthetic scans; synthetic 7 is training 3, mirrored."""
    rng = np.random.default_rng(8)
    train, held_out, synthetic = describe(rng, 12), describe(rng, 5), describe(rng, 20)
    synthetic.thumbnails[7] = np.flip(train.thumbnails[3], axis=1)
    return train, held_out, synthetic


def test_a_mirrored_copy_comes_first_beside_its_mirrored_original(
    parts: tuple[Described, Described, Described],
) -> None:
    train, _, synthetic = parts
    found = find_nearest_pairs(*parts)["synthetic"]

    assert len(found.similarities) == NUM_PAIRS
    np.testing.assert_array_equal(found.scans[0], synthetic.thumbnails[7])
    np.testing.assert_array_equal(found.matches[0], np.flip(train.thumbnails[3], axis=1))
    assert found.similarities[0] > 0.99
    assert found.similarities[1] < 0.5


def test_held_out_pairs_are_of_held_out_scans(
    parts: tuple[Described, Described, Described],
) -> None:
    """Each is one of the five, the most alike first."""
    _, held_out, _ = parts
    found = find_nearest_pairs(*parts)["held_out"]

    assert all(any((scan == own).all() for own in held_out.thumbnails) for scan in found.scans)
    assert (np.diff(found.similarities) <= 0).all()


def test_what_is_written_is_read(
    parts: tuple[Described, Described, Described], tmp_path: Path
) -> None:
    """To half precision, which is what a picture needs."""
    found = find_nearest_pairs(*parts)
    write_pairs(tmp_path / "alder.safetensors", found)
    read = read_pairs(tmp_path / "alder.safetensors")

    assert set(read) == {"synthetic", "held_out"}
    np.testing.assert_allclose(read["synthetic"].matches, found["synthetic"].matches, atol=1e-3)
    np.testing.assert_array_equal(read["held_out"].similarities, found["held_out"].similarities)


def test_a_missing_file_names_the_stage_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"alder.safetensors.*assess_privacy"):
        read_pairs(tmp_path / "alder.safetensors")
