"""What a registered version holds: a folder that MLflow can load and people can read.

    MLmodel            signature, and the module that loads it: `sitesynth.serving`
    requirements.txt   versions of the libraries it was made with
    python_env.yaml    the same, as MLflow wants it
    input_example.json what to send to it
    card.md            the model card
    files/             the model as its stage wrote it: safetensors and JSON, nothing pickled
    evidence/          a classifier's predictions for the external patients, and what they were
                       judged by; `sitesynth.registry.standing` reads them
    lineage.json       what its stage was made from, at any depth: digests and settings, as
                       dvc.lock had them; `sitesynth.registry.audit` reads it

Nothing is pickled and no network is rebuilt from code of the version: the loader is this package.
"""

import json
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, final

from sitesynth.errors import MissingInputError, RegistryError
from sitesynth.mlruns import Column, write_model_file
from sitesynth.storage import digest_of, digest_of_file, write_json, write_text


__all__ = [
    "CARD",
    "EVIDENCE",
    "FILES",
    "JUDGED",
    "LINEAGE",
    "PREDICTIONS",
    "Contents",
    "digest_of_folder",
    "pack",
]

FILES: Final = "files"
EVIDENCE: Final = "evidence"
PREDICTIONS: Final = "predictions.csv"
JUDGED: Final = "judged.json"
CARD: Final = "card.md"
LINEAGE: Final = "lineage.json"
ENVIRONMENT: Final = "python_env.yaml"
REQUIREMENTS: Final = "requirements.txt"
EXAMPLE: Final = "input_example.json"

LOADER: Final = "sitesynth.serving"

LIBRARIES: Final = (
    "cryptography",
    "einops",
    "jaxtyping",
    "matplotlib",
    "mlflow",
    "monai",
    "nibabel",
    "numpy",
    "pandas",
    "pillow",
    "pydantic",
    "ruamel.yaml",
    "safetensors",
    "scikit-learn",
    "scipy",
    "torch",
    "tqdm",
)
"""What loading and asking a model imports."""

SAFE: Final = frozenset({".safetensors", ".json", ".csv", ".md", ""})
"""Suffixes of a model's files: weights and text. A pickle may run code when it is opened."""


@final
@dataclass(frozen=True, slots=True)
class Contents:
    """What goes into a version besides the model's own files."""

    inputs: Sequence[Column]
    outputs: Sequence[Column]
    example: Mapping[str, Any]
    """One row of the input, as JSON."""
    card: str
    """Markdown."""
    evidence: Mapping[str, str]
    """By file name: text; none for a model without predictions."""
    lineage: str
    """What `registry.audit.lineage_of` returned."""

    @property
    def evidence_sha256(self) -> str | None:
        """Digest of the evidence, as `digest_of_folder` finds it once packed."""
        if not self.evidence:
            return None
        return digest_of({name: digest_of_text(text) for name, text in self.evidence.items()})


def digest_of_text(text: str) -> str:
    """Return the digest that a file of this text has."""
    return sha256(text.encode()).hexdigest()


def digest_of_folder(folder: Path) -> str:
    """Return a digest of names and content of all files of a folder.

    Raises:
        MissingInputError: If there is none.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        raise MissingInputError(f"{folder} holds no model; run `dvc repro`.")
    return digest_of({str(path.relative_to(folder)): digest_of_file(path) for path in files})


def pack(target: Path, files: Path, contents: Contents) -> None:
    """Write a version's folder.

    Raises:
        RegistryError: If a file of the model is of a kind that may hold a pickle.
    """
    unsafe = sorted(
        str(path.relative_to(files))
        for path in files.rglob("*")
        if path.is_file() and path.suffix not in SAFE
    )
    if unsafe:
        raise RegistryError(
            f"{files} holds {unsafe}; a registered model is safetensors and JSON only, for "
            "opening another kind of file may run code. Write its weights as safetensors."
        )
    shutil.copytree(files, target / FILES)
    for name, text in contents.evidence.items():
        write_text(target / EVIDENCE / name, text)
    write_text(target / CARD, contents.card)
    write_text(target / LINEAGE, contents.lineage)
    ours = f"# and sitesynth {version('sitesynth')} itself, installed from its repository\n"
    pins = "".join(f"{name}=={version(name)}\n" for name in LIBRARIES)
    write_text(target / REQUIREMENTS, ours + pins)
    write_json(
        target / ENVIRONMENT,  # JSON is YAML
        {"python": platform.python_version(), "dependencies": [f"-r {REQUIREMENTS}"]},
    )
    columns = list(contents.example)
    example = {"columns": columns, "data": [list(contents.example.values())]}
    write_text(target / EXAMPLE, json.dumps(example))
    write_model_file(
        target,
        inputs=contents.inputs,
        outputs=contents.outputs,
        loader=LOADER,
        files=FILES,
        environment=ENVIRONMENT,
        example=EXAMPLE,
    )
