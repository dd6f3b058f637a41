"""A study that cannot be is refused with the key, the value and the rule."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from sitesynth.errors import SettingsError
from sitesynth.settings import load_settings


PARAMS = Path(__file__).parents[2] / "params.yaml"

Study = dict[str, Any]
Write = Callable[[Study], Path]


@pytest.fixture
def study() -> Study:
    """Return the default study, for a test to spoil in one place."""
    content: Study = YAML(typ="safe", pure=True).load(PARAMS.read_text())
    return content


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a study to `params.yaml` in the test's folder."""

    def write(study: Study) -> Path:
        path = tmp_path / "params.yaml"
        with path.open("w") as file:
            YAML(typ="safe", pure=True).dump(study, file)
        return path

    return write


@pytest.mark.parametrize("has_mask", [True, False])
def test_no_sequence_is_called_mask(study: Study, write: Write, *, has_mask: bool) -> None:
    study["cohort"] |= {"sequences": ["t1", "mask"], "has_mask": has_mask}

    with pytest.raises(SettingsError, match=r"cohort\.sequences: 'mask' is .*\['t1', 'mask'\]"):
        load_settings(write(study))


def test_a_sequence_that_is_named_twice_is_shown(study: Study, write: Write) -> None:
    study["cohort"]["sequences"] = ["t1", "t2", "t1"]

    with pytest.raises(
        SettingsError, match=r"cohort\.sequences: \['t1'\] are named more than once"
    ):
        load_settings(write(study))


def test_sequences_keep_their_order(study: Study, write: Write) -> None:
    study["cohort"]["sequences"] = ["t2", "t1"]

    assert load_settings(write(study)).cohort.sequences == ("t2", "t1")
