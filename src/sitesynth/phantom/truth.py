"""The best that any classifier can do on the phantom, from the definition of its patients.

An image of a patient depends on the label only through the attributes z: label -> z -> image. The
likelihood ratio of z is therefore the best score (Neyman and Pearson, 1933), and no classifier of
images has a higher expected AUC: noise, missing sequences and coarse voxels can only lose.

The bound is on images. Age also depends on the label, and prevalence on the site, so a classifier
that is told either can rank patients of several sites a little better; inside one site, and
without the age, it cannot.

    python -m sitesynth.phantom.truth

Axes: n patients (m of the other class), a attributes.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp
from scipy.stats import rankdata

from sitesynth.errors import SettingsError
from sitesynth.phantom.attributes import ATTRIBUTES, IDH_OF_TYPE, TUMOUR_TYPES, class_means
from sitesynth.phantom.consortium import Patient, draw_patients
from sitesynth.seeds import numpy_generator
from sitesynth.settings import PhantomSettings, load_settings


__all__ = ["best_auc", "best_auc_of", "log_likelihood_ratio"]


def log_likelihood_ratio(
    values: Float[np.ndarray, "n a"], settings: PhantomSettings
) -> Float[np.ndarray, " n"]:
    """Return log p(z | IDH mutant) - log p(z | IDH wild type), exactly.

    Args:
        values: Latent attributes z in the order of `ATTRIBUTES`.
        settings: Separation of the types, and the share of astrocytoma among the mutants.
    """
    means = class_means(settings.separation)
    # The normalizing constants of unit-variance Gaussians cancel.
    log_densities = -0.5 * ((values[:, None, :] - means) ** 2).sum(axis=2)
    mutant = np.array([IDH_OF_TYPE[tumour_type] == "mutant" for tumour_type in TUMOUR_TYPES])
    shares = [_shares_given_idh(settings)[tumour_type] for tumour_type in TUMOUR_TYPES]
    return np.asarray(
        logsumexp(log_densities[:, mutant], b=np.array(shares)[mutant], axis=1)
        - logsumexp(log_densities[:, ~mutant], b=np.array(shares)[~mutant], axis=1)
    )


def best_auc(
    settings: PhantomSettings, *, num_draws: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Estimate the AUC of the likelihood ratio for IDH mutation.

    It does not depend on a site's prevalence or scanner, so it holds for each of them.

    Args:
        settings: Separation of the types, and the share of astrocytoma among the mutants.
        num_draws: Patients drawn of each class; the error falls with its square root.
        rng: Source of the draws.

    Returns:
        The AUC, and its standard error over the draws (DeLong et al., 1988).
    """
    scores = {
        idh: log_likelihood_ratio(
            _draw_values(idh, settings, num_draws=num_draws, rng=rng), settings
        )
        for idh in ("wildtype", "mutant")
    }
    return _auc(scores["mutant"], scores["wildtype"])


def best_auc_of(patients: Sequence[Patient], settings: PhantomSettings) -> tuple[float, float]:
    """Return the likelihood ratio's AUC on these patients: what a classifier of them can hope for.

    Few patients scatter around `best_auc`; a classifier is compared with the best one on the same
    patients.

    Args:
        patients: Patients of both IDH classes.
        settings: The consortium that they were drawn from.

    Returns:
        The AUC, and its standard error as an estimate of `best_auc` (DeLong et al., 1988).
    """
    values = np.array([patient.attributes for patient in patients])
    scores = log_likelihood_ratio(values, settings)
    mutant = np.array([patient.idh == "mutant" for patient in patients])
    return _auc(scores[mutant], scores[~mutant])


def _shares_given_idh(settings: PhantomSettings) -> dict[str, float]:
    """Share of each tumour type among the patients of its own IDH class."""
    return {
        "glioblastoma": 1.0,
        "astrocytoma": settings.astrocytoma_fraction,
        "oligodendroglioma": 1.0 - settings.astrocytoma_fraction,
    }


def _draw_values(
    idh: str, settings: PhantomSettings, *, num_draws: int, rng: np.random.Generator
) -> Float[np.ndarray, "n a"]:
    shares = _shares_given_idh(settings)
    types = [index for index, name in enumerate(TUMOUR_TYPES) if IDH_OF_TYPE[name] == idh]
    drawn = rng.choice(types, size=num_draws, p=[shares[TUMOUR_TYPES[index]] for index in types])
    noise = rng.standard_normal((num_draws, len(ATTRIBUTES)))
    return np.asarray(class_means(settings.separation)[drawn] + noise)


def _auc(
    positives: Float[np.ndarray, " n"], negatives: Float[np.ndarray, " m"]
) -> tuple[float, float]:
    """Mann-Whitney's estimate, and DeLong's error from the placements of each class."""
    ranks = rankdata(np.concatenate([positives, negatives]))
    of_positives, of_negatives = np.split(ranks, [len(positives)])
    above = (of_positives - rankdata(positives)) / len(negatives)
    below = 1.0 - (of_negatives - rankdata(negatives)) / len(positives)
    variance = above.var(ddof=1) / len(positives) + below.var(ddof=1) / len(negatives)
    return float(above.mean()), float(variance**0.5)


def main() -> None:
    """Print the best AUC of the study in params.yaml, in general and on its own patients."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--num-draws", type=int, default=1_000_000)
    arguments = parser.parse_args()
    settings = load_settings(arguments.params)
    if settings.phantom is None:
        raise SettingsError(
            f"{arguments.params} has no phantom; `sitesynth study use phantom` puts it there."
        )
    value, error = best_auc(
        settings.phantom,
        num_draws=arguments.num_draws,
        rng=numpy_generator(settings.seed, "phantom", "best-auc"),
    )
    print(f"best AUC for IDH: {value:.4f} (standard error {error:.4f})")  # noqa: T201
    external: list[Patient] = []
    for site in settings.sites.all:
        patients = draw_patients(site, settings.phantom, seed=settings.seed)
        external += patients if site in settings.sites.external else []
        value, error = best_auc_of(patients, settings.phantom)
        print(f"  {len(patients)} patients of {site}: {value:.3f} ({error:.3f})")  # noqa: T201
    value, error = best_auc_of(external, settings.phantom)
    print(f"  {len(external)} external patients: {value:.3f} ({error:.3f})")  # noqa: T201


if __name__ == "__main__":
    main()
