"""Phantoms that every site draws alike, and the autoencoder that is trained on them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines import train_autoencoder
from sitesynth.generators.latents import read_scale
from sitesynth.generators.phantoms import draw_phantoms
from sitesynth.generators.weights import AUTOENCODER_FILE
from sitesynth.images import read_images
from sitesynth.phantom.scanner import SEQUENCES
from sitesynth.processes import ALONE
from sitesynth.settings import PHANTOM_SEQUENCES, LatentsSettings, Settings, load_settings
from sitesynth.storage import digest_of_file
from sitesynth.tracking import Silent


PARAMS = Path(__file__).parents[3] / "params.yaml"


@pytest.fixture(scope="module")
def study() -> Settings:
    """Return the default study on a coarse grid, with two sequences and a tiny autoencoder."""
    study = load_settings(PARAMS)
    return study.model_copy(
        update={
            "cohort": study.cohort.model_copy(update={"sequences": ("t1", "flair")}),
            "grid": study.grid.model_copy(
                update={"shape": (8, 8, 8), "spacing_mm": (14.0, 14.0, 14.0)}
            ),
            "autoencoder": study.autoencoder.model_copy(
                update={"channels": (8,), "latent_channels": 4, "num_steps": 2}
            ),
            "latents": LatentsSettings(source="phantom", num_phantoms=3),
        }
    )


def test_the_settings_know_a_phantoms_sequences() -> None:
    """They cannot import the phantom."""
    assert PHANTOM_SEQUENCES == SEQUENCES


def test_every_site_gets_the_same_autoencoder_from_nobodys_scans(
    tmp_path: Path, study: Settings
) -> None:
    """Same digest and scale at two sites, neither of which has any scan to open; not by seed."""
    digests, scales = [], []
    for site, seed in (("alder", 1), ("birch", 1), ("cedar", 2)):
        train_autoencoder.run(
            site=site,
            images=tmp_path / "nothing here",
            model=tmp_path / site,
            cohort=study.cohort,
            grid=study.grid,
            intensity=study.intensity,
            autoencoder=study.autoencoder,
            latents=study.latents,
            compute=study.compute,
            seed=seed,
            processes=ALONE,
            scratch=tmp_path / "scratch" / site,
            tracked=Silent(),
        )
        digests.append(digest_of_file(tmp_path / site / AUTOENCODER_FILE))
        scales.append(read_scale(tmp_path / site))

    assert digests[0] == digests[1]
    assert digests[0] != digests[2]
    assert scales[0] == scales[1] != scales[2]
    assert len(scales[0].mean) == 4


def test_phantoms_are_whole_and_each_its_own(tmp_path: Path, study: Settings) -> None:
    """All sequences and a tumour; and the second call finds what the first has written."""
    wanted = {
        "num_phantoms": 2,
        "cohort": study.cohort,
        "grid": study.grid,
        "intensity": study.intensity,
        "seed": 1,
    }
    drawn = draw_phantoms(tmp_path, **wanted)  # type: ignore[arg-type]
    voxels = drawn.load(range(2))
    first = tmp_path / "voxels" / f"{drawn.table['scan_id'][0]}.npy"
    np.save(first, np.zeros((3, 8, 8, 8), dtype=np.float16))
    again = draw_phantoms(tmp_path, **wanted)  # type: ignore[arg-type]

    assert drawn.channels == ("t1", "flair", "mask")
    assert drawn.presence.all()
    assert set(read_images(tmp_path).table["split"]) == {"train"}
    assert (voxels.flatten(2).amax(dim=2) > 0.5).all()
    assert not torch.equal(voxels[0], voxels[1])
    assert not again.load([0]).any()
