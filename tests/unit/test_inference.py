"""A classifier, asked about a table of scans."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sitesynth.classifiers.ensemble import Ensemble
from sitesynth.classifiers.prediction import call, predict_labelled
from sitesynth.cohorts.acquired import Acquired
from sitesynth.errors import CohortError, LeakageError, MissingInputError, VolumeError
from sitesynth.images import read_images
from sitesynth.inference import predict_files, predict_table, read_table
from sitesynth.preprocessing.scans import preprocess_site
from sitesynth.settings import CohortSettings
from sitesynth.storage import digest_of_file
from sitesynth.volumes import Volume, write_nifti
from tests.unit.tiny_models import tiny_ensemble, tiny_ensemble_of_three, write_tiny_scan


Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    """Return two untrained classifiers."""
    return tiny_ensemble()


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    """Write three scans, of which the second lacks FLAIR, and return their rows."""
    found = [write_tiny_scan(tmp_path, f"p{number}", tilt=9.0 * number) for number in range(3)]
    found[1]["flair"] = ""
    return found


def write_table(folder: Path, rows: Rows, name: str = "scans") -> Path:
    pd.DataFrame(rows).to_csv(folder / f"{name}.csv", index=False)
    return folder / f"{name}.csv"


def predict(ensemble: Ensemble, table: Path, columns: Sequence[str] = ()) -> pd.DataFrame:
    renamed = dict(pair.split("=") for pair in columns)
    scans = read_table(table, ensemble.config, columns=renamed)
    return predict_table(ensemble, None, scans, on_scan=lambda number, values: None)


def test_a_scan_of_the_study_has_the_studys_probability(
    ensemble: Ensemble, rows: Rows, tmp_path: Path
) -> None:
    """By way of preprocess and evaluate; to the last digit where batches are the same."""
    config = ensemble.config
    cohort = CohortSettings(
        source=".",
        table="",
        columns={},
        codes={},
        sequences=config.sequences,
        has_mask=False,
        mask_labels=None,
        has_brain_mask=False,
        labels={"idh": config.classes},
        label_unit="patient",
        covariates=(),
    )
    acquired = pd.DataFrame(
        [
            {"scan_id": row["patient_id"], "site": "alder", "split": "", "idh": "mutant"}
            | row
            | {
                f"sha256_{name}": digest_of_file(tmp_path / row[name]) if row[name] else ""
                for name in config.sequences
            }
            for row in rows
        ],
        dtype=str,
    )
    preprocess_site(
        Acquired("alder", "external", tmp_path, acquired),
        splits=dict.fromkeys(acquired["scan_id"], "test"),
        folder=tmp_path / "images",
        cohort=cohort,
        grid=config.grid,
        intensity=config.intensity,
        num_workers=1,
        on_scan=lambda number, values: None,
    )
    studys = predict_labelled(ensemble, read_images(tmp_path / "images"), label_unit="patient")

    found = predict(ensemble, write_table(tmp_path, rows))
    assert list(found.columns) == ["patient_id", "scan_id", "probability", "call", "warning"]
    assert list(found["scan_id"]) == ["p0", "p1", "p2"]
    assert list(found["probability"]) == list(studys["probability"])
    assert found["probability"].is_unique


def test_a_scan_is_called_positive_from_the_threshold_on(ensemble: Ensemble) -> None:
    assert call(ensemble.config, np.array([[0.49], [0.5], [0.51]])) == [
        "wildtype",
        "mutant",
        "mutant",
    ]


def test_more_scans_than_a_batch_are_predicted_alike(
    ensemble: Ensemble, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = predict(ensemble, write_table(tmp_path, rows))
    monkeypatch.setattr("sitesynth.inference.BATCH_SIZE", 2)

    parts = predict(ensemble, write_table(tmp_path, rows))
    np.testing.assert_allclose(parts["probability"], whole["probability"], atol=2e-6)


def test_columns_may_have_other_names(ensemble: Ensemble, rows: Rows, tmp_path: Path) -> None:
    """Others, such as a site or a label of another code, are not looked at."""
    plain = predict(ensemble, write_table(tmp_path, rows))
    theirs = [
        {"id": row["patient_id"], "T1W": row["t1"], "flair": row["flair"], "idh": "?", "site": ""}
        for row in rows
    ]

    found = predict(ensemble, write_table(tmp_path, theirs), ["patient_id=id", "t1=T1W"])
    assert found.equals(plain)


def test_a_patient_may_have_several_scans(ensemble: Ensemble, rows: Rows, tmp_path: Path) -> None:
    several = [
        row | {"patient_id": "p", "scan_id": f"s{number}"} for number, row in enumerate(rows)
    ]

    found = predict(ensemble, write_table(tmp_path, several))
    assert list(found["patient_id"]) == ["p", "p", "p"]
    assert list(found["scan_id"]) == ["s0", "s1", "s2"]


def test_a_column_that_is_missing_is_named(ensemble: Ensemble, rows: Rows, tmp_path: Path) -> None:
    """It could be a misspelt sequence; one that nobody has is an empty column."""
    table = write_table(tmp_path, [{"patient_id": "p0", "t1": rows[0]["t1"]}])

    with pytest.raises(CohortError, match=r"no column 'flair'.*--column flair=NAME"):
        predict(ensemble, table)


def test_a_name_for_a_column_that_is_not_needed_is_refused(
    ensemble: Ensemble, rows: Rows, tmp_path: Path
) -> None:
    with pytest.raises(CohortError, match=r"no column \['t2'\] is needed"):
        predict(ensemble, write_table(tmp_path, rows), ["t2=T2"])


def test_the_data_contract_holds_here_too(ensemble: Ensemble, rows: Rows, tmp_path: Path) -> None:
    """One row per rule would repeat the tests of tables: one path, one file, one scan."""
    with pytest.raises(CohortError, match=r"row 2, column 't1': 'gone\.nii' does not exist"):
        predict(ensemble, write_table(tmp_path, [rows[0] | {"t1": "gone.nii"}]))
    with pytest.raises(LeakageError, match="both name the file"):
        predict(ensemble, write_table(tmp_path, [rows[0], rows[0] | {"patient_id": "p9"}]))
    with pytest.raises(CohortError, match="no sequence at all"):
        predict(ensemble, write_table(tmp_path, [rows[0] | {"t1": "", "flair": ""}]))
    with pytest.raises(MissingInputError, match="there is no table"):
        predict(ensemble, tmp_path / "gone.csv")


def test_a_file_that_is_no_image_is_named(ensemble: Ensemble, rows: Rows, tmp_path: Path) -> None:
    (tmp_path / rows[0]["t1"]).write_text("not a scan")

    with pytest.raises(VolumeError, match=r"p0_t1\.nii\.gz"):
        predict(ensemble, write_table(tmp_path, rows))


def test_a_classifier_that_looks_at_tumours_asks_where_they_are(rows: Rows, tmp_path: Path) -> None:
    """An empty mask is a scan centred on the head, as in training; no column is an oversight."""
    centred = tiny_ensemble(region="tumour")
    with pytest.raises(CohortError, match="no column 'mask'"):
        predict(centred, write_table(tmp_path, rows))

    found = predict(centred, write_table(tmp_path, [row | {"mask": ""} for row in rows]))
    plain = predict(tiny_ensemble(), write_table(tmp_path, rows))
    assert found.equals(plain)


def test_inside_a_mask_are_the_values_that_were_so_in_the_study(rows: Rows, tmp_path: Path) -> None:
    """1 is the tumour and 2 something at the other end, which would pull the grid's centre over."""
    values = np.zeros((12, 12, 10), np.float32)
    values[2:5, 2:5, 2:5] = 1
    for name, elsewhere in (("tumour", 0), ("both", 2)):
        values[8:11, 8:11, 7:9] = elsewhere
        write_nifti(tmp_path / f"{name}.nii", Volume(values, np.eye(4)), dtype=np.float32)
    tumour, both = (
        write_table(tmp_path, [row | {"mask": f"{name}.nii"} for row in rows[:1]], name)
        for name in ("tumour", "both")
    )
    told, blind = tiny_ensemble(region="tumour", mask_labels=(1,)), tiny_ensemble(region="tumour")

    assert predict(told, both).equals(predict(told, tumour))
    assert predict(told, both).equals(predict(blind, tumour))
    assert not predict(blind, both).equals(predict(blind, tumour))


def test_one_picture_may_hold_all_sequences(tmp_path: Path) -> None:
    """Colours are channels; a column per sequence gives the same."""
    flat = tiny_ensemble(grid=(8, 8))
    pixels = np.zeros((16, 16, 2), np.uint8)
    pixels[4:12, 3:13] = np.random.default_rng(0).integers(80, 250, (8, 10, 2))
    Image.fromarray(pixels, mode="LA").save(tmp_path / "both.png")
    for number, name in enumerate(("t1", "flair")):
        Image.fromarray(pixels[..., number]).save(tmp_path / f"{name}.png")

    one = predict(flat, write_table(tmp_path, [{"patient_id": "p", "image": "both.png"}]))
    row = {"patient_id": "p", "t1": "t1.png", "flair": "flair.png"}
    assert predict(flat, write_table(tmp_path, [row])).equals(one)


def test_of_three_classes_the_most_probable_is_called(rows: Rows, tmp_path: Path) -> None:
    """Three probabilities that sum up to 1, and the name of the largest."""
    ensemble = tiny_ensemble_of_three()
    found = predict(ensemble, write_table(tmp_path, rows))
    classes = list(ensemble.config.classes)
    chances = found[[f"probability_{name}" for name in classes]]

    assert list(found.columns) == [
        "patient_id", "scan_id", *chances.columns, "call", "warning"
    ]  # fmt: skip
    np.testing.assert_allclose(chances.sum(axis=1), 1.0, atol=3e-6)
    assert list(found["call"]) == [classes[number] for number in chances.to_numpy().argmax(axis=1)]


def test_no_scan_has_the_columns_of_every_class() -> None:
    ensemble = tiny_ensemble_of_three()
    found = predict_files(ensemble, None, [], on_scan=lambda number, values: None)

    assert list(found.columns)[:3] == [f"probability_{name}" for name in ensemble.config.classes]
    assert found.empty
