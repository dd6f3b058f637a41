"""Switching the working folder from one study to another.

params.yaml holds one study. What a study has computed (data, models, bundles, results, dvc.lock)
and told (its runs, registered models and champions, in mlruns) lies in the working folder while it
is the one in use, and else in `.studies/<name>/`. Files are renamed, never copied or computed
again. After a kill at any moment, the same command completes the switch.
"""

import shutil
import subprocess
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from sitesynth.errors import SettingsError
from sitesynth.settings import Settings, load_settings
from sitesynth.storage import write_text
from sitesynth.tracking import locked


__all__ = ["COMPUTED", "list_studies", "use_study"]

PARAMS = "params.yaml"
STUDIES = "studies"
ASIDE = ".studies"
MLRUNS = "mlruns"

COMPUTED = (
    "data",
    "models",
    "bundles",
    "results",
    "checkpoints",
    "timings",
    MLRUNS,
    "dvc.lock",
)
"""What belongs to one study, relative to the repository."""


def list_studies(root: Path) -> list[dict[str, Any]]:
    """Return the studies of a repository: name, what its first line says, whether it is in use."""
    now = _current(root)
    return [
        {
            "name": path.stem,
            "about": path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# "),
            "current": now is not None and now.study == path.stem,
        }
        for path in sorted((root / STUDIES).glob("*.yaml"))
    ]


def use_study(name: str, root: Path, *, force: bool) -> list[str]:
    """Put a study into params.yaml, and what was computed for it into its place.

    Args:
        name: A study of `studies/`, or a params file.
        root: The repository.
        force: Replace a params.yaml that was edited by hand.

    Returns:
        What was done, a line each, and the next step.

    Raises:
        SettingsError: If there is no such study, if it is not valid, or if params.yaml holds edits
            that nothing else keeps.
    """
    path = _find(name, root)
    wanted = load_settings(path)
    text = path.read_text(encoding="utf-8")
    params = root / PARAMS
    done = []
    if not params.exists() or params.read_text(encoding="utf-8") != text:
        now = _current(root)
        if params.exists():
            old = "unknown" if now is None else now.study
            if not _is_kept_elsewhere(params, now, root):
                if not force:
                    raise SettingsError(
                        f"{params} was edited by hand, and no study file holds it: copy it to "
                        f"{STUDIES}/NAME.yaml (with `study: NAME`), or pass --force."
                    )
                write_text(_aside(root, old) / PARAMS, params.read_text(encoding="utf-8"))
                done.append(f"put aside the edited {PARAMS} as {ASIDE}/{old}/{PARAMS}")
            if old != wanted.study:
                done += _put_aside(root, old)
        write_text(params, text)
        done.append(f"wrote {PARAMS}: study {wanted.study}, from {path}")
    else:
        done.append(f"{PARAMS} holds study {wanted.study} already")
    return [*done, *_bring_back(root, wanted.study), "next: dvc repro"]


def _find(name: str, root: Path) -> Path:
    """Return the params file of a study's name, or the file itself."""
    named = root / STUDIES / f"{name}.yaml"
    if named.exists():
        return named
    if Path(name).is_file():
        return Path(name)
    known = [path.stem for path in sorted((root / STUDIES).glob("*.yaml"))]
    raise SettingsError(
        f"'{name}' is no study of {STUDIES}/ and no file; there are {', '.join(known) or 'none'}."
    )


def _current(root: Path) -> Settings | None:
    """Return the study in use; None if params.yaml describes none."""
    try:
        return load_settings(root / PARAMS)
    except SettingsError:
        return None


def _is_kept_elsewhere(params: Path, now: Settings | None, root: Path) -> bool:
    """Tell whether git or a study file holds what params.yaml says."""
    studies = sorted((root / STUDIES).glob("*.yaml"))
    if now is not None and any(load_settings(path) == now for path in studies):
        return True
    shown = subprocess.run(  # noqa: S603
        ["git", "show", f"HEAD:./{PARAMS}"],  # noqa: S607
        cwd=root,
        capture_output=True,
        check=False,
    )
    return shown.returncode == 0 and shown.stdout == params.read_bytes()


def _put_aside(root: Path, study: str) -> list[str]:
    aside = _aside(root, study)
    moved = []
    for name in COMPUTED:
        if not _is_bare(root / name):
            _remove(aside / name)
            # Not while the recorder is copying: it would go on in a folder that has moved.
            is_told = name == MLRUNS
            with locked(root / MLRUNS / "mlflow.lock") if is_told else nullcontext():
                (root / name).rename(aside / name)
            moved.append(name)
    return [f"put aside {', '.join(moved)} of study {study} in {ASIDE}/{study}"] if moved else []


def _bring_back(root: Path, study: str) -> list[str]:
    aside = root / ASIDE / study
    moved = []
    for name in COMPUTED:
        # What is in the working folder is newer than what was put aside.
        if (aside / name).exists() and _is_bare(root / name):
            _remove(root / name)
            (aside / name).rename(root / name)
            moved.append(name)
    return [f"brought back {', '.join(moved)} of study {study}"] if moved else []


def _aside(root: Path, study: str) -> Path:
    """Return where a study is put aside; neither git nor DVC looks into it."""
    for ignored in (".gitignore", ".dvcignore"):
        if not (root / ASIDE / ignored).exists():
            write_text(root / ASIDE / ignored, "*\n")
    (root / ASIDE / study).mkdir(exist_ok=True)
    return root / ASIDE / study


def _is_bare(path: Path) -> bool:
    """Return whether nothing was computed there: git cannot keep a folder without a file."""
    if path.is_dir():
        return all(inside.name == ".gitkeep" for inside in path.iterdir())
    return not path.exists()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
