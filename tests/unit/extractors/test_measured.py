"""What a network sees of a scan, and what becomes of it, by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sitesynth.errors import ExtractorError
from sitesynth.extractors.inputs import inputs_of
from sitesynth.extractors.measured import (
    NetworkExtractor,
    NetworkFeatures,
    check_varies,
    read_extractors,
)
from sitesynth.features import FeatureScale
from sitesynth.settings import ExtractorSettings
from tests.unit.extractors.networks_for_tests import Brightness, settings_for, write_program


RNG = np.random.default_rng(0)


def settings(**changed: Any) -> ExtractorSettings:
    entry = {"size": (4, 4), "channels": 3, "slices": 2, "mean": (0.0,) * 3, "spread": (1.0,) * 3}
    return settings_for(Path("none"), "program", **(entry | changed))


def extractor(dims: int = 2, **changed: Any) -> NetworkExtractor:
    return NetworkExtractor("it", settings(**changed), Brightness(dims), num_sequences=2)


def test_slices_are_of_every_plane_and_where_there_is_head() -> None:
    """Rows 2 to 5 of eight hold head: of two slices, the middle of each half, 3 and 5."""
    sequence = np.arange(8.0).reshape(8, 1, 1) * np.ones((1, 8, 8)) / 8
    head = np.zeros((8, 8, 8), dtype=bool)
    head[2:6, :, :] = True
    planes = inputs_of(sequence, head, settings())

    assert [plane.shape for plane in planes] == [(2, 3, 4, 4)] * 3
    assert planes[0][:, 0, 0, 0].tolist() == [3 / 8, 5 / 8]


def test_the_publishers_constants_are_taken_off_and_divided_by() -> None:
    told = settings(mean=(0.1, 0.2, 0.3), spread=(0.5, 1.0, 2.0))
    (found,) = inputs_of(np.full((4, 4), 0.6), np.ones((4, 4), dtype=bool), told)

    torch.testing.assert_close(found[0, :, 0, 0], torch.tensor([1.0, 0.4, 0.15]))


def test_without_constants_the_head_has_mean_0_and_spread_1_and_the_air_is_0() -> None:
    """Whatever the scanner's gain and offset were."""
    voxels, head = RNG.random((6, 6, 6)), np.zeros((6, 6, 6), dtype=bool)
    head[1:5] = True
    told = settings(size=(6, 6, 6), channels=1, slices=None, mean=None, spread=None)
    (found,) = inputs_of(voxels, head, told)
    (brighter,) = inputs_of(0.3 + 0.5 * voxels, head, told)

    inside = found[0, 0][torch.from_numpy(head)]
    assert abs(float(inside.mean())) < 1e-6
    assert abs(float(inside.std(correction=0)) - 1) < 1e-5
    assert not found[0, 0][~torch.from_numpy(head)].any()
    torch.testing.assert_close(found, brighter, rtol=1e-4, atol=1e-5)


def test_a_volume_is_shown_whole_at_the_networks_size() -> None:
    told = settings(size=(4, 5, 6), channels=1, slices=None, mean=None, spread=None)
    (found,) = inputs_of(RNG.random((8, 8, 8)), np.ones((8, 8, 8), dtype=bool), told)

    assert found.shape == (1, 1, 4, 5, 6)


def test_a_flat_or_blank_sequence_has_finite_inputs() -> None:
    told = settings(mean=None, spread=None)
    for head in (np.zeros((4, 4, 4), dtype=bool), np.ones((4, 4, 4), dtype=bool)):
        planes = inputs_of(np.zeros((4, 4, 4)), head, told)
        assert all(torch.isfinite(plane).all() for plane in planes)


def test_features_are_means_over_slices_and_a_block_per_sequence() -> None:
    """Constant sequences: mean and twice the second moment, 0.5 and 0.5, then 0.2 and 0.08."""
    scan = np.stack([np.full((8, 8, 8), 0.5), np.full((8, 8, 8), 0.2)])
    found = extractor().extract(scan, np.array([True, True]))

    np.testing.assert_allclose(found, [0.5, 0.5, 0.2, 0.08], rtol=1e-6)


def test_a_missing_sequence_is_unknown_and_changes_nothing_else() -> None:
    scan = RNG.random((2, 8, 8, 8))
    scan[1] = 0
    both = extractor().extract(scan, np.array([True, True]))
    found = extractor().extract(scan, np.array([True, False]))

    assert np.isnan(found).tolist() == [False, False, True, True]
    np.testing.assert_allclose(found[:2], both[:2])


def test_a_mask_is_not_shown() -> None:
    scan = RNG.random((3, 8, 8, 8))
    other = scan.copy()
    other[2] = 1.0
    everything = np.ones(3, dtype=bool)

    np.testing.assert_array_equal(
        extractor().extract(scan, everything), extractor().extract(other, everything)
    )


def test_what_a_training_scan_lacks_is_hidden_of_its_synthetic_twin() -> None:
    features = np.arange(8.0).reshape(2, 4)
    hidden = extractor().hide(features, np.array([[True, True], [False, True]]))

    assert np.isnan(hidden).tolist() == [[False] * 4, [True, True, False, False]]


def test_scans_keep_their_number_whatever_the_order() -> None:
    seen = NetworkFeatures((extractor(),), np.ones((2, 2), dtype=bool))
    for number in (1, 0):
        seen.observe(number, np.full((2, 8, 8, 8), 0.2 + 0.4 * number))

    np.testing.assert_allclose(seen.of("it")[:, 0], [0.2, 0.6], rtol=1e-6)


def test_the_digest_is_of_what_is_shown_and_not_of_where_the_file_is(tmp_path: Path) -> None:
    entry = {"size": (4, 4), "channels": 3, "slices": 2}
    here = write_program(tmp_path / "here.pt2", Brightness(2), (1, 3, 4, 4))
    there = tmp_path / "there.pt2"
    there.write_bytes(here.read_bytes())
    digests = [
        found.description["digest"]
        for path, slices in ((here, 2), (there, 2), (here, 3))
        for found in read_extractors(
            {"it": settings_for(path, "program", **(entry | {"slices": slices}))}, num_sequences=1
        )
    ]

    assert digests[0] == digests[1] != digests[2]


def test_features_that_tell_no_two_scans_apart_are_an_error() -> None:
    with pytest.raises(ExtractorError, match=r"extractors\.it: none of its 3 features varies"):
        check_varies("it", FeatureScale.of(np.ones((5, 3))))
