"""The doorway to TenSEAL: sites encrypt, the hub adds what it cannot read, sites decrypt the sum.

The scheme is BFV (Fan and Vercauteren, 2012), whose sums of whole numbers are exact: whatever was
drawn to encrypt, and on whatever machine, the average has the same bits. (In CKKS, which computes
with approximate numbers, what is decrypted tells of the key: Li and Micciancio, 2021.) The
parameters below have 128 bits of security (HomomorphicEncryption.org, 2018: a modulus of at most
109 bits at degree 4096), and leave the sum of a hundred sites exact.

The sites share one key. The hub holds none: to add, the parameters suffice. Who could make the hub
collude with one site, or the hub forge sums, is not kept out; who only reads is.
"""

import os
import tempfile
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final, final

import numpy as np
import tenseal
from jaxtyping import Int64
from torch import Tensor

from sitesynth.errors import MissingInputError, TrainingError
from sitesynth.settings import FederatedSettings
from sitesynth.storage import UNFINISHED
from sitesynth.strategies.averaging import Weights
from sitesynth.strategies.fixed_point import MODULUS, average_of, count_numbers, numbers_of
from sitesynth.strategies.sealed import SLOTS, check_chunks, chunks_of, key_of, sealed_weights


__all__ = ["Seal", "SiteKey", "add_sealed", "check_sealed"]

PRIME_BITS: Final = [45, 44, 20]
"""Of the ciphertext's modulus. The last is TenSEAL's own, for operations that we do not use."""


@final
class SiteKey:
    """What the sites share and the hub never has: who holds it reads any site's weights."""

    def __init__(self, content: bytes) -> None:
        """Take a key as `draw` has made it.

        Raises:
            ValueError: If it is none.
        """
        self.content = content
        self.name = sha256(b"sitesynth: name of a key" + content).hexdigest()[:16]
        self.context = tenseal.context_from(content, n_threads=1)
        if not (self.context.is_private() and self.context.has_public_key()):
            raise ValueError("it holds no secret or no public key")

    @classmethod
    def draw(cls) -> "SiteKey":
        """Draw a new key from the operating system's randomness."""
        return cls(
            _new_context().serialize(
                save_public_key=True,
                save_secret_key=True,
                save_galois_keys=False,
                save_relin_keys=False,
            )
        )

    @classmethod
    def read(cls, path: Path) -> "SiteKey":
        """Read a key.

        Raises:
            MissingInputError: If there is none.
        """
        try:
            return cls(path.read_bytes())
        except (OSError, ValueError, RuntimeError) as error:
            raise MissingInputError(
                f"{path} holds no key of the sites ({error}). `sitesynth federate key` draws one, "
                "once for all sites; `sitesynth federate prepare --key` puts it into a site's kit."
            ) from error

    def write(self, path: Path) -> None:
        """Write the key whole or not at all, for its owner's eyes only."""
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=UNFINISHED)
        with os.fdopen(handle, "wb") as file:  # mkstemp lets nobody else read it
            file.write(self.content)
        Path(temporary).replace(path)

    def encrypt(self, numbers: Int64[np.ndarray, " numbers"]) -> list[bytes]:
        """Return numbers as ciphertexts."""
        return [
            tenseal.bfv_vector(self.context, numbers[start : start + SLOTS].tolist()).serialize()
            for start in range(0, len(numbers), SLOTS)
        ]

    def decrypt(self, chunks: Sequence[bytes]) -> Int64[np.ndarray, " numbers"]:
        """Return the numbers of ciphertexts.

        Raises:
            TrainingError: If they cannot be read.
        """
        parts = [np.array(_load(self.context, chunk).decrypt(), np.int64) for chunk in chunks]
        return np.concatenate(parts)


@final
class Seal:
    """One site's way to seal its own weights and to open the hub's sums."""

    def __init__(
        self, key: SiteKey, *, site: str, sites: Sequence[str], federated: FederatedSettings
    ) -> None:
        """Take the key.

        Args:
            key: What the sites share.
            site: This site.
            sites: All sites of the federation; sums tell who of them is in them.
            federated: The `federated` section of params.yaml.
        """
        self.key = key
        self.sites = tuple(sorted(sites))
        self.place = self.sites.index(site)
        self.by_scans = federated.weighting == "scans"
        asked = federated.sites_per_round or len(self.sites)
        # The sum of one site's weights would be that site's weights.
        self.needed = max(2, federated.quorum(asked))

    def seal(self, weights: Weights, *, num_scans: int) -> dict[str, Tensor]:
        """Return weights that only sites can read, and only the hub's sum of which they get.

        Raises:
            TrainingError: If a weight is not finite, or too large to be summed.
        """
        numbers = numbers_of(
            weights,
            count=num_scans if self.by_scans else 1,
            place=self.place,
            num_sites=len(self.sites),
        )
        return sealed_weights(self.key.encrypt(numbers), self.key.name)

    def open(self, sealed: Weights, *, like: Weights) -> dict[str, Tensor]:
        """Return the average that a sum of the hub's holds.

        Args:
            sealed: The sum.
            like: Weights of the same names, shapes and types.

        Raises:
            TrainingError: If it was sealed with another key, or is no sum of sites' weights, or of
                too few.
        """
        num_numbers = count_numbers(like, len(self.sites))
        check_chunks(sealed, num_numbers)
        if key_of(sealed) != self.key.name:
            raise TrainingError(
                f"the hub's sum was sealed with the key {key_of(sealed)}, and this site has "
                f"{self.key.name}. Give all the same key: `sitesynth federate prepare --key`."
            )
        numbers = self.key.decrypt(chunks_of(sealed))
        if len(numbers) != num_numbers:
            raise TrainingError(
                f"the hub's sum holds {len(numbers)} numbers, and the network {num_numbers}."
            )
        return average_of(numbers, like=like, sites=self.sites, needed=self.needed)


def check_sealed(sealed: Weights, *, num_numbers: int) -> None:
    """Check what can be checked without a key: that ciphertexts of the right number are there.

    Raises:
        TrainingError: If they are not.
    """
    check_chunks(sealed, num_numbers)
    for chunk in chunks_of(sealed):
        _load(_hub_context(), chunk)


def add_sealed(parts: Sequence[Weights]) -> dict[str, Tensor]:
    """Add sealed weights, which takes no key.

    Args:
        parts: What sites have sent, checked by `check_sealed`, under one key.
    """
    sums = []
    for column in zip(*(chunks_of(part) for part in parts), strict=True):
        first, *others = (_load(_hub_context(), chunk) for chunk in column)
        for other in others:
            first += other
        sums.append(first.serialize())
    return sealed_weights(sums, key_of(parts[0]))


def _load(context: tenseal.Context, chunk: bytes) -> tenseal.BFVVector:
    """Read one ciphertext; SEAL checks that it belongs to the context's parameters."""
    try:
        return tenseal.bfv_vector_from(context, chunk)
    except (ValueError, RuntimeError) as error:
        raise TrainingError(
            f"a ciphertext of {len(chunk)} bytes cannot be read: {error}"
        ) from error


def _new_context() -> tenseal.Context:
    """Return our parameters with a new key."""
    return tenseal.context(
        tenseal.SCHEME_TYPE.BFV,
        poly_modulus_degree=SLOTS,
        plain_modulus=MODULUS,
        coeff_mod_bit_sizes=PRIME_BITS,
        n_threads=1,
    )


@cache
def _hub_context() -> tenseal.Context:
    """Return our parameters without a secret key; the public one that comes along is nobody's."""
    context = _new_context()
    context.make_context_public()
    return context
