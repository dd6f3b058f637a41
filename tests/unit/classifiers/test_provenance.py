"""What is told of a classifier's training scans, and which new scans are unlike them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sitesynth.classifiers.provenance import describe_fit, find_oddities, patient_digest
from sitesynth.images import ImageSet, read_images, write_index, write_voxels


CHANNELS = ("t1", "flair")


def image_set(folder: Path, levels: list[float], *, missing: int | None = None) -> ImageSet:
    """Write scans of two halves, one dark by 0.1 and one bright; one may lack flair."""
    rows = []
    for number, level in enumerate(levels):
        voxels = np.full((2, 4, 4), level, dtype=np.float32)
        voxels[:, :2] -= 0.1
        voxels[:, 2:] += 0.1
        if number == missing:
            voxels[1] = 0
        write_voxels(folder, f"s{number}", voxels)
        row = {"scan_id": f"s{number}", "patient_id": f"p{number // 2}", "site": "alder"}
        present = {"has_t1": "true", "has_flair": str(number != missing).lower()}
        rows.append(row | {"split": "train"} | present)
    write_index(folder, channels=CHANNELS, grid=[4, 4], rows=rows, about={})
    return read_images(folder)


def test_a_fit_is_described_by_patients_and_ranges(tmp_path: Path) -> None:
    """Means of 0.3 and 0.5, a deviation of 0.1; the scan without flair says nothing of flair."""
    images = image_set(tmp_path, [0.3, 0.5], missing=0)
    scans = {"real": {"alder": 2}, "synthetic": {}}
    told = describe_fit(scans=scans, offered={"alder": images}, learned=[images])

    assert told["scans"] == scans
    assert told["patients"] == {"alder": [patient_digest("p0")]}
    assert told["max_missing"] == 1
    assert told["looks"]["t1"] == {
        "mean": pytest.approx([0.3, 0.5], abs=1e-3),
        "sd": pytest.approx([0.1, 0.1], abs=1e-3),
    }
    assert told["looks"]["flair"]["mean"] == pytest.approx([0.5, 0.5], abs=1e-3)


def test_nothing_is_told_of_looks_where_the_hub_may_not_look(tmp_path: Path) -> None:
    images = image_set(tmp_path, [0.3, 0.5], missing=0)
    told = describe_fit(scans={}, offered={"alder": images}, learned=[])

    assert told["looks"] is None
    assert told["max_missing"] == 1


def test_the_same_patient_has_one_digest_and_no_name() -> None:
    assert patient_digest("P001") == patient_digest("P001") != patient_digest("P002")
    assert "P001" not in patient_digest("P001")


PROVENANCE = {
    "max_missing": 0,
    "looks": {name: {"mean": [0.2, 0.6], "sd": [0.0, 0.1]} for name in CHANNELS},
}


@pytest.mark.parametrize(
    ("t1", "flair", "said"),
    [
        (0.4, 0.4, ""),
        (0.69, 0.4, ""),  # a quarter of the width beyond is usual yet
        (0.71, 0.4, "mean of t1 0.710 (0.200 to 0.600 in training)"),
        (0.4, 0.05, "mean of flair 0.050 (0.200 to 0.600 in training)"),
        (0.4, 0.0, "1 sequences missing (at most 0 in training)"),
    ],
)
def test_a_scan_is_odd_beyond_the_range_and_its_slack(t1: float, flair: float, said: str) -> None:
    scan = torch.stack([torch.full((4, 4), t1), torch.full((4, 4), flair)])

    assert find_oddities(PROVENANCE, scan[None], CHANNELS) == [said]


def test_without_provenance_nothing_is_odd() -> None:
    assert find_oddities(None, torch.ones(2, 2, 4, 4), CHANNELS) == ["", ""]
