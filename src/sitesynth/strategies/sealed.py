"""Sealed weights: ciphertexts as a message carries them, and as a standing keeps them.

They look like weights to whatever carries or keeps these: four tensors by name.

    cipher   the ciphertexts, one after the other
    sizes    the bytes of each
    digest   SHA-256 of `cipher`
    key      the name of the key that opens them, which does not tell the key
"""

import math
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import accumulate
from typing import Final

import torch
from torch import Tensor

from sitesynth.errors import TrainingError
from sitesynth.strategies.averaging import Weights


__all__ = [
    "SLOTS",
    "check_chunks",
    "chunks_of",
    "is_sealed",
    "key_of",
    "sealed_bytes",
    "sealed_weights",
]

SLOTS: Final = 4096
"""Numbers in a ciphertext."""

CIPHER_BYTES: Final = 108_800
"""Of one ciphertext, about: two polynomials of 4096 coefficients of 89 bits, and a little more."""

MOST_BYTES: Final = 140_000
"""More than any ciphertext has: two polynomials of 4096 coefficients of two 8-byte words are
131,072, uncompressed."""

NAMES: Final = frozenset({"cipher", "sizes", "digest", "key"})


def is_sealed(weights: Weights) -> bool:
    """Return whether weights are sealed."""
    return weights.keys() == NAMES


def sealed_bytes(num_numbers: int) -> int:
    """Return about how many bytes that many numbers have when sealed."""
    return math.ceil(num_numbers / SLOTS) * CIPHER_BYTES


def sealed_weights(chunks: Sequence[bytes], key: str) -> dict[str, Tensor]:
    """Return ciphertexts as a message carries them.

    Args:
        chunks: The ciphertexts, in order.
        key: Name of the key that opens them.
    """
    cipher = b"".join(chunks)
    return {
        "cipher": _tensor_of(cipher),
        "sizes": torch.tensor([len(chunk) for chunk in chunks]),
        "digest": _tensor_of(sha256(cipher).digest()),
        "key": _tensor_of(key.encode()),
    }


def key_of(sealed: Weights) -> str:
    """Return the name of the key that opens sealed weights."""
    return _bytes_of(sealed["key"]).decode(errors="replace")


def check_chunks(sealed: Weights, num_numbers: int) -> None:
    """Check ciphertexts by number, size and digest, before anything parses them.

    Args:
        sealed: What came.
        num_numbers: How many numbers it must hold.

    Raises:
        TrainingError: If they are not as they must be.
    """
    if not is_sealed(sealed):
        raise TrainingError("its weights are not sealed, and federated.encryption asks for it")
    _check_types(sealed)
    cipher, sizes = _bytes_of(sealed["cipher"]), sealed["sizes"].tolist()
    expected = math.ceil(num_numbers / SLOTS)
    if len(sizes) != expected or not all(0 < size <= MOST_BYTES for size in sizes):
        raise TrainingError(
            f"its {len(sizes)} ciphertexts of at most {max(sizes, default=0)} bytes are not the "
            f"{expected} of at most {MOST_BYTES} that {num_numbers} numbers make"
        )
    if sum(sizes) != len(cipher) or sha256(cipher).digest() != _bytes_of(sealed["digest"]):
        raise TrainingError(
            f"its ciphertexts of {len(cipher)} bytes are not those that were sealed: sizes or "
            "SHA-256 differ"
        )


def chunks_of(sealed: Weights) -> list[bytes]:
    """Return the ciphertexts of a message; see `check_chunks` for what must hold."""
    cipher, sizes = _bytes_of(sealed["cipher"]), sealed["sizes"].tolist()
    ends = accumulate(sizes)
    return [cipher[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def _check_types(sealed: Mapping[str, Tensor]) -> None:
    for name, value in sealed.items():
        wanted = torch.int64 if name == "sizes" else torch.uint8
        if value.dtype != wanted or value.dim() != 1:
            raise TrainingError(
                f"its sealed {name} is {value.dtype} of shape {list(value.shape)}, not a row of "
                f"{wanted}"
            )


def _tensor_of(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def _bytes_of(tensor: Tensor) -> bytes:
    return tensor.numpy().tobytes()
