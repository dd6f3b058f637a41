"""How much training with noise can tell of one patient: epsilon, by Renyi differential privacy.

Each step draws every patient with probability q, sums their clipped gradients and adds Gaussian
noise of sigma times the clip norm. Its Renyi divergence of integer order a, between studies that
differ by one patient, is at most

    R(a) = log( sum_k  C(a, k) (1 - q)^(a - k) q^k exp((k^2 - k) / (2 sigma^2)) ) / (a - 1)

(Mironov, Talwar and Zhang, 2019, section 3.3). Divergences of steps add up, and

    epsilon = min_a  T R(a) + log((a - 1) / a) - (log(delta) + log(a)) / (a - 1)

(Canonne, Kamath and Steinke, 2020, proposition 12). It holds if patients are drawn independently,
by Poisson's rule, and if nobody knows which were drawn nor the noise.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from scipy.special import gammaln, logsumexp


__all__ = ["account", "epsilon_of", "renyi_divergence"]

FLOW: Final = ("the flow's weights", "their average, which is what leaves")

OWN: Final = (
    "the autoencoder's weights",
    "the latents' scale",
    "the card's counts, losses and scores",
)
"""Of a bundle whose autoencoder saw the site's patients: made from them without noise."""

NOBODYS: Final = (
    "the autoencoder's weights and the latents' scale, which were made from phantoms",
    "the card, which tells no losses and no scores",
)
"""Of a bundle whose autoencoder saw phantoms alone."""

CHOICE: Final = "which step's weights were taken, by held-out patients (diffusion.validate_every)"

PUBLIC: Final = ("numbers of patients and scans, by class and channel", "that the gate let it pass")
"""What a card tells beside, and epsilon takes as known to everyone."""

ORDERS: Final = (*range(2, 128), *range(128, 1025, 16))
"""Integer orders: fractional ones in between gain about a hundredth."""


def renyi_divergence(order: int, *, noise_multiplier: float, sample_rate: float) -> float:
    """Return the most that one step's Renyi divergence of an order can be.

    Args:
        order: Above 1.
        noise_multiplier: Standard deviation of the noise, in clip norms.
        sample_rate: Probability with which a patient takes part in a step.
    """
    if sample_rate == 1.0:
        return order / (2 * noise_multiplier**2)
    k = np.arange(order + 1)
    choices = gammaln(order + 1) - gammaln(k + 1) - gammaln(order - k + 1)
    weights = choices + (order - k) * np.log1p(-sample_rate) + k * np.log(sample_rate)
    return float(logsumexp(weights + k * (k - 1) / (2 * noise_multiplier**2)) / (order - 1))


def account(
    facts: Mapping[str, Any], *, is_autoencoder_nobodys: bool, is_choice_blind: bool
) -> dict[str, Any]:
    """Return what a private training guarantees, and what of a bundle it does not cover.

    A bundle has an epsilon, the flow's, if all else in it was made without patients and the noise
    is secret.

    Args:
        facts: Of the training; see `sitesynth.generators.private_gradients.describe_training`.
        is_autoencoder_nobodys: Whether it, and the latents' scale, were made from phantoms.
        is_choice_blind: Whether the weights are the last ones, whatever held-out patients say.
    """
    covered = [*FLOW, *(NOBODYS if is_autoencoder_nobodys else ())]
    open_ = [*(() if is_autoencoder_nobodys else OWN), *(() if is_choice_blind else (CHOICE,))]
    names = ("noise_multiplier", "sample_rate", "num_steps", "delta")
    epsilon = round(epsilon_of(**{name: facts[name] for name in names}), 6)
    of_flow = epsilon if facts["has_secret_noise"] else None
    return {
        "epsilon": None if open_ else of_flow,
        "flow_epsilon": of_flow,
        "flow_epsilon_if_noise_were_secret": epsilon,
        "unit": "one patient added or removed, with all their scans",
        **facts,
        "covered": covered,
        "not_covered": open_,
        "taken_as_public": list(PUBLIC),
    }


def epsilon_of(
    *, noise_multiplier: float, sample_rate: float, num_steps: int, delta: float
) -> float:
    """Return the epsilon of all steps together, at a delta; adding or removing one patient."""
    spent = [
        num_steps
        * renyi_divergence(order, noise_multiplier=noise_multiplier, sample_rate=sample_rate)
        + np.log((order - 1) / order)
        - (np.log(delta) + np.log(order)) / (order - 1)
        for order in ORDERS
    ]
    return float(max(0.0, min(spent)))
