"""What a training step is computed to need grows as it must, without a GPU to ask."""

import math
from pathlib import Path

import pytest

from benchmarks.memory import memory_of
from sitesynth.settings import Settings, load_settings


ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def study() -> Settings:
    return load_settings(ROOT / "params.yaml")


def with_knobs(study: Settings, **knobs: object) -> Settings:
    return study.model_copy(update={"compute": study.compute.model_copy(update=knobs)})


@pytest.mark.parametrize("network", ["autoencoder", "diffusion"])
def test_what_the_way_back_needs_is_proportional_to_the_samples(
    study: Settings, network: str
) -> None:
    """From one to two as much as from two to three; gradients are kept from part to part."""
    one, two, three = (
        memory_of(with_knobs(study, **{f"{network}_at_once": count}), network).rest
        for count in (1, 2, 3)
    )

    assert one < two
    assert three - two == pytest.approx(two - one, rel=0.05)


def test_states_and_copies_are_counted_by_weights(study: Settings) -> None:
    """AdamW keeps two numbers a weight, Muon one; a flow has three copies of its weights."""
    found = memory_of(study, "diffusion")
    blocks, width = study.diffusion.depth, study.diffusion.width
    # A token's own numbers and as many of one hint enter the first layer.
    numbers = 2 * study.autoencoder.latent_channels * math.prod(study.diffusion.patch)
    matrices = blocks * 12 * width**2 + numbers * width

    assert found.optimizer == 4 * (2 * found.num_weights - matrices)
    assert found.copies == 4 * 3 * found.num_weights
    assert found.rest > 4 * 2 * found.num_weights


def test_textures_need_more(study: Settings) -> None:
    """The bands of reconstructions stand by for the way back, of as many voxels each."""
    plain = memory_of(study, "autoencoder")
    asked = study.autoencoder.model_copy(update={"perceptual": 0.5})
    found = memory_of(study.model_copy(update={"autoencoder": asked}), "autoencoder")
    channels = len(study.cohort.sequences) + 1
    voxels = study.autoencoder.batch_size * channels * math.prod(study.grid.shape)

    assert found.num_weights == plain.num_weights
    assert found.rest > plain.rest + 3 * 4 * voxels


def test_blocks_that_are_computed_again_need_less(study: Settings) -> None:
    """Of two blocks, only one's insides are there at a time."""
    plain = memory_of(study, "diffusion").rest
    again = memory_of(with_knobs(study, recompute_blocks=True), "diffusion").rest

    assert again < 0.8 * plain
