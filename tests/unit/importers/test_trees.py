"""Folders as they are found."""

import os
from pathlib import Path
from typing import Any

import pytest

from sitesynth.errors import CohortError, MissingInputError
from sitesynth.importers.trees import list_files


def test_files_are_listed_in_order_without_hidden_ones(tmp_path: Path) -> None:
    """Some systems leave `._b.nii.gz` beside `b.nii.gz`; it is no image."""
    for name in ("b.nii.gz", "._b.nii.gz", "a/c.nii.gz", ".cache/d.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    assert list_files(tmp_path) == ["a/c.nii.gz", "b.nii.gz"]


def test_a_link_is_followed_and_a_loop_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x.nii.gz").touch()
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "here").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "back").symlink_to(tmp_path / "source")

    assert list_files(tmp_path / "source") == ["here/x.nii.gz"]


def test_no_folder_a_file_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file.zip").touch()
    (tmp_path / "empty" / "deeper").mkdir(parents=True)

    with pytest.raises(MissingInputError, match="absent does not exist"):
        list_files(tmp_path / "absent")
    with pytest.raises(CohortError, match=r"file\.zip is not a folder"):
        list_files(tmp_path / "file.zip")
    with pytest.raises(CohortError, match="empty holds no file"):
        list_files(tmp_path / "empty")


def test_a_folder_that_cannot_be_listed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its patients would be missing silently. Root may list everything, hence the refusal here."""
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.nii.gz").touch()
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)

    with pytest.raises(CohortError, match=r"closed cannot be listed \(Permission denied\)"):
        list_files(tmp_path)
