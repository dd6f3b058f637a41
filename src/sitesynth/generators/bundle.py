"""The bundle in which a generator leaves its site, and what must hold before it is trusted.

    autoencoder.safetensors, flow.safetensors   weights, float32
    config.json       everything needed to rebuild and use the networks; schema `GeneratorConfig`
    card.json         what it was trained on, how well and how safe it is; card.md says it in words
    SHA256SUMS        digest of each file above
    SIGNATURE.json    Ed25519 signature of SHA256SUMS, with the public key

A bundle comes from another hospital. It is read in this order, each step bounded: the list of
files, their sizes, the signature, the digests, the config against its schema, the header of each
weights file against the names, shapes and types that the config implies, then the weights, which
must be finite. Nothing in a bundle is ever executed or unpickled.
"""

import base64
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sitesynth import seeds
from sitesynth.errors import BundleError
from sitesynth.generators.generator import (
    CONFIG_FILE,
    SCHEMA,
    Generator,
    GeneratorConfig,
    build_networks,
)
from sitesynth.generators.weights import AUTOENCODER_FILE, FLOW_FILE, write_weights
from sitesynth.storage import digest_of_file, write_json, write_text


__all__ = [
    "bundle_digest",
    "read_bundle",
    "site_key",
    "verify_bundle",
    "write_bundle",
]

WEIGHTS = (AUTOENCODER_FILE, FLOW_FILE)
SIGNED = (*WEIGHTS, CONFIG_FILE, "card.json", "card.md")
SIZE_LIMITS = {
    **dict.fromkeys(WEIGHTS, 4 << 30),
    **dict.fromkeys((CONFIG_FILE, "card.json", "card.md", "SHA256SUMS", "SIGNATURE.json"), 1 << 20),
}
MAX_HEADER_BYTES = 1 << 20
MAX_DEPTH, MAX_LEVELS, MAX_WIDTH = 256, 8, 8192
"""Networks beyond what a hospital trains; a billion blocks would be built for years."""

MAX_SHOWN = 3
"""Unexpected files that an error message lists: a folder can hold any number."""

KEY_VARIABLE = "SITESYNTH_SIGNING_KEY"


def write_bundle(
    folder: Path,
    generator: Generator,
    *,
    card: Mapping[str, Any],
    card_text: str,
    signing_key: Ed25519PrivateKey,
) -> None:
    """Write a signed bundle. `SIGNATURE.json` comes last: a folder without it is no bundle."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "SIGNATURE.json").unlink(missing_ok=True)
    for name, model in zip(WEIGHTS, (generator.autoencoder, generator.flow), strict=True):
        write_weights(folder / name, model)
    write_json(folder / CONFIG_FILE, generator.config.model_dump(mode="json"))
    write_json(folder / "card.json", dict(card))
    write_text(folder / "card.md", card_text)
    sums = "".join(f"{digest_of_file(folder / name)}  {name}\n" for name in SIGNED)
    write_text(folder / "SHA256SUMS", sums)
    public = signing_key.public_key().public_bytes_raw()
    write_json(
        folder / "SIGNATURE.json",
        {
            "algorithm": "Ed25519",
            "public_key": base64.b64encode(public).decode(),
            "signature": base64.b64encode(signing_key.sign(sums.encode())).decode(),
        },
    )


def site_key(site: str, *, seed: int) -> tuple[Ed25519PrivateKey, bool]:
    """Return a site's signing key, and whether it is its own.

    A hospital names the PEM file of its key in the environment variable SITESYNTH_SIGNING_KEY. A
    study on one machine signs with a development key that anyone can derive from its seed: that
    proves integrity, not origin, and the card says so.

    Raises:
        BundleError: If the named file is not an unencrypted Ed25519 private key.
    """
    named = os.environ.get(KEY_VARIABLE)
    if named is None:
        half = [seeds.derive_seed(seed, "signing-key", site, part) for part in range(4)]
        return Ed25519PrivateKey.from_private_bytes(
            b"".join(value.to_bytes(8, "big") for value in half)
        ), False
    try:
        key = load_pem_private_key(Path(named).read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise BundleError(
            f"{KEY_VARIABLE} names {named}, which is not an unencrypted PEM private key: {error}."
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BundleError(f"{KEY_VARIABLE} names {named}, whose key is not Ed25519.")
    return key, True


def bundle_digest(folder: Path) -> str:
    """Return the digest that names a bundle: that of its list of digests."""
    return digest_of_file(folder / "SHA256SUMS")


def verify_bundle(folder: Path, *, public_key: bytes | None = None) -> GeneratorConfig:
    """Check everything about a bundle that can be checked without loading its weights.

    Args:
        folder: The bundle.
        public_key: The 32 bytes that the site gave beforehand; None accepts the key in the bundle,
            which proves that the bundle is whole, but not whose it is.

    Returns:
        Its config.

    Raises:
        BundleError: At the first thing that is wrong; names the file and the rule.
    """
    _check_files(folder)
    _check_signature(folder, public_key)
    for line in (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        if digest != digest_of_file(folder / name):
            raise BundleError(f"{folder / name} is not the file that was signed. Ask for it again.")
    config = _read_config(folder / CONFIG_FILE)
    with torch.device("meta"):
        networks = build_networks(config)
    for name, network in zip(WEIGHTS, networks, strict=True):
        _check_header(folder / name, network.state_dict())
    return config


def read_bundle(folder: Path, *, public_key: bytes | None = None) -> Generator:
    """Verify a bundle and load its generator.

    Raises:
        BundleError: As for `verify_bundle`, and if a weight is not finite.
    """
    config = verify_bundle(folder, public_key=public_key)
    networks = build_networks(config)
    for name, network in zip(WEIGHTS, networks, strict=True):
        try:
            weights = load_file(folder / name)
        except SafetensorError as error:
            raise BundleError(f"{folder / name} is not a safetensors file: {error}.") from error
        bad = sorted(key for key, value in weights.items() if not torch.isfinite(value).all())
        if bad:
            raise BundleError(f"{folder / name}: weights {bad[:3]} are not finite numbers.")
        network.load_state_dict(weights, strict=True)
    return Generator(config, *networks)


def _check_files(folder: Path) -> None:
    if not folder.is_dir():
        raise BundleError(f"{folder} is not a bundle: it is not a folder.")
    found = {path.name for path in folder.iterdir()}
    if found != set(SIZE_LIMITS):
        missing, extra = sorted(set(SIZE_LIMITS) - found), sorted(found - set(SIZE_LIMITS))
        more = f" and {len(extra) - MAX_SHOWN} more" if len(extra) > MAX_SHOWN else ""
        raise BundleError(
            f"{folder} is not a bundle: missing {missing}, unexpected {extra[:MAX_SHOWN]}{more}. "
            "A bundle holds exactly the files that `package` writes."
        )
    for name, limit in SIZE_LIMITS.items():
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise BundleError(f"{path} must be a plain file, not a link or a folder.")
        if path.stat().st_size > limit:
            raise BundleError(f"{path} has {path.stat().st_size} bytes; at most {limit} are read.")


def _check_signature(folder: Path, public_key: bytes | None) -> None:
    signature = _strict_json(folder / "SIGNATURE.json")
    sums = (folder / "SHA256SUMS").read_bytes()
    try:
        given = base64.b64decode(signature["public_key"], validate=True)
        signed = base64.b64decode(signature["signature"], validate=True)
        if public_key is not None and given != public_key:
            raise BundleError(
                f"{folder} is signed with key {signature['public_key']}, which is not the key that "
                "this site gave."
            )
        Ed25519PublicKey.from_public_bytes(given).verify(signed, sums)
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{folder / 'SIGNATURE.json'} is malformed: {error!r}.") from error
    except InvalidSignature as error:
        raise BundleError(
            f"{folder / 'SHA256SUMS'} does not match its signature: the bundle was altered."
        ) from error
    names = [line.partition("  ")[2] for line in sums.decode(errors="replace").splitlines()]
    if sorted(names) != sorted(SIGNED):
        raise BundleError(f"{folder / 'SHA256SUMS'} lists {names}; it must list {list(SIGNED)}.")


def _strict_json(path: Path) -> Any:
    """Read JSON from another site: no duplicate keys, no NaN, bounded depth and numbers."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if len(set(keys)) < len(keys):
            raise BundleError(f"{path} names a key twice.")
        return dict(pairs)

    def refuse(constant: str) -> None:
        raise BundleError(f"{path} holds {constant}, which is not a number.")

    try:
        return json.loads(
            path.read_text(encoding="utf-8"), object_pairs_hook=unique, parse_constant=refuse
        )
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not valid JSON: {error}.") from error


def _read_config(path: Path) -> GeneratorConfig:
    raw = _strict_json(path)
    if isinstance(raw, dict) and raw.get("schema_version") != SCHEMA:
        raise BundleError(
            f"{path} has schema {raw.get('schema_version')!r}; this version reads schema {SCHEMA}. "
            "Ask the site to package its generator with this version."
        )
    try:
        config = GeneratorConfig.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{path}: {key}: {first['msg']}.") from error
    if len(config.latent_mean) != config.autoencoder.latent_channels:
        raise BundleError(f"{path}: one latent mean per latent channel is needed.")
    _check_sizes(path, config)
    return config


def _check_sizes(path: Path, config: GeneratorConfig) -> None:
    """Refuse networks that cannot be built, or not in bounded time, before they are built."""
    numbers = (config.latent_std, *config.latent_mean, *(config.spacing_mm or ()))
    if not all(math.isfinite(number) for number in numbers):
        raise BundleError(f"{path}: the latent scale and spacing must be finite numbers.")
    folds, tokens = config.autoencoder.patch, config.diffusion.patch
    widths = config.autoencoder.channels
    convolutions = config.diffusion.convolutions
    sizes = {
        "depth": (config.diffusion.depth, MAX_DEPTH),
        "levels": (len(widths), MAX_LEVELS),
        "width": (max(*widths, config.diffusion.width), MAX_WIDTH),
        "components": (config.diffusion.components, MAX_WIDTH),
        "latent_channels": (config.autoencoder.latent_channels, MAX_WIDTH),
        "feature_maps": (convolutions.feature_maps if convolutions else 0, MAX_WIDTH),
        "num_blocks": (convolutions.num_blocks if convolutions else 0, MAX_DEPTH),
    }
    for name, (size, most) in sizes.items():
        if size > most:
            raise BundleError(f"{path}: {name} is {size}; at most {most} is built.")
    if not len(folds) == len(tokens) == len(config.grid):
        raise BundleError(
            f"{path}: patches {list(folds)} and {list(tokens)} must have one number per axis of "
            f"the grid {list(config.grid)}."
        )
    for size, fold, token in zip(config.grid, folds, tokens, strict=True):
        needed = fold * token * 2 ** (len(widths) - 1)
        if size % needed:
            raise BundleError(f"{path}: the grid's {size} must be a multiple of {needed}.")


def _check_header(path: Path, expected: Mapping[str, Tensor]) -> None:
    """Compare a safetensors header with what the config implies, before any weight is read."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER_BYTES:
            raise BundleError(f"{path} has a header of {length} bytes; {MAX_HEADER_BYTES} is most.")
        raw = file.read(length)
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not a safetensors file: {error}.") from error
    if not isinstance(header, dict):
        raise BundleError(f"{path} is not a safetensors file: its header is no object.")
    header.pop("__metadata__", None)
    if set(header) != set(expected):
        wrong = sorted(set(header) ^ set(expected))
        raise BundleError(
            f"{path}: weights {wrong[:3]} do not fit config.json ({len(wrong)} do not)."
        )
    for name, value in expected.items():
        found = header[name]
        if (
            not isinstance(found, dict)
            or found.get("shape") != list(value.shape)
            or (found.get("dtype") != "F32")
        ):
            raise BundleError(
                f"{path}: weight {name} must be F32 of shape {list(value.shape)}, got {found}."
            )
