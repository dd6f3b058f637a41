"""The best AUC against closed forms."""

import numpy as np
import pytest
from scipy.special import ndtr

from sitesynth.phantom.attributes import class_means
from sitesynth.phantom.consortium import draw_patients
from sitesynth.phantom.truth import best_auc, best_auc_of, log_likelihood_ratio
from sitesynth.seeds import numpy_generator
from sitesynth.settings import PhantomSettings


@pytest.mark.parametrize(("astrocytoma_fraction", "mutant"), [(1.0, 1), (0.0, 2)])
def test_two_gaussians_have_the_auc_of_their_distance(
    settings: PhantomSettings, astrocytoma_fraction: float, mutant: int
) -> None:
    """With one mutant type the AUC is Phi(d / sqrt 2), d the distance of the two means."""
    two_types = settings.model_copy(update={"astrocytoma_fraction": astrocytoma_fraction})
    means = class_means(settings.separation)
    expected = ndtr(np.linalg.norm(means[0] - means[mutant]) / 2**0.5)

    value, error = best_auc(two_types, num_draws=20_000, rng=numpy_generator(0, "two"))

    assert error < 0.002
    assert value == pytest.approx(expected, abs=4 * error)


def test_the_ratio_of_two_gaussians_is_linear(settings: PhantomSettings) -> None:
    """Log-ratio: log N(z; m1) - log N(z; m0) = (m1 - m0) . (z - (m0 + m1) / 2)."""
    astrocytoma = settings.model_copy(update={"astrocytoma_fraction": 1.0})
    means = class_means(settings.separation)
    values = np.random.default_rng(0).standard_normal((5, means.shape[1]))

    ratio = log_likelihood_ratio(values, astrocytoma)

    expected = (values - (means[0] + means[1]) / 2) @ (means[1] - means[0])
    np.testing.assert_allclose(ratio, expected, rtol=1e-9)


def test_the_stated_error_is_the_spread_of_the_estimates(settings: PhantomSettings) -> None:
    """Forty estimates: their standard deviation has a relative error of 11 %."""
    estimates = [
        best_auc(settings, num_draws=300, rng=numpy_generator(0, "spread", index))
        for index in range(40)
    ]
    values, errors = np.array(estimates).T

    assert values.std(ddof=1) == pytest.approx(errors.mean(), rel=0.4)


def test_types_that_do_not_differ_cannot_be_told_apart(settings: PhantomSettings) -> None:
    alike = settings.model_copy(update={"separation": 1e-9})

    value, error = best_auc(alike, num_draws=5_000, rng=numpy_generator(0, "alike"))

    assert value == pytest.approx(0.5, abs=4 * error)


def test_the_patients_of_a_site_scatter_around_the_best_auc(settings: PhantomSettings) -> None:
    site = settings.sites["ash"].model_copy(update={"num_patients": 400})
    many = settings.model_copy(update={"sites": {"ash": site}})
    value, _ = best_auc(many, num_draws=20_000, rng=numpy_generator(0, "many"))

    found, error = best_auc_of(draw_patients("ash", many, seed=3), many)

    assert error < 0.03
    assert found == pytest.approx(value, abs=4 * error)
