"""Files that are either whole or not there, and their digests.

A stage can be killed at any moment. Each write goes to a neighbour of its target and is renamed
over it, which a POSIX file system does in one step.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sitesynth.errors import SitesynthError


__all__ = [
    "UNFINISHED",
    "digest_of",
    "digest_of_file",
    "dvc_digest",
    "dvc_digest_of_file",
    "read_json",
    "replacing",
    "sweep",
    "told",
    "write_json",
    "write_text",
]

CHUNK_BYTES = 1 << 20

UNFINISHED = ".writing-"
"""Prefix of what `replacing` has not finished."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and rename it to `path` when the block succeeds.

    The temporary name keeps the suffixes of `path`, because many writers choose a format by them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=UNFINISHED, suffix=f"-{path.name}")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes the file private; a result is as readable as any other file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what killed writers have left unfinished below a folder that is kept between runs."""
    for path in folder.rglob(f"{UNFINISHED}*"):
        path.unlink()


def told(error: OSError) -> str:
    """Say what a file system refused, and where."""
    where = error.filename if error.filename is not None else "a file or folder"
    why = error.strerror or error
    return f"{where} cannot be used ({why}). Correct its path, its permissions or its disk."


def write_text(path: Path, text: str) -> None:
    """Write a text file whole, in UTF-8."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write JSON that is the same bytes for the same content: sorted keys, no NaN."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON written by `write_json`.

    Raises:
        SitesynthError: If the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SitesynthError(f"{path} does not exist; `dvc repro` writes it.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SitesynthError(
            f"{path} is not valid JSON ({error}). Delete it and run `dvc repro`."
        ) from error


def digest_of(content: Any) -> str:
    """Return the SHA-256 of JSON-serializable content, as 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def digest_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def dvc_digest(folder: Path) -> str:
    """Return the digest by which dvc.lock knows a folder, without what .dvcignore leaves out."""
    files = sorted(
        path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    entries = [
        {"md5": dvc_digest_of_file(path), "relpath": path.relative_to(folder).as_posix()}
        for path in files
    ]
    listed = json.dumps(sorted(entries, key=lambda entry: entry["relpath"]), sort_keys=True)
    return f"{hashlib.md5(listed.encode(), usedforsecurity=False).hexdigest()}.dir"


def dvc_digest_of_file(path: Path) -> str:
    """Return the digest by which dvc.lock knows a file."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
