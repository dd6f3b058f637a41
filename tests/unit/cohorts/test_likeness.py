"""The hash of an image survives what archives do to it, and two patients do not share one."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from scipy import ndimage

from sitesynth.cohorts.doubles import NEAR, Look, find_doubles, refuse_doubles
from sitesynth.cohorts.likeness import likeness_of, unpack
from sitesynth.errors import LeakageError
from sitesynth.volumes import Volume


def draw_head(seed: int, *, dims: int = 3) -> np.ndarray:
    """Return a head of its own: a bright ellipsoid with smooth structure, in dark air."""
    rng = np.random.default_rng(seed)
    shape = (40, 48, 36)[:dims]
    axes = np.meshgrid(*[np.linspace(-1.2, 1.2, size) for size in shape], indexing="ij")
    inside = sum(axis**2 for axis in axes) < 1
    texture = ndimage.gaussian_filter(rng.normal(size=shape), 2.5)
    return np.where(inside, (100 + 40 * texture / texture.std()).clip(1), 0.0).astype(np.float32)


def volume(voxels: np.ndarray, affine: np.ndarray | None = None) -> Volume:
    return Volume(
        np.ascontiguousarray(voxels, dtype=np.float32), np.eye(4) if affine is None else affine
    )


def distance(first: Volume, second: Volume) -> float:
    num_axes = first.voxels.ndim
    a, b = (unpack(likeness_of(one) or "", num_axes=num_axes) for one in (first, second))
    return float((a != b).mean())


CHANGES: dict[str, Callable[[np.ndarray], Volume]] = {
    "larger voxels": lambda x: volume(ndimage.zoom(x, 0.7, order=1), np.diag([1.4, 1.4, 1.4, 1])),
    "another unit and gamma": lambda x: volume(7 * x**0.8),
    "noise": lambda x: volume(x + np.random.default_rng(9).normal(0, 4, x.shape)),
    "more air": lambda x: volume(np.pad(x, 6)),
    "left, posterior, superior": lambda x: volume(x[::-1, ::-1], np.diag([-1.0, -1, 1, 1])),
    "axes in another order": lambda x: volume(x.transpose(2, 0, 1), np.eye(4)[:, [2, 0, 1, 3]]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_archives_do_to_a_scan_is_near(change: str) -> None:
    head = draw_head(1)

    assert distance(volume(head), CHANGES[change](head)) < NEAR


def test_turning_the_axes_changes_no_bit() -> None:
    head = draw_head(1)

    for change in ("left, posterior, superior", "axes in another order"):
        assert distance(volume(head), CHANGES[change](head)) == 0.0


@pytest.mark.parametrize("dims", [2, 3])
def test_two_heads_are_far(dims: int) -> None:
    """Ten heads of one outline and of independent structure: no pair of 45 comes near."""
    heads = [volume(draw_head(seed, dims=dims)) for seed in range(10)]

    assert min(distance(*pair) for pair in combinations(heads, 2)) > 0.25


def test_what_shows_nothing_has_no_hash() -> None:
    assert likeness_of(volume(np.zeros((5, 5, 5)))) is None


def look(number: int, patient: str, seed: int, columns: tuple[str, ...] = ("t1", "t2")) -> Look:
    """Return a scan whose columns are two different heads of that seed."""
    hashes = {
        c: likeness_of(volume(draw_head(10 * seed + len(c + c[-1:]) + ord(c[-1])))) or ""
        for c in columns
    }
    return Look("alder" if number % 2 else "elm", f"scan-{number}", patient, hashes, 3)


def test_one_patient_under_two_names_is_found_across_sites_and_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The third looks like the sixth; a patient's own two scans may look alike."""
    looks = [look(n, f"p{n}", seed=n) for n in range(5)]
    looks += [look(5, "p5", seed=2), look(6, "p0", seed=0)]
    expected = [
        {
            "distance": 0.0,
            "scans": [
                {"site": "elm", "scan_id": "scan-2"},
                {"site": "alder", "scan_id": "scan-5"},
            ],
        }
    ]

    assert find_doubles(looks) == expected
    monkeypatch.setattr("sitesynth.cohorts.doubles.BLOCK", 2)
    assert find_doubles(looks) == expected
    with pytest.raises(LeakageError, match="'scan-2' at elm and scan 'scan-5' at alder: "):
        refuse_doubles(expected)


def test_one_shared_sequence_is_no_evidence_where_there_are_two() -> None:
    looks = [look(0, "p0", seed=1, columns=("t1",)), look(1, "p1", seed=1, columns=("t1", "t2"))]

    assert find_doubles(looks) == []
