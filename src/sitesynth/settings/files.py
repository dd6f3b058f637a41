"""Studies as files: params.yaml is read, checked and written here."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sitesynth.errors import SettingsError
from sitesynth.settings.study import Settings


def load_settings(path: Path, *, site: str | None = None) -> Settings:
    """Read and check params.yaml.

    Args:
        path: A YAML 1.2 file, the dialect DVC itself reads.
        site: Apply this site's overrides; None applies none.

    Returns:
        The checked settings.

    Raises:
        SettingsError: If the file cannot be read, or a key is missing, unknown, ill-typed or out
            of range; names every such key.
    """
    # ruamel, not PyYAML: under YAML 1.1 `1e-4` is a string and `NO` is False.
    try:
        raw = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(
            f"{path} does not exist; `sitesynth study use phantom` writes it."
        ) from error
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be read ({error.strerror}); name a study's YAML file."
        ) from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise SettingsError(
            f"{path} must hold the sections of a study, but holds {raw!r:.80}; `sitesynth study "
            "use phantom` writes one."
        )
    return check_settings(raw, named=str(path), site=site)


def check_settings(raw: Mapping[str, Any], *, named: str, site: str | None = None) -> Settings:
    """Check the content of a params file; `named` is what messages call it.

    Raises:
        SettingsError: As for `load_settings`.
    """
    try:
        settings = Settings.model_validate(raw)
        if site is None:
            return settings
        if site not in settings.sites.all:
            raise SettingsError(
                f"{named} has no site '{site}'; sites.all is {list(settings.sites.all)}."
            )
        return settings.at_site(site)
    except ValidationError as error:
        raise SettingsError(f"{named} is not a valid study:\n{_listed(error)}") from error


def settings_text(settings: Settings, *, about: str) -> str:
    """Return a study as the text of a params file, below a comment; `load_settings` reads it back.

    Args:
        settings: The study.
        about: What the comment says; its lines are kept.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None  # lists and innermost mappings on one line
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 100
    text = io.StringIO()
    yaml.dump(settings.model_dump(mode="json"), text)
    comment = "".join(f"# {line}\n" for line in about.splitlines())
    return f"{comment}\n{text.getvalue()}"


def _listed(error: ValidationError) -> str:
    """List each problem with its dotted key and the value that was found."""
    lines = []
    for problem in error.errors(include_url=False):
        key = ".".join(str(part) for part in problem["loc"]) or "(whole file)"
        is_told = problem["type"] in {"missing", "value_error"}
        shown = "" if is_told else f" (got {problem['input']!r:.80})"
        lines.append(f"  {key}: {problem['msg'].removeprefix('Value error, ')}{shown}")
    return "\n".join(lines)
