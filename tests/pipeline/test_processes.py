"""Stages that several processes compute together, started as their users would."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file

from pipelines import split
from pipelines._stage import main
from sitesynth import seeds
from sitesynth.generators.weights import AUTOENCODER_FILE, FLOW_FILE
from sitesynth.images import write_index, write_voxels


ROOT = Path(__file__).parents[2]
LEARNING_RATE = 1e-3
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m")


def new_site(folder: Path, **compute: bool) -> Path:
    """Write a study's params and one site's scans, so small that a training takes seconds."""
    yaml = YAML(typ="safe", pure=True)
    params: dict[str, Any] = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["autoencoder"] |= {"channels": [8, 8], "num_steps": 3, "batch_size": 3}
    params["autoencoder"]["learning_rate"] = LEARNING_RATE
    params["diffusion"] |= {"width": 32, "depth": 1, "num_views": 2, "learning_rate": LEARNING_RATE}
    params["diffusion"] |= {"num_steps": 4, "batch_size": 5, "validate_every": 2}
    params["compute"] |= compute
    folder.mkdir()
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(params, file)
    rows = []
    for number in range(8):
        voxels = seeds.numpy_generator(0, "scan", number).random((2, 8, 8, 8))
        write_voxels(folder / "images", f"scan-{number}", voxels.astype(np.float32))
        rows.append(
            {"scan_id": f"scan-{number}", "patient_id": f"scan-{number}", "site": "alder"}
            | {"split": "train" if number < 5 else "validation", "has_t1": "true"}
            | {"has_mask": "true", "idh": ("wildtype", "mutant")[number % 2]}
        )
    about: dict[str, Any] = {}
    write_index(folder / "images", channels=("t1", "mask"), grid=(8, 8, 8), rows=rows, about=about)
    return folder


def train(folder: Path, *launcher: str) -> None:
    """Train a site's autoencoder and flow, by one process or by several."""
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
        "SITESYNTH_RECORDER": "off",
        "SITESYNTH_MLRUNS": "mlruns",
        # What a killed compiler has left elsewhere must not be found.
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
    }
    for stage, paths in (
        ("train_autoencoder", ["--images", "images", "--model", "encoder"]),
        ("train_diffusion", ["--images", "images", "--encoder", "encoder", "--model", "flow"]),
    ):
        done = subprocess.run(
            [sys.executable, "-m", *launcher, f"pipelines.{stage}", "--site", "alder", *paths],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]


def losses(folder: Path) -> list[float]:
    """Return the loss of each step."""
    with (folder / "history.csv").open(encoding="utf-8") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def assert_about_the_same(found: Path, expected: Path) -> None:
    """Only the order of sums may differ: by a fifth of one step of AdamW at most.

    Where a gradient is about zero, rounding decides the direction of AdamW's step.
    """
    for weights in (f"encoder/{AUTOENCODER_FILE}", f"flow/{FLOW_FILE}"):
        here, there = load_file(found / weights), load_file(expected / weights)
        assert here.keys() == there.keys()
        apart = torch.cat([(here[name] - there[name]).flatten() for name in there])
        assert float(apart.square().mean().sqrt()) < 0.2 * LEARNING_RATE, weights
    for stage in ("encoder", "flow"):
        assert losses(found / stage) == pytest.approx(losses(expected / stage), rel=1e-2)


@pytest.mark.slow
def test_two_processes_train_what_one_would(tmp_path: Path) -> None:
    """Batches of three and of five are shared unevenly; then one of the two writes.

    The same files, one journal per stage, one row per step.
    """
    alone, together = new_site(tmp_path / "alone"), new_site(tmp_path / "together")
    train(alone)
    train(together, *TORCHRUN)

    assert_about_the_same(together, alone)
    files = [
        sorted(
            path.relative_to(folder)
            for path in folder.rglob("*")
            if not {"mlruns", "kept"} & set(path.parts)
        )
        for folder in (alone, together)
    ]
    assert files[0] == files[1]
    # Named by the autoencoder's weights, whose last digits differ.
    assert len(list((together / "checkpoints/kept/train_diffusion@alder").iterdir())) == 1
    assert len(list((together / "mlruns/journals").iterdir())) == 2
    assert len((together / "flow/history.csv").read_text().splitlines()) == 5


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_blocks_train_the_same(tmp_path: Path) -> None:
    """Fused kernels round differently, so the weights are not those of plain ones to the bit."""
    plain = new_site(tmp_path / "plain")
    compiled = new_site(tmp_path / "compiled", compile_blocks=True)
    train(plain)
    train(compiled)

    assert_about_the_same(compiled, plain)
    flows = [(folder / "flow" / FLOW_FILE).read_bytes() for folder in (plain, compiled)]
    assert flows[0] != flows[1]


def test_a_stage_for_one_process_refuses_several(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two processes would write one file."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")

    with pytest.raises(SystemExit):
        main(split.run, [])

    assert "split is the work of one process, and 2 were started" in capsys.readouterr().err
