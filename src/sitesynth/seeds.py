"""Named randomness: every random draw states what it is for.

A seed is derived from the study's root seed and a *scope*, the words that name the draw. Adding a
site, or reordering the code, leaves every other site's draws untouched.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING

import numpy as np


if TYPE_CHECKING:
    import torch


__all__ = ["derive_seed", "generator", "isolated", "numpy_generator"]

GLOBAL_GENERATOR = RLock()


def derive_seed(root: int, *scope: str | int) -> int:
    """Derive the seed of one named purpose from the study's root seed.

    Args:
        root: The `seed` of params.yaml.
        scope: What the randomness is for, from coarse to fine, e.g. `"sampling", "alder", 17`.

    Returns:
        An integer in [0, 2**63), the same on every machine and in every process.
    """
    # Not `hash()`: Python salts the hash of a string anew in every process.
    digest = hashlib.blake2b(json.dumps([root, *scope]).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def numpy_generator(root: int, *scope: str | int) -> np.random.Generator:
    """Build the numpy generator of one named purpose; see `derive_seed`."""
    return np.random.default_rng(derive_seed(root, *scope))


def generator(root: int, *scope: str | int) -> "torch.Generator":
    """Build the CPU generator of one named purpose; see `derive_seed`."""
    # torch takes seconds to import, and the stages that read tables do not need it.
    import torch  # noqa: PLC0415

    return torch.Generator().manual_seed(derive_seed(root, *scope))


@contextmanager
def isolated(rng: "torch.Generator") -> Iterator[None]:
    """Let code that only knows torch's global generator draw from `rng` instead.

    For weight initialization and third-party layers; our own draws take a generator. The global
    generator is put back as it was, so nothing outside the block can tell that it was used. One
    thread at a time: there is one global generator.
    """
    import torch  # noqa: PLC0415

    with GLOBAL_GENERATOR, torch.random.fork_rng():
        torch.manual_seed(int(torch.randint(2**62, (), generator=rng)))
        yield
