"""Models in the registry: which there are, and putting a study's there.

    classifier-<label>    one version per strategy and content
    generator-<site>      one version per bundle

What a version holds: `sitesynth.registry.packaging`. Its tags say where it comes from (study,
stage, git commit, the path and digest by which DVC knows the files), and `gates` what was judged of
it. The alias `challenger` marks the candidate with the best result, and `champion` the one to rely
on; see `sitesynth.registry.promotion`.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from sitesynth.errors import RegistryError
from sitesynth.registry.gates import Gate
from sitesynth.registry.packaging import FILES, Contents, digest_of_folder, pack
from sitesynth.storage import dvc_digest


if TYPE_CHECKING:
    from sitesynth.mlruns import Mlruns


__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "Submission",
    "Version",
    "find_version",
    "folder_of",
    "gates_at_registration",
    "list_versions",
    "locate_model",
    "register",
]

CHAMPION = "champion"
CHALLENGER = "challenger"

MAX_DESCRIPTION = 5000
"""Characters that MLflow keeps; the whole card is among the version's files."""


@final
@dataclass(frozen=True, slots=True)
class Submission:
    """A model to register."""

    model: str
    """Name of the registered model."""
    folder: Path
    """Its files."""
    tags: Mapping[str, str]
    """Where it comes from, e.g. strategy and study."""
    gates: Sequence[Gate]
    stage: str
    """The stage that made it, e.g. `train_classifier@synthetic`."""
    score: float
    """By which the challenger is chosen; higher is better."""
    is_candidate: bool
    """Whether it may become challenger or champion."""
    contents: Contents
    """What goes with its files."""

    @property
    def identity(self) -> dict[str, str]:
        """Return the tags that make two submissions of a study one version."""
        found = {"sha256": digest_of_folder(self.folder)}
        evidence = self.contents.evidence_sha256
        return found if evidence is None else found | {"evidence_sha256": evidence}


@final
@dataclass(frozen=True, slots=True)
class Version:
    """A version of a registered model."""

    model: str
    number: int
    tags: Mapping[str, str]
    aliases: tuple[str, ...]


def list_versions(mlruns: "Mlruns", model: str) -> list[Version]:
    """Return the versions of a registered model, oldest first; none if there is no such model."""
    if not _is_registered(mlruns, model):
        return []
    # A search of versions leaves their aliases out.
    aliases = mlruns.client.get_registered_model(model).aliases
    found = [
        Version(
            model,
            int(version.version),
            version.tags,
            tuple(sorted(name for name, number in aliases.items() if number == version.version)),
        )
        for version in mlruns.client.search_model_versions(f"name = '{model}'")
    ]
    return sorted(found, key=lambda version: version.number)


def find_version(mlruns: "Mlruns", model: str, wanted: str) -> Version:
    """Return the version of a registered model with a number or an alias.

    Raises:
        RegistryError: If there is none.
    """
    versions = list_versions(mlruns, model)
    for version in versions:
        if wanted in {str(version.number), *version.aliases}:
            return version
    if not versions:
        known = sorted(found.name for found in mlruns.client.search_registered_models())
        raise RegistryError(f"no model '{model}' is registered; there are {known}.")
    named = [f"{version.number} {' '.join(version.aliases)}".strip() for version in versions]
    raise RegistryError(f"{model} has no version or alias '{wanted}'; it has {', '.join(named)}.")


def locate_model(mlruns: "Mlruns", reference: str) -> Path:
    """Return the folder of a registered model's files.

    Args:
        mlruns: The registry.
        reference: `classifier-idh@champion` or `classifier-idh/3`, with or without `models:/`.

    Raises:
        RegistryError: If there is no such model, or the reference is neither.
    """
    name = reference.removeprefix("models:/")
    model, _, wanted = name.partition("@" if "@" in name else "/")
    if not model or not wanted:
        raise RegistryError(
            f"'{reference}' must be MODEL@ALIAS or MODEL/VERSION, e.g. classifier-idh@champion."
        )
    version = find_version(mlruns, model, wanted)
    files = folder_of(mlruns, version) / FILES
    if not files.exists():
        raise RegistryError(
            f"{model} version {version.number} holds no {FILES}/: it was not registered by "
            "`dvc repro register`, which packs models so that they can be used."
        )
    return files


def folder_of(mlruns: "Mlruns", version: Version) -> Path:
    """Return the folder that a version holds."""
    found = mlruns.client.get_model_version_download_uri(version.model, str(version.number))
    return Path(found)


def register(mlruns: "Mlruns", study: str, submission: Submission) -> Version:
    """Return the version that holds a model's files, which is made if there is none.

    What was judged of the model is brought up to date in either case.
    """
    client = mlruns.client
    identity = {**submission.identity, "study": study}
    tags = {
        **submission.tags,
        **identity,
        "stage": submission.stage,
        "dvc_path": submission.folder.as_posix(),
        "dvc_md5": dvc_digest(submission.folder),
    }
    judged = {**tags, "gates": json.dumps([asdict(gate) for gate in submission.gates])}
    versions = list_versions(mlruns, submission.model)
    same = [
        version
        for version in versions
        if all(version.tags.get(name) == value for name, value in identity.items())
    ]
    if same:
        number = same[0].number
        changed = {name for name in judged if judged[name] != same[0].tags.get(name)}
        for name in sorted(changed):
            client.set_model_version_tag(submission.model, str(number), name, judged[name])
        if not changed:
            return same[0]
    else:
        if not versions and not _is_registered(mlruns, submission.model):
            client.create_registered_model(submission.model)
        logged = client.create_logged_model(
            mlruns.experiment_of(study),
            submission.model,
            source_run_id=mlruns.current_run(study, submission.stage),
            tags=tags,
        )
        with tempfile.TemporaryDirectory() as folder:
            packed = Path(folder) / submission.model
            pack(packed, submission.folder, submission.contents)
            client.log_model_artifacts(logged.model_id, str(packed))
        client.finalize_logged_model(logged.model_id, "READY")
        created = client.create_model_version(
            submission.model,
            f"models:/{logged.model_id}",
            tags=judged,
            model_id=logged.model_id,
            description=submission.contents.card[:MAX_DESCRIPTION],
        )
        number = int(created.version)
    return find_version(mlruns, submission.model, str(number))


def gates_at_registration(version: Version) -> list[Gate]:
    """Return what was judged of a version when it was registered.

    Raises:
        RegistryError: If nothing was: whoever registered it did not go by the stage.
    """
    if "gates" not in version.tags:
        raise RegistryError(
            f"{version.model} version {version.number} was never judged; `dvc repro register` "
            "registers the study's models with their verdicts."
        )
    judged: list[dict[str, Any]] = json.loads(version.tags["gates"])
    return [Gate(**gate) for gate in judged]


def _is_registered(mlruns: "Mlruns", model: str) -> bool:
    return bool(mlruns.client.search_registered_models(f"name = '{model}'"))
