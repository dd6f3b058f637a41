"""Distances between sets whose distance is known."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from sitesynth.quality.fidelity import (
    compare_manifolds,
    fid,
    fid_with_interval,
    kid,
    kid_with_interval,
)


def names(count: int, prefix: str = "p") -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


def distance(x: np.ndarray, y: np.ndarray) -> float:
    return kid(x, y, patients_x=names(len(x)), patients_y=names(len(y), "q"))


@pytest.fixture
def numpy_rng() -> np.random.Generator:
    return np.random.default_rng(3)


class TestKid:
    """The kernel distance."""

    def test_it_is_the_sum_of_its_kernel_values_by_hand(self) -> None:
        """For X = {0, 1} and Y = {2, 3}, k = (ab + 1)^3: 1 + 343 - 2 (1 + 1 + 27 + 64) / 4."""
        x, y = np.array([[0.0], [1.0]]), np.array([[2.0], [3.0]])

        assert distance(x, y) == pytest.approx(1 + 343 - 2 * (1 + 1 + 27 + 64) / 4)

    def test_equal_distributions_are_at_zero_on_average(
        self, numpy_rng: np.random.Generator
    ) -> None:
        """Unbiased at 12 scans of 20 features, where FID is far from 0."""
        pairs = [
            (numpy_rng.standard_normal((12, 20)), numpy_rng.standard_normal((12, 20)))
            for _ in range(100)
        ]
        kids = np.array([distance(x, y) for x, y in pairs])

        assert abs(kids.mean()) < 3 * kids.std() / np.sqrt(len(kids))
        assert np.mean([fid(x, y) for x, y in pairs[:20]]) > 5

    def test_it_grows_with_a_planted_shift(self, numpy_rng: np.random.Generator) -> None:
        x, y = numpy_rng.standard_normal((50, 10)), numpy_rng.standard_normal((50, 10))
        distances = [distance(x, y + shift) for shift in (0.0, 0.3, 0.6, 1.2)]

        assert distances == sorted(distances)

    def test_scans_of_one_patient_are_not_compared(self) -> None:
        """A patient scanned twice adds no pair: the mean is over pairs of different patients."""
        x, y = np.array([[0.0], [1.0], [1.0]]), np.array([[2.0], [3.0]])
        twice = kid(x, y, patients_x=["a", "b", "b"], patients_y=["c", "d"])

        # Within X, both pairs have k = 1; between, (1 + 1 + 27 + 64 + 27 + 64) / 6.
        assert twice == pytest.approx(1 + 343 - 2 * 184 / 6)

    def test_its_interval_contains_zero_for_equal_distributions_mostly(
        self, numpy_rng: np.random.Generator
    ) -> None:
        """Nominally 95 %; a bootstrap that compared a patient with itself would give 0 %."""
        hits = 0
        for _ in range(40):
            x, y = numpy_rng.standard_normal((40, 8)), numpy_rng.standard_normal((12, 8))
            found = kid_with_interval(
                x,
                y,
                patients_x=names(40),
                patients_y=names(12),
                num_resamples=100,
                rng=numpy_rng,
            )
            hits += found.low <= 0 <= found.high
        assert hits >= 34

    def test_a_missing_feature_is_its_mean(self) -> None:
        x, y = np.array([[np.nan, 1.0], [1.0, 0.0]]), np.array([[1.0, 1.0], [2.0, 0.0]])

        assert distance(x, y) == distance(np.nan_to_num(x), y)


class TestFid:
    """The Frechet distance."""

    def test_it_equals_the_textbook_formula(self, numpy_rng: np.random.Generator) -> None:
        """With a matrix square root, which needs more scans than features to be accurate."""
        x = numpy_rng.standard_normal((60, 5)) @ np.diag([1, 2, 3, 1, 1]) + 1
        y = numpy_rng.standard_normal((40, 5))
        a, b = np.cov(x.T), np.cov(y.T)
        shift = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum()
        expected = shift + np.trace(a + b - 2 * sqrtm(a @ b).real)

        assert fid(x, y) == pytest.approx(expected, rel=1e-6)

    def test_a_shift_alone_is_its_square(self, numpy_rng: np.random.Generator) -> None:
        x = numpy_rng.standard_normal((10, 30))

        assert fid(x, x + 0.5) == pytest.approx(30 * 0.25)

    def test_its_interval_is_about_its_value(self, numpy_rng: np.random.Generator) -> None:
        """A plain bootstrap of FID lies above the value, because it is biased twice."""
        x, y = numpy_rng.standard_normal((40, 20)), numpy_rng.standard_normal((12, 20))
        found = fid_with_interval(
            x, y, patients_x=names(40), patients_y=names(12), num_resamples=100, rng=numpy_rng
        )

        assert found.low < found.value < found.high


class TestManifolds:
    """Precision, recall, density and coverage."""

    def test_four_points_by_hand(self) -> None:
        """With k = 1, the reference's radii are 1, 1, 1, 8, and the candidates' 2, 2, 27.5.

        0.5 lies in the balls of 0 and 1; 2.5 in those of 2 and 10; 30 in none.
        """
        reference = np.array([[0.0], [1.0], [2.0], [10.0]])
        found = compare_manifolds(reference, np.array([[0.5], [2.5], [30.0]]), neighbours=1)

        assert found.precision == pytest.approx(2 / 3)
        assert found.density == pytest.approx(4 / 3)
        assert found.coverage == 1
        assert found.recall == 1

    def test_a_collapsed_generator_is_precise_and_covers_little(
        self, numpy_rng: np.random.Generator
    ) -> None:
        reference = numpy_rng.standard_normal((40, 3))
        collapsed = reference[:1] + 1e-3 * numpy_rng.standard_normal((40, 3))
        found = compare_manifolds(reference, collapsed, neighbours=5)

        assert found.precision == 1
        assert found.recall < 0.1
        assert found.coverage < 0.3

    def test_few_scans_have_their_farthest_as_radius(self) -> None:
        """Three scans and k = 5: all of them are neighbours."""
        points = np.array([[0.0], [1.0], [2.0]])

        assert compare_manifolds(points, points, neighbours=5).precision == 1
