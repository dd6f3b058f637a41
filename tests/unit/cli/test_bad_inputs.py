"""Whatever is wrong with what a user gives, one message says so; nothing is half written.

Bad files all lie in one cohort, whose study asks for quarantine: every one must be set aside with
its reason, and none of the sound ones with them.
"""

import io
import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from sitesynth.cli.main import main
from sitesynth.errors import VolumeError
from sitesynth.volumes import Volume, read_volume, write_nifti
from tests.unit.test_volumes import BAD_GZIP, BAD_NIFTI, BAD_PICTURES


PARAMS = Path(__file__).parents[3] / "params.yaml"
PLACE = np.diag([2.0, 2.0, 3.0, 1.0])
SOUND = {"a": ("p0", "p1", "p2", "p3"), "b": ("p4", "p5")}
HEADER = "patient_id,site,split,idh,age,sex,t1,flair"


def study(folder: Path, **changes: Mapping[str, Any]) -> Path:
    """Write a study of two hospitals and return its file."""
    yaml = YAML(typ="safe", pure=True)
    content = yaml.load(PARAMS.read_text())
    content["cohort"] |= {
        "source": str(folder),
        "table": "cohort.csv",
        "sequences": ["t1", "flair"],
        "has_mask": False,
        "labels": {"idh": ["wildtype", "mutant"]},
        "covariates": ["age", "sex"],
    }
    content["sites"] = {"all": ["a", "b"], "training": ["a"], "external": ["b"]}
    content["strategies"] = ["centralized", "synthetic"]
    content["registry"] |= {"candidates": ["synthetic"]}
    content["phantom"] = None
    content["overrides"] = {"a": {}, "b": {}}
    content["check"] |= {"min_patients": 2, "min_patients_per_class": 1}
    content["check"] |= {"bad_scans": "quarantine"}
    for section, knobs in changes.items():
        content[section] |= knobs
    with (folder / "study.yaml").open("w") as file:
        yaml.dump(content, file)
    return folder / "study.yaml"


def write_scan(path: Path, voxels: np.ndarray | None = None, *, affine: np.ndarray = PLACE) -> None:
    """Write a scan: the voxels given, or noise that belongs to the file's name."""
    seed = [*path.name.encode()]
    noise = np.random.default_rng(seed).integers(1, 100, (6, 5, 4))
    given = noise if voxels is None else voxels
    write_nifti(path, Volume(given.astype(np.float32), affine), dtype=np.float32)


def sound_rows(folder: Path) -> list[str]:
    """Write the scans of six patients and return their rows."""
    rows = []
    for site, patients in SOUND.items():
        for number, patient in enumerate(patients):
            for sequence in ("t1", "flair"):
                write_scan(folder / f"{patient}_{sequence}.nii.gz")
            label = ("wildtype", "mutant")[number % 2]
            rows.append(
                f"{patient},{site},,{label},61,F,{patient}_t1.nii.gz,{patient}_flair.nii.gz"
            )
    return rows


def told(argv: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[object, str, str]:
    """Run a command line; return its exit code and what it printed."""
    with pytest.raises(SystemExit) as ended:
        main(argv)
    shown = capsys.readouterr()
    return ended.value.code, shown.out, shown.err


# Files


@dataclass
class Bad:
    """A file that must not reach a network, and what is said of it."""

    name: str
    write: Callable[[Path, Path], object]
    """Of the file's path, and a folder to work in."""
    says: str


def content(make: Callable[[], bytes]) -> Callable[[Path, Path], object]:
    return lambda path, _: path.write_bytes(make())


def picture(make: Callable[[Path], bytes]) -> Callable[[Path, Path], object]:
    return lambda path, folder: path.write_bytes(make(folder))


def voxels(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path, Path], object]:
    noise = np.arange(1, 121, dtype=np.float32).reshape(6, 5, 4)
    return lambda path, _: write_scan(path, change(noise))


FILES = {
    **{f"nifti: {k}": Bad("t1.nii", content(make), says) for k, (make, says) in BAD_NIFTI.items()},
    **{f"gzip: {k}": Bad("t1.nii.gz", content(make), says) for k, (make, says) in BAD_GZIP.items()},
    **{
        f"picture: {k}": Bad(name, picture(make), says)
        for k, (name, make, says) in BAD_PICTURES.items()
    },
    "kind: DICOM": Bad("t1.dcm", content(lambda: bytes(128) + b"DICM"), "the suffix must be one"),
    "kind: numpy": Bad("t1.npy", content(lambda: b"\x93NUMPY"), "the suffix must be one of"),
    "voxels: all NaN": Bad("t1.nii", voxels(lambda v: v * np.nan), "num_nonfinite = 120"),
    "voxels: one infinite": Bad(
        "t1.nii", voxels(lambda v: np.where(v == 7, np.inf, v)), "num_nonfinite = 1"
    ),
    "voxels: constant": Bad("t1.nii", voxels(lambda v: 0 * v + 3), "contrast = 0"),
    "grid: edges of 30 mm": Bad(
        "t1.nii",
        lambda path, _: write_scan(path, affine=np.diag([2.0, 2.0, 30.0, 1.0])),
        "largest_edge_mm = 30",
    ),
    "grid: edges of 0.01 mm": Bad(
        "t1.nii",
        lambda path, _: write_scan(path, affine=np.diag([0.01, 2.0, 2.0, 1.0])),
        "smallest_edge_mm = 0.01",
    ),
}


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Check a cohort with every bad file in it, once, as a script would."""
    folder = tmp_path_factory.mktemp("bad")
    work = tmp_path_factory.mktemp("work")
    rows = sound_rows(folder)
    for number, bad in enumerate(FILES.values()):
        (folder / f"x{number}").mkdir()
        bad.write(folder / f"x{number}" / bad.name, work)
        rows.append(f"x{number},b,,,,,x{number}/{bad.name},")
    (folder / "cohort.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    params = study(folder)
    argv = ["check", str(folder / "cohort.csv"), "--params", str(params), "--json"]
    out = io.StringIO()
    with redirect_stdout(out), pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 0
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


@pytest.mark.slow  # great-expectations takes seconds to import
class TestFiles:
    """Each bad file is in the quarantine table."""

    @pytest.mark.parametrize("number", range(len(FILES)), ids=[*FILES])
    def test_a_bad_file_is_set_aside_with_its_reason(
        self, checked: dict[str, Any], number: int
    ) -> None:
        bad = [*FILES.values()][number]
        rows = [row for row in checked["b"]["quarantine"] if row["scan_id"] == f"x{number}"]

        assert rows
        assert {row["path"] for row in rows} == {f"x{number}/{bad.name}"}
        assert any(re.search(bad.says, row["value"]) for row in rows), rows
        assert all(row["step"] for row in rows)

    def test_sound_files_stay(self, checked: dict[str, Any]) -> None:
        aside = {row["scan_id"] for row in checked["b"]["quarantine"]}

        assert aside == {f"x{number}" for number in range(len(FILES))}
        assert checked["a"]["quarantine"] == []
        assert checked["b"]["groups"][0]["num_patients"] == len(SOUND["b"])
        assert all(result["success"] for result in checked.values())


# Tables

ROW = "p0,a,,wildtype,61,F,p0_t1.nii.gz,p0_flair.nii.gz"


def replaced(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new, 1)


def added(row: str) -> Callable[[str], str]:
    return lambda text: f"{text}{row}\n"


TABLES: dict[str, tuple[Callable[[str], str | bytes], str]] = {
    "empty": (lambda _: "", "is empty: it has neither a header nor a row"),
    "header only": (lambda _: HEADER + "\n", "it has a header, but no row"),
    "another encoding": (
        lambda text: text.replace("p0,", "p\xe9,").encode("latin-1"),
        "is not UTF-8",
    ),
    "UTF-16": (lambda text: text.encode("utf-16"), "is not UTF-8"),
    "a NUL": (lambda text: text + "\0", "holds a NUL character"),
    "an open quotation mark": (replaced("p0,a", '"p0,a'), "is not valid CSV"),
    "another delimiter": (lambda text: text.replace(",", "|"), "has no column 'patient_id'"),
    "a column twice": (replaced("sex", "age"), "has 2 columns named 'age'"),
    "no column of labels": (replaced("idh", "IDH-status"), "has no column 'idh'"),
    "a short row": (added("p9,a"), "row 8, has 2 cells, but the header has 8"),
    "no patient": (replaced("p0,a", ",a"), "column 'patient_id': '' must not be empty"),
    "no site": (replaced("p0,a", "p0,"), "column 'site': '' must not be empty"),
    "another site's name": (lambda text: text.replace(",b,", ",B,"), "no row for site 'b'"),
    "mixed case codes": (replaced("wildtype", "WildType"), "'WildType' must be one of"),
    "a date as age": (replaced("61", "1961-03-01"), "'1961-03-01' must be a number of years"),
    "a negative age": (replaced("61", "-1"), "'-1' must be a number of years from 0 to 120"),
    "an age with a comma": (replaced("61", '"61,5"'), "'61,5' must be a number of years"),
    "an age that is no number": (replaced("61", "nan"), "'nan' must be a number of years"),
    "a sex that is none": (replaced(",F,", ",0,"), "'0' must be one of"),
    "an unknown split": (replaced("p0,a,,", "p0,a,val,"), "'val' must be one of"),
    "a split at an external site": (replaced("p4,b,,", "p4,b,train,"), "is refused at an external"),
    "a path that is not there": (replaced("p0_t1.nii.gz", "no.nii.gz"), "does not exist in"),
    "a path to a folder": (replaced("p0_t1.nii.gz", "."), "is not a file in"),
    "a path outside": (replaced("p0_t1.nii.gz", "../p0_t1.nii.gz"), "leaves the table's folder"),
    "an absolute path": (replaced("p0_t1.nii.gz", "/etc/passwd"), "must be a path relative"),
    "a URL": (replaced("p0_t1.nii.gz", "https://a.b/c.nii"), "must be a path relative"),
    "a path with a line break": (
        replaced("p0_t1.nii.gz", '"p0_t1.nii\n.gz"'),
        "holds a line break or another control character",
    ),
    "a path of 300 letters": (replaced("p0_t1.nii.gz", 300 * "x"), "File name too long"),
    "backslashes": (replaced("p0_t1.nii.gz", "x\\p0.nii.gz"), r"write / instead of \\"),
    "a link to itself": (replaced("p0_t1.nii.gz", "loop.nii.gz"), "does not exist in"),
    "a pipe": (replaced("p0_t1.nii.gz", "pipe.nii.gz"), "is not a file in"),
    "no sequence at all": (added("p9,a,,mutant,61,F,,"), "no sequence at all"),
    "a row twice": (added(ROW), "have the scan_id 'p0', which must be unique"),
    "a patient at two sites": (
        added("p0,b,,wildtype,61,F,p4_flair.nii.gz,"),
        "patient 'p0' has site 'a' and 'b'",
    ),
    "a file of two scans": (
        added("p9,a,,mutant,61,F,p0_t1.nii.gz,"),
        "both name the file 'p0_t1.nii.gz'",
    ),
    "a file for two sequences": (
        replaced("p0_t1.nii.gz", "p0_flair.nii.gz"),
        r"\['t1', 'flair'\] name the same file",
    ),
}


def listing(folder: Path) -> dict[str, int]:
    """What lies in a folder, and since when."""
    return {path.name: path.lstat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Write a sound cohort, a link that leads nowhere and a pipe; return folder and table."""
    folder = tmp_path_factory.mktemp("tables")
    rows = sound_rows(folder)
    (folder / "loop.nii.gz").symlink_to("loop.nii.gz")
    os.mkfifo(folder / "pipe.nii.gz")
    study(folder)
    return folder, "\n".join([HEADER, *rows]) + "\n"


@pytest.mark.parametrize(("change", "says"), TABLES.values(), ids=[*TABLES])
def test_a_bad_table_is_refused_with_the_rule(
    sound: tuple[Path, str],
    change: Callable[[str], str | bytes],
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, text = sound
    changed = change(text)
    (folder / "cohort.csv").write_bytes(changed.encode() if isinstance(changed, str) else changed)
    before = listing(folder)

    code, out, err = told(
        ["check", str(folder / "cohort.csv"), "--params", str(folder / "study.yaml")], capsys
    )

    assert (code, out) == (2, "")
    assert "cohort.csv" in err
    assert re.search(says, err), err
    assert listing(folder) == before


# Studies

STUDIES: dict[str, tuple[Callable[[str], str | bytes], str]] = {
    "empty": (lambda _: "", "must hold the sections of a study, but holds None"),
    "a list": (lambda _: "- 1\n", "must hold the sections of a study"),
    "not YAML": (lambda text: text + "\n}", "is not YAML"),
    "not text": (lambda _: b"\xff\xfe\x00", "is not YAML"),
    "a missing section": (lambda text: text.replace("task:", "tusk:"), "task: Field required"),
    "a knob of a wrong type": (
        lambda text: text.replace("bad_scans: quarantine", "bad_scans: ignore"),
        r"check.bad_scans: .*got 'ignore'",
    ),
    "a key twice": (lambda text: text + "\nseed: 1\n", "is not YAML"),
    "code to run": (
        lambda text: text.replace("study:", "study: !!python/object/apply:os.getcwd []\nx:", 1),
        "is not YAML",
    ),
}


@pytest.mark.parametrize(("change", "says"), STUDIES.values(), ids=[*STUDIES])
def test_a_bad_study_is_refused_with_the_key(
    change: Callable[[str], str | bytes],
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    params = study(tmp_path)
    changed = change(params.read_text())
    params.write_bytes(changed.encode() if isinstance(changed, str) else changed)
    before = listing(tmp_path)

    code, out, err = told(["check", "cohort.csv", "--params", str(params)], capsys)

    assert (code, out) == (2, "")
    assert re.search(says, err), err
    assert listing(tmp_path) == before


# Files that are there, and cannot be used


def forbid(patch: pytest.MonkeyPatch, path: Path) -> None:
    """Let the file system refuse a file, as it does to all but root where its mode is 0."""
    opened = io.open

    def refusing(file: Any, *args: Any, **options: Any) -> Any:
        if str(file) == str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(file, *args, **options)

    patch.setattr(io, "open", refusing)


def test_a_table_that_may_not_be_read_is_named(
    sound: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, text = sound
    (folder / "cohort.csv").write_text(text)
    forbid(monkeypatch, folder / "cohort.csv")

    argv = ["check", str(folder / "cohort.csv"), "--params", str(folder / "study.yaml")]
    code, _, err = told(argv, capsys)

    assert code == 2
    assert "cohort.csv cannot be read (Permission denied); correct its permissions" in err


def test_a_scan_that_may_not_be_read_is_named(
    sound: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its digest is the first thing that is asked of it."""
    folder, text = sound
    (folder / "cohort.csv").write_text(text)
    forbid(monkeypatch, folder / "p1_t1.nii.gz")

    argv = ["check", str(folder / "cohort.csv"), "--params", str(folder / "study.yaml")]
    code, _, err = told(argv, capsys)

    assert code == 2
    assert "p1_t1.nii.gz cannot be used (Permission denied). Correct its path" in err


def test_voxels_that_may_not_be_read_are_an_error_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scan(tmp_path / "a.nii.gz")
    forbid(monkeypatch, tmp_path / "a.nii.gz")

    with pytest.raises(VolumeError, match=r"a\.nii\.gz cannot be read \(Permission denied\)"):
        read_volume(tmp_path / "a.nii.gz")
