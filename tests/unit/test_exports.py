"""What is drawn outside a study: files that others open, and where they come from."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from sitesynth.errors import SitesynthError
from sitesynth.exports import affine_of, export_scans
from sitesynth.generators.generator import Generator
from sitesynth.images import read_images
from sitesynth.sampling import NOTHING, Solver, draw_scans, write_samples
from sitesynth.settings import SamplingSettings
from sitesynth.volumes import read_volume
from sitesynth.wanted import Wanted
from tests.unit.tiny_models import TINY_COVARIATES, tiny_generator


SOLVER = Solver("heun", num_steps=2, guidance=2.0, guidance_interval=(0.0, 1.0))


@pytest.fixture(scope="module")
def generator() -> Generator:
    """Return a generator of scans of 8 x 8 x 4 voxels."""
    return tiny_generator((8, 8, 4), (2.0, 2.0, 5.0))


def export(
    folder: Path,
    generator: Generator,
    *,
    label: str = "mutant",
    count: int = 1,
    seed: int = 1,
    asked: Mapping[str, str] = NOTHING,
) -> list[str]:
    """Draw scans and return the names of the files."""
    return export_wanted(folder, generator, [Wanted(label, asked)] * count, seed=seed)


def export_wanted(
    folder: Path, generator: Generator, wanted: Sequence[Wanted], *, seed: int = 1
) -> list[str]:
    """Draw the wanted scans and return the names of the files."""
    export_scans(
        folder,
        generator,
        wanted,
        seed=seed,
        solver=SOLVER,
        bundle_digest="d1",
        on_scan=lambda number: None,
    )
    return sorted(path.name for path in folder.iterdir())


def test_each_file_says_what_it_was_drawn_from(generator: Generator, tmp_path: Path) -> None:
    """Drawing by the words of a sidecar gives the voxels of its file."""
    assert export(tmp_path / "drawn", generator, count=2) == [
        *("alder-mutant-00000_mask.json", "alder-mutant-00000_mask.nii.gz"),
        *("alder-mutant-00000_t1.json", "alder-mutant-00000_t1.nii.gz"),
        *("alder-mutant-00001_mask.json", "alder-mutant-00001_mask.nii.gz"),
        *("alder-mutant-00001_t1.json", "alder-mutant-00001_t1.nii.gz"),
    ]
    said = json.loads((tmp_path / "drawn/alder-mutant-00001_t1.json").read_text())
    assert said == {
        "bundle": "d1",
        "site": "alder",
        "label": "mutant",
        "seed": 1,
        "index": 1,
        "sampler": "heun",
        "num_steps": 2,
        "guidance": 2.0,
        "guidance_interval": [0.0, 1.0],
        "channel": "t1",
    }
    scan = draw_scans(generator, said["label"], [said["index"]], seed=said["seed"], solver=SOLVER)
    found = read_volume(tmp_path / "drawn/alder-mutant-00001_t1.nii.gz").voxels
    np.testing.assert_allclose(found, scan[0, 0], atol=1e-5)
    assert found.std() > 0


def test_how_many_are_drawn_changes_none(generator: Generator, tmp_path: Path) -> None:
    """To the byte: a batch that is not full is filled up, and the rest thrown away."""
    export(tmp_path / "one", generator, count=1)
    export(tmp_path / "nine", generator, count=9)

    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "nine" / path.name).read_bytes()


def test_with_the_studys_seed_they_are_the_studys_scans(
    generator: Generator, tmp_path: Path
) -> None:
    """An image set keeps half precision."""
    settings = SamplingSettings(
        sampler="heun",
        num_steps=2,
        eta=0.0,
        eta_interval=(0.0, 1.0),
        guidance=2.0,
        guidance_interval=(0.0, 1.0),
        num_per_class=2,
        batch_size=3,
        correction=None,
    )
    write_samples(
        tmp_path / "study", generator, counts=(0, 2), settings=settings, bundle_digest="d", seed=1
    )
    export(tmp_path / "drawn", generator, count=2)

    studys = read_images(tmp_path / "study").load([1])[0, 0]
    own = read_volume(tmp_path / "drawn/alder-mutant-00001_t1.nii.gz").voxels
    np.testing.assert_allclose(own, studys, atol=1e-3)


def test_the_sidecar_says_the_covariates_and_they_may_be_asked_for(tmp_path: Path) -> None:
    """What is not asked for is drawn: an age of 32 to 48 for women who are mutants."""
    told = tiny_generator((8, 8), covariates=TINY_COVARIATES)
    export(tmp_path / "drawn", told)
    export(tmp_path / "women", told, asked={"sex": "F"})
    drawn, woman = (
        json.loads((tmp_path / name / "alder-mutant-00000_t1.json").read_text())["covariates"]
        for name in ("drawn", "women")
    )

    assert set(drawn) == {"age", "sex"}
    assert woman["sex"] == "F"
    assert 32 <= float(woman["age"]) <= 48


def test_a_covariate_that_was_not_learned_leaves_no_folder(tmp_path: Path) -> None:
    told = tiny_generator((8, 8), covariates=TINY_COVARIATES)

    with pytest.raises(SitesynthError, match=r"from 20 to 80, not '200'"):
        export(tmp_path / "drawn", told, asked={"age": "200"})
    assert not (tmp_path / "drawn").exists()


def test_a_scan_of_a_table_depends_on_its_own_row_only(tmp_path: Path) -> None:
    """To the byte: what stands beside it, of its class or another, changes nothing."""
    told = tiny_generator((8, 8, 4), covariates=TINY_COVARIATES)
    old, young = Wanted("mutant", {"age": "60"}), Wanted("mutant", {"age": "30", "sex": "F"})
    export_wanted(tmp_path / "many", told, [old, Wanted("wildtype"), young, *[old] * 8])
    export_wanted(tmp_path / "two", told, [old, young])

    alone = [path for path in (tmp_path / "two").iterdir() if "mutant" in path.name]
    assert len(alone) == 2 * 2 * 2
    assert all(path.read_bytes() == (tmp_path / "many" / path.name).read_bytes() for path in alone)
    said = json.loads((tmp_path / "many/alder-mutant-00001_t1.json").read_text())
    assert said["covariates"] == {"age": "30", "sex": "F"}


def test_rows_of_a_class_are_the_scans_of_its_count(generator: Generator, tmp_path: Path) -> None:
    """A table that asks for a class alone draws what --label and --count draw."""
    export_wanted(tmp_path / "table", generator, [Wanted("wildtype"), Wanted("mutant")])
    names = export(tmp_path / "count", generator)

    assert all(
        (tmp_path / "count" / name).read_bytes() == (tmp_path / "table" / name).read_bytes()
        for name in names
    )


def test_a_channel_that_is_not_wanted_has_no_file(tmp_path: Path, rng: torch.Generator) -> None:
    """The generator is told, and so draws another scan; the same folder goes on."""
    generator = tiny_generator((8, 8, 4), (2.0, 2.0, 5.0))
    for weights in generator.flow.parameters():
        # Untrained, a flow minds no condition.
        weights.data += 0.1 * torch.randn(weights.shape, generator=rng)
    without = [Wanted("mutant", missing=("mask",)), Wanted("mutant")]
    names = export_wanted(tmp_path / "drawn", generator, without)
    said = json.loads((tmp_path / "drawn/alder-mutant-00000_t1.json").read_text())
    export(tmp_path / "whole", generator)
    drawn, whole = (
        read_volume(tmp_path / folder / "alder-mutant-00000_t1.nii.gz").voxels
        for folder in ("drawn", "whole")
    )

    assert [name for name in names if name.startswith("alder-mutant-00000")] == [
        "alder-mutant-00000_t1.json",
        "alder-mutant-00000_t1.nii.gz",
    ]
    assert said["missing"] == ["mask"]
    assert not np.array_equal(drawn, whole)
    assert export_wanted(tmp_path / "drawn", generator, without) == names


def test_an_interrupted_draw_goes_on_to_the_same_files(
    generator: Generator, tmp_path: Path
) -> None:
    """What is whole stays as it lies; what a kill left half-written goes."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    export(whole, generator, count=9)
    export(killed, generator, count=8)
    (killed / ".writing-abc-alder.json").write_text("{")
    (killed / "alder-mutant-00008_t1.nii.gz").write_bytes(b"half")
    kept = (killed / "alder-mutant-00000_t1.nii.gz").stat().st_ino

    assert export(killed, generator, count=9) == sorted(path.name for path in whole.iterdir())
    assert all(path.read_bytes() == (whole / path.name).read_bytes() for path in killed.iterdir())
    assert (killed / "alder-mutant-00000_t1.nii.gz").stat().st_ino == kept


def test_another_draw_is_not_mixed_in(generator: Generator, tmp_path: Path) -> None:
    """Neither one of another seed nor one of more scans."""
    export(tmp_path / "drawn", generator, count=2)

    with pytest.raises(SitesynthError, match=r"00000_t1.json says that its scan was drawn otherw"):
        export(tmp_path / "drawn", generator, count=2, seed=2)
    with pytest.raises(SitesynthError, match=r"but holds alder-mutant-00001_mask.json"):
        export(tmp_path / "drawn", generator, count=1)


def test_the_middle_of_a_scan_is_the_worlds_origin(generator: Generator, tmp_path: Path) -> None:
    """And its voxels have the generator's size, in the file too."""
    export(tmp_path / "drawn", generator)
    volume = read_volume(tmp_path / "drawn/alder-mutant-00000_mask.nii.gz")

    np.testing.assert_allclose(volume.affine, affine_of(generator.config))
    np.testing.assert_allclose(volume.affine @ [3.5, 3.5, 1.5, 1], [0, 0, 0, 1], atol=1e-6)
    assert volume.spacing_mm == pytest.approx((2.0, 2.0, 5.0))
    assert set(np.unique(volume.voxels)) <= {0.0, 1.0}


def test_a_plane_is_a_picture_the_same_way_up(tmp_path: Path) -> None:
    """Eight bits are good to half a gray level."""
    flat = tiny_generator((8, 16))
    names = export(tmp_path / "drawn", flat, label="wildtype")
    scan = draw_scans(flat, "wildtype", [0], seed=1, solver=SOLVER)

    assert "alder-wildtype-00000_t1.png" in names
    found = read_volume(tmp_path / "drawn/alder-wildtype-00000_t1.png").voxels / 255
    np.testing.assert_allclose(found, scan[0, 0], atol=0.51 / 255)


def test_a_class_that_the_generator_does_not_know_is_refused(
    generator: Generator, tmp_path: Path
) -> None:
    with pytest.raises(SitesynthError, match=r"draws idh as one of \['wildtype', 'mutant'\]"):
        export(tmp_path / "drawn", generator, label="mutated")
    assert not (tmp_path / "drawn").exists()


def test_a_folder_that_holds_something_is_refused(generator: Generator, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")

    with pytest.raises(SitesynthError, match="must be a new or an empty folder"):
        export(tmp_path, generator)
    with pytest.raises(SitesynthError, match="must be a new or an empty folder"):
        export(tmp_path / "mine.txt", generator)
