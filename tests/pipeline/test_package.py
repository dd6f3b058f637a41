"""The stage `package` as DVC calls it: a generator that is not released leaves nothing behind."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines import package
from pipelines._stage import main
from sitesynth.privacy.release import digest_weights
from sitesynth.storage import write_json
from tests.pipeline.test_audit_stages import write_site


ROOT = Path(__file__).parents[2]

REASON = "5 of 12 synthetic scans are copies of training scans in voxels"

ARGUMENTS = [
    *("--site", "birch"),
    *("--images", "images"),
    *("--encoder", "encoder"),
    *("--model", "model"),
    *("--correction", "correction.json"),
    *("--privacy-audit", "privacy.json"),
    *("--quality-audit", "quality.json"),
    *("--bundle", "bundles/birch"),
]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory of a study with one generator, and its audit, which passed."""
    write_site(tmp_path, "birch")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    write_json(tmp_path / "model" / "losses.json", {})
    write_json(tmp_path / "quality.json", {})
    write_audit(tmp_path, verdict="passed", reasons=[])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SITESYNTH_MLRUNS", "mlruns")
    return tmp_path


def write_audit(folder: Path, **gate: Any) -> None:
    """Write a privacy audit of the generator that lies there."""
    weights = digest_weights(folder / "encoder", folder / "model", folder / "correction.json")
    audit = {"site": "birch", "weights": weights, "epsilon": None, "gate": gate}
    write_json(folder / "privacy.json", audit)


def test_a_passed_generator_is_packed(study: Path) -> None:
    """So that the refusals below are of the verdict, and of nothing else."""
    main(package.run, ARGUMENTS)

    assert (study / "bundles" / "birch" / "SIGNATURE.json").exists()


def test_a_refused_verdict_fails_the_stage(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, which stops `dvc repro`, the gate's own reason, and no file of a bundle."""
    write_audit(study, verdict="refused", reasons=[REASON])

    with pytest.raises(SystemExit) as stopped:
        main(package.run, ARGUMENTS)

    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert "package: ReleaseRefusedError: the generator of birch may not leave its site" in told
    assert REASON in told
    assert not list((study / "bundles").iterdir())


def test_an_audit_of_other_weights_fails_the_stage(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pass is of the weights that were audited, and not of those trained since."""
    audit = json.loads((study / "privacy.json").read_text())
    audit["weights"] = dict.fromkeys(audit["weights"], "0" * 64)
    write_json(study / "privacy.json", audit)

    with pytest.raises(SystemExit) as stopped:
        main(package.run, ARGUMENTS)

    assert stopped.value.code == 2
    assert "ReleaseRefusedError: the privacy audit of birch is of other weights" in (
        capsys.readouterr().err
    )
    assert not list((study / "bundles").iterdir())


@pytest.mark.slow
def test_the_command_of_a_refused_generator_exits_with_2(study: Path) -> None:
    """In a process of its own, as `dvc repro` runs it and reads its exit code."""
    write_audit(study, verdict="refused", reasons=[REASON])
    (study / "pipelines").symlink_to(ROOT / "pipelines")
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.package", *ARGUMENTS],
        cwd=study,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "ReleaseRefusedError" in done.stderr
    assert not list((study / "bundles").iterdir())
