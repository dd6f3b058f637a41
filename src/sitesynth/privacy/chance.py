"""What chance alone does: the closed form behind every count of the privacy audit.

Of m + N values in random order, m of them marked, the k largest are all marked with probability

    p = C(m, k) / C(m + N, k)

(Epstein, 1954, on exceedances).
"""

from math import comb


__all__ = ["p_of_copies"]


def p_of_copies(num_copies: int, num_synthetic: int, num_strangers: int) -> float:
    """Return the probability that chance alone gives `num_copies` or more."""
    return comb(num_synthetic, num_copies) / comb(num_synthetic + num_strangers, num_copies)
