"""Registered models as MLflow loads and serves them."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sitesynth.classifiers.ensemble import write_ensemble
from sitesynth.errors import CohortError, SitesynthError
from sitesynth.exports import export_scans
from sitesynth.inference import predict_table, read_table
from sitesynth.mlruns import Column, Mlruns
from sitesynth.registry.packaging import Contents
from sitesynth.registry.versions import Submission, folder_of, register
from sitesynth.sampling import Solver
from sitesynth.serving import _load_pyfunc
from sitesynth.wanted import Wanted
from tests.unit.tiny_models import (
    tiny_ensemble,
    tiny_generator,
    write_tiny_bundle,
    write_tiny_scan,
)


KNOBS = {"sampler": "euler", "num_steps": 1, "eta": 0.0, "guidance": 1.0}


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    write_ensemble(tmp_path / "classifier", tiny_ensemble())
    return tmp_path / "classifier"


def rows_of(folder: Path) -> list[dict[str, str]]:
    """Write three scans, of which the second lacks FLAIR."""
    rows = [write_tiny_scan(folder, f"p{number}", tilt=9.0 * number) for number in range(3)]
    rows[1]["flair"] = ""
    return rows


def posted(folder: Path, rows: list[dict[str, str]], *, as_text: bool) -> pd.DataFrame:
    """Return what a client sends: the files themselves."""

    def content(name: str) -> bytes | str:
        data = (folder / name).read_bytes() if name else b""
        return base64.b64encode(data).decode() if as_text else data

    names = ("t1", "flair")
    return pd.DataFrame([{name: content(row[name]) for name in names} for row in rows])


@pytest.mark.parametrize("as_text", [False, True])
def test_a_scan_that_is_posted_gets_the_pipelines_number(
    classifier: Path, tmp_path: Path, *, as_text: bool
) -> None:
    rows = rows_of(tmp_path)
    pd.DataFrame(rows).to_csv(tmp_path / "scans.csv", index=False)
    ensemble = tiny_ensemble()
    scans = read_table(tmp_path / "scans.csv", ensemble.config, columns={})
    expected = predict_table(ensemble, None, scans, on_scan=lambda number, values: None)
    found = _load_pyfunc(str(classifier)).predict(posted(tmp_path, rows, as_text=as_text))

    assert found["probability"].tolist() == expected["probability"].tolist()
    assert found["call"].tolist() == expected["call"].tolist()
    assert np.ptp(found["probability"]) > 0


def test_a_path_is_not_read(classifier: Path) -> None:
    """A server that opened paths would show its disk to whoever may ask it."""
    with pytest.raises(CohortError, match=r"column t1 must hold a file's bytes.*'/etc/passwd'"):
        _load_pyfunc(str(classifier)).predict(pd.DataFrame([{"t1": "/etc/passwd"}]))


def test_a_scan_without_a_column_of_ours_is_refused(classifier: Path) -> None:
    with pytest.raises(CohortError, match=r"needs one of the columns \['t1', 'flair'\]"):
        _load_pyfunc(str(classifier)).predict(pd.DataFrame([{"t3": b""}]))


def test_a_generator_gives_the_files_that_sample_writes(tmp_path: Path) -> None:
    generator = tiny_generator((8, 8))
    bundle = write_tiny_bundle(tmp_path / "alder", generator)
    export_scans(
        tmp_path / "drawn",
        generator,
        [Wanted("mutant")] * 3,
        seed=7,
        solver=Solver("euler", num_steps=1, guidance=1.0, guidance_interval=(0.0, 1.0)),
        bundle_digest="",
        on_scan=lambda number: None,
    )
    row = {"label": "mutant", "index": 2, "seed": 7, **KNOBS}
    found = _load_pyfunc(str(bundle)).predict(pd.DataFrame([row]))

    assert list(found.columns) == ["t1", "mask"]
    assert found["t1"][0] == (tmp_path / "drawn/alder-mutant-00002_t1.png").read_bytes()


def test_a_sampler_that_there_is_not_is_named(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "alder", tiny_generator((8, 8)))
    row = {"label": "mutant", "index": 0, "seed": 7, **KNOBS, "sampler": "newton"}

    with pytest.raises(SitesynthError, match=r"no sampler 'newton'; there are .*multistep"):
        _load_pyfunc(str(bundle)).predict(pd.DataFrame([row]))


def test_a_class_that_the_generator_does_not_know_is_named(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "alder", tiny_generator((8, 8)))
    row = {"label": "wild", "index": 0, "seed": 7, **KNOBS}

    with pytest.raises(SitesynthError, match=r"draws idh as one of .*, not 'wild'"):
        _load_pyfunc(str(bundle)).predict(pd.DataFrame([row]))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")
def test_mlflow_serves_the_pipelines_number(
    classifier: Path, tmp_path: Path, mlruns_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`mlflow models serve`, a scan as base64 over HTTP, and the probability that comes back."""
    monkeypatch.setenv("SITESYNTH_MLRUNS", str(mlruns_folder))
    columns = [Column(name, "binary", required=False) for name in ("t1", "flair")]
    outputs = [
        Column("probability", "double", required=True),
        Column("call", "string", required=True),
        Column("warning", "string", required=True),
    ]
    contents = Contents(columns, outputs, {"t1": ""}, "# card\n", {}, "{}")
    submission = Submission(
        "classifier-idh", classifier, {}, [], "s", 0.0, is_candidate=True, contents=contents
    )
    mlruns = Mlruns()
    folder = folder_of(mlruns, register(mlruns, "s", submission))
    rows = rows_of(tmp_path)
    body = posted(tmp_path, rows, as_text=True)
    expected = _load_pyfunc(str(classifier)).predict(body)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["models", "serve", "--model-uri", str(folder), "--port", str(port)]
    with subprocess.Popen(
        [sys.executable, "-m", "mlflow", *command, "--env-manager", "local"],
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        start_new_session=True,
    ) as server:
        try:
            answer = post(port, {"dataframe_split": body.to_dict(orient="split", index=False)})
        finally:
            os.killpg(server.pid, signal.SIGTERM)
    found = pd.DataFrame(answer["predictions"])

    assert found["probability"].tolist() == expected["probability"].tolist()
    assert found["call"].tolist() == expected["call"].tolist()


def post(port: int, content: object, *, patience_s: float = 240.0) -> Any:
    """Post JSON to a server that may still be starting."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        data=json.dumps(content).encode(),
        headers={"Content-Type": "application/json"},
    )
    until = time.monotonic() + patience_s
    while True:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > until:
                raise
            time.sleep(1.0)
