"""A site that is well passes; a site with one thing wrong is told which."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sitesynth.cohorts.acquired import Acquired
from sitesynth.cohorts.checks import check_site, raise_failures
from sitesynth.cohorts.data_docs import render_page
from sitesynth.cohorts.splits import voxel_digests
from sitesynth.cohorts.tables import canonical_columns
from sitesynth.cohorts.voxels import measure_scans
from sitesynth.errors import CohortError
from sitesynth.settings import CheckSettings, CohortSettings, TaskSettings
from sitesynth.tracking import Silent
from sitesynth.volumes import Volume, write_nifti


WriteScan = Callable[..., dict[str, str]]
PLACE = np.diag([2.0, 2.0, 3.0, 1.0])

RESULT: dict[str, Any] = {
    "site": "alder",
    "rules": [
        {"rule": "Fine", "step": "nothing", "failures": []},
        {
            "rule": "Every voxel is a finite number",
            "step": "export the image again",
            "failures": [
                {"place": f"scan 's{number}', t1 a.nii", "value": "num_nonfinite = 3"}
                for number in range(7)
            ],
        },
    ],
}


class TestRaising:
    """One error lists the first failures, whatever rule they break."""

    def test_a_failure_has_place_value_rule_and_next_step(self) -> None:
        with pytest.raises(CohortError) as error:
            raise_failures(RESULT, page=Path("results/checks/alder.html"))

        lines = str(error.value).splitlines()
        assert lines[0] == "the cohort of site 'alder' breaks 1 of 2 rules:"
        assert lines[1] == (
            "  scan 's0', t1 a.nii: num_nonfinite = 3. Rule: Every voxel is a finite number; "
            "export the image again."
        )
        assert lines[-2:] == ["  and 2 more", "Every check is on results/checks/alder.html."]

    def test_nothing_is_raised_where_every_rule_holds(self) -> None:
        raise_failures(RESULT | {"rules": RESULT["rules"][:1]}, page=Path("p.html"))


@pytest.mark.slow  # great-expectations takes 5 s to import
class TestChecking:
    """Each case breaks a site of two patients in one place."""

    @pytest.fixture
    def found(self, tmp_path: Path, write_scan: WriteScan, cohort: CohortSettings) -> Acquired:
        rows = [
            {"patient_id": scan, "scan_id": scan, "site": "alder", "split": "", "idh": label}
            | {"age": "61", "sex": "F"}
            | write_scan(scan)
            for scan, label in (("s1", "wildtype"), ("s2", "mutant"))
        ]
        columns = list(canonical_columns(cohort, has_image=False))
        return Acquired("alder", "training", tmp_path, pd.DataFrame(rows, columns=columns))

    @pytest.fixture
    def checked(
        self, cohort: CohortSettings, task: TaskSettings, check: CheckSettings
    ) -> Callable[[Acquired], dict[str, Any]]:
        def checked(found: Acquired) -> dict[str, Any]:
            measures = measure_scans(found, cohort=cohort, progress=Silent().progress)
            return check_site(found, measures, cohort=cohort, task=task, check=check)

        return checked

    def test_a_site_that_is_well_passes_with_the_same_bytes_each_time(
        self, found: Acquired, checked: Callable[[Acquired], dict[str, Any]]
    ) -> None:
        first, second = checked(found), checked(found)

        assert first["success"]
        raise_failures(first, page=Path("p.html"))
        assert json.dumps(first, allow_nan=False) == json.dumps(second, allow_nan=False)
        assert render_page(first, thumbnails={}) == render_page(second, thumbnails={})
        assert len(voxel_digests(first)["s2"]) == 3

    def test_a_scan_may_lack_a_sequence_a_label_and_its_mask(
        self, found: Acquired, checked: Callable[[Acquired], dict[str, Any]]
    ) -> None:
        bare = dict.fromkeys(("t1", "mask", "idh", "age", "sex"), "")
        row = found.table.loc[1].to_dict() | {"scan_id": "s3", "patient_id": "s3"} | bare
        table = pd.concat([found.table, pd.DataFrame([row])], ignore_index=True)

        assert checked(Acquired("alder", "training", found.root, table))["success"]

    @pytest.mark.parametrize(
        ("column", "change", "message"),
        [
            ("t1", lambda t1: t1 + np.float32(np.nan), "num_nonfinite = 120. Rule: Every voxel"),
            (
                "t1",
                lambda t1: np.where(np.indices(t1.shape).sum(axis=0) == 0, np.inf, t1),
                "num_nonfinite = 1. Rule: Every voxel",
            ),
            ("flair", lambda flair: 0 * flair + 7, "contrast = 0. Rule: No image is constant"),
            ("flair", lambda flair: flair[:5], "shape = 5 x 5 x 4, reference_shape = 6 x 5 x 4"),
            ("mask", lambda mask: mask[:5], "shape = 5 x 5 x 4, reference_shape = 6 x 5 x 4"),
            ("mask", lambda mask: 0 * mask, "mask_fraction = 0. Rule: Every mask has something"),
            ("mask", lambda mask: 0.3 * mask, "num_fractional = 8. Rule: Masks hold whole"),
            ("mask", lambda mask: 2 * mask - 1, "num_fractional = 112. Rule: Masks hold whole"),
            (
                "mask",
                lambda mask: np.arange(mask.size).reshape(mask.shape),
                "num_values = 120. Rule: Masks hold at most 16",
            ),
        ],
        ids=[
            *("all NaN", "infinite", "constant", "shapes differ", "mask's shape differs"),
            *("empty mask", "blurred mask", "negative mask", "image as mask"),
        ],
    )
    def test_bad_voxels_are_named_with_scan_file_value_and_rule(
        self,
        found: Acquired,
        checked: Callable[[Acquired], dict[str, Any]],
        column: str,
        change: Callable[[np.ndarray], np.ndarray],
        message: str,
    ) -> None:
        random = np.random.default_rng(0)
        voxels = random.integers(1, 100, (6, 5, 4)).astype(np.float32)
        if column == "mask":
            voxels = np.zeros((6, 5, 4), np.float32)
            voxels[2:4, 1:3, 1:3] = 1
        spoilt = Volume(change(voxels).astype(np.float32), PLACE)
        write_nifti(found.root / f"s2_{column}.nii.gz", spoilt, dtype=np.float32)

        result = checked(found)

        with pytest.raises(CohortError, match=message) as error:
            raise_failures(result, page=Path("p.html"))
        assert f"scan 's2', {column} s2_{column}.nii.gz" in str(error.value)
        assert "breaks 1 of" in str(error.value)
        assert message.split(". Rule", maxsplit=1)[0] in render_page(result, thumbnails={})

    def test_sequences_may_lie_on_grids_of_their_own_where_a_study_says_so(
        self,
        found: Acquired,
        cohort: CohortSettings,
        task: TaskSettings,
        check: CheckSettings,
    ) -> None:
        """Another shape at another place breaks two rules, which `any` does not have."""
        smaller = np.random.default_rng(0).integers(1, 100, (5, 5, 4)).astype(np.float32)
        elsewhere = PLACE.copy()
        elsewhere[:3, 3] = 7
        write_nifti(found.root / "s2_flair.nii.gz", Volume(smaller, elsewhere), dtype=np.float32)
        measures = measure_scans(found, cohort=cohort, progress=Silent().progress)
        one, own = (
            check_site(
                found,
                measures,
                cohort=cohort,
                task=task,
                check=check.model_copy(update={"grids": grids}),
            )
            for grids in ("one", "any")
        )

        assert not one["success"]
        assert own["success"]
        assert len(one["rules"]) == len(own["rules"]) + 2

    def test_a_truncated_file_is_named_with_what_is_wrong(
        self, found: Acquired, checked: Callable[[Acquired], dict[str, Any]]
    ) -> None:
        path = found.root / "s1_t1.nii.gz"
        path.write_bytes(path.read_bytes()[:100])

        with pytest.raises(CohortError, match=r"scan 's1', t1 .*truncated.*Every file can be read"):
            raise_failures(checked(found), page=Path("p.html"))

    @pytest.mark.parametrize(
        ("affine", "message"),
        [
            (np.diag([2.0, 2.0, 30.0, 1.0]), "largest_edge_mm = 30. Rule: No voxel edge is longer"),
            (np.diag([0.1, 2.0, 3.0, 1.0]), "smallest_edge_mm = 0.1. Rule: No voxel edge is short"),
        ],
    )
    def test_implausible_voxels_are_named(
        self,
        found: Acquired,
        checked: Callable[[Acquired], dict[str, Any]],
        write_scan: WriteScan,
        affine: np.ndarray,
        message: str,
    ) -> None:
        write_scan("s1", affine=affine)

        with pytest.raises(CohortError, match=message):
            raise_failures(checked(found), page=Path("p.html"))

    def test_a_sequence_that_lies_elsewhere_is_named(
        self, found: Acquired, checked: Callable[[Acquired], dict[str, Any]]
    ) -> None:
        voxels = np.arange(120, dtype=np.float32).reshape(6, 5, 4)
        moved = PLACE.copy()
        moved[0, 3] = 7
        write_nifti(found.root / "s1_flair.nii.gz", Volume(voxels, moved), dtype=np.float32)

        with pytest.raises(CohortError, match=r"affine_offset_mm = 7\. Rule: All files of a scan"):
            raise_failures(checked(found), page=Path("p.html"))

    def test_a_sequence_that_was_filled_with_another_is_named(
        self, found: Acquired, checked: Callable[[Acquired], dict[str, Any]]
    ) -> None:
        (found.root / "s1_flair.nii.gz").write_bytes((found.root / "s1_t1.nii.gz").read_bytes())

        with pytest.raises(CohortError, match=r"twin = t1\. Rule: No two sequences of a scan"):
            raise_failures(checked(found), page=Path("p.html"))

    def test_one_class_only_at_a_training_site_is_named(
        self, found: Acquired, checked: Callable[[Acquired], dict[str, Any]]
    ) -> None:
        found.table["idh"] = "wildtype"
        message = "site 'alder', patients with idh = mutant: num_patients = 0, at_least = 1"

        with pytest.raises(CohortError, match=message):
            raise_failures(checked(found), page=Path("p.html"))

    def test_one_class_only_at_an_external_site_is_fine(
        self, found: Acquired, checked: Callable[[Acquired], dict[str, Any]]
    ) -> None:
        found.table["idh"] = "wildtype"

        assert checked(Acquired("alder", "external", found.root, found.table))["success"]

    def test_too_few_patients_are_named(
        self, found: Acquired, checked: Callable[[Acquired], dict[str, Any]]
    ) -> None:
        few = Acquired("alder", "external", found.root, found.table[:1])

        with pytest.raises(CohortError, match="all patients: num_patients = 1, at_least = 2"):
            raise_failures(checked(few), page=Path("p.html"))

    def test_an_image_has_a_channel_for_each_sequence(
        self,
        found: Acquired,
        checked: Callable[[Acquired], dict[str, Any]],
        cohort: CohortSettings,
    ) -> None:
        """A colour picture has three, this study's sequences are two."""
        pixels = np.random.default_rng(0).integers(0, 255, (5, 6, 3), dtype=np.uint8)
        table = found.table.drop(columns=["t1", "flair", "mask"])
        for number, scan in enumerate(("s1", "s2")):
            Image.fromarray(pixels + np.uint8(number)).save(found.root / f"{scan}.png")
        table["image"] = ["s1.png", "s2.png"]

        with pytest.raises(CohortError, match=r"num_channels = 3\. Rule: Every image has 2 chan"):
            raise_failures(
                checked(Acquired("alder", "training", found.root, table)), page=Path("p.html")
            )
