"""Sites whose scanners differ by known shifts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sitesynth.errors import SitesynthError
from sitesynth.quality.matrix import (
    SiteFeatures,
    measure_matrix,
    read_features,
    read_network_features,
    summarize_quality,
    write_features,
)


SHIFTS = {"alder": 0.0, "birch": 1.5, "cedar": -1.0}


def site(shift: float, rng: np.random.Generator) -> SiteFeatures:
    """Return features of a site and of its perfect generator."""
    return SiteFeatures(
        real=rng.standard_normal((40, 6)) + shift,
        is_training=np.arange(40) < 30,
        patients=tuple(f"p{number // 2}" for number in range(40)),
        synthetic=rng.standard_normal((30, 6)) + shift,
    )


@pytest.fixture
def sites() -> dict[str, SiteFeatures]:
    rng = np.random.default_rng(7)
    return {name: site(shift, rng) for name, shift in SHIFTS.items()}


def test_each_site_is_nearest_to_its_own_generator(sites: dict[str, SiteFeatures]) -> None:
    """And farther from a generator the more its scanner differs: birch, cedar, alder."""
    matrix = measure_matrix(sites, num_resamples=20, rng=np.random.default_rng(0))

    for metric in ("kid", "fid"):
        for name, row in matrix[metric].items():
            values = {generator: entry["value"] for generator, entry in row.items()}
            by_shift = sorted(values, key=lambda other: abs(SHIFTS[other] - SHIFTS[name]))
            assert sorted(values, key=values.__getitem__) == by_shift


def test_a_row_is_in_units_of_its_own_site(sites: dict[str, SiteFeatures]) -> None:
    """A feature that one scanner stretches changes that site's row, and no entry's order."""
    stretched = {
        name: SiteFeatures(100 * s.real, s.is_training, s.patients, 100 * s.synthetic)
        for name, s in sites.items()
    }
    plain, scaled = (
        measure_matrix(given, num_resamples=20, rng=np.random.default_rng(0))
        for given in (sites, stretched)
    )

    for name, row in plain["kid"].items():
        for generator, entry in row.items():
            assert scaled["kid"][name][generator] == pytest.approx(entry, rel=1e-4)


def test_sites_with_other_features_are_no_matrix(sites: dict[str, SiteFeatures]) -> None:
    rng = np.random.default_rng(0)
    narrow = SiteFeatures(
        rng.random((4, 3)), np.ones(4, dtype=bool), ("a", "b", "c", "d"), rng.random((4, 3))
    )

    with pytest.raises(SitesynthError, match="same features of every site"):
        measure_matrix(sites | {"elm": narrow}, num_resamples=20, rng=rng)


def test_features_come_back_from_disk_without_names(
    tmp_path: Path, sites: dict[str, SiteFeatures]
) -> None:
    """Patients are numbers there: who is who stays at the site."""
    write_features(tmp_path / "alder.safetensors", sites["alder"], by_network={})
    found = read_features(tmp_path / "alder.safetensors")

    np.testing.assert_array_equal(found.real, sites["alder"].real)
    np.testing.assert_array_equal(found.is_training, sites["alder"].is_training)
    assert found.patients[:4] == ("0", "0", "1", "1")
    assert b"p17" not in (tmp_path / "alder.safetensors").read_bytes()


def test_audits_of_two_extractors_are_no_summary() -> None:
    audits: list[dict[str, Any]] = [
        {"site": name, "extractor": {"name": name}, "not_measured": []} for name in ("a", "b")
    ]

    with pytest.raises(SitesynthError, match="b with"):
        summarize_quality(audits, {}, by_network={})


def test_features_of_networks_come_back_each_under_its_name(
    tmp_path: Path, sites: dict[str, SiteFeatures]
) -> None:
    """Of the same scans and patients."""
    wide = replace(
        sites["alder"], real=sites["alder"].real * 2, synthetic=sites["alder"].synthetic * 3
    )
    path = tmp_path / "alder.safetensors"
    write_features(path, sites["alder"], by_network={"dino": wide})
    found = read_network_features(path)

    assert set(found) == {"dino"}
    np.testing.assert_array_equal(found["dino"].real, wide.real)
    np.testing.assert_array_equal(found["dino"].synthetic, wide.synthetic)
    assert found["dino"].patients == read_features(path).patients


def test_a_network_that_is_another_one_elsewhere_is_no_summary() -> None:
    """Two hospitals with two files of weights under one name."""
    audits: list[dict[str, Any]] = [
        {
            "site": site,
            **dict.fromkeys(("extractor", "brisque_model", "not_measured", "neighbours"), 1),
            "ms_ssim_scales": 1,
            "extractors": {"dino": {"extractor": {"digest": digest}, "found": {}}},
        }
        for site, digest in (("alder", "aa"), ("birch", "bb"))
    ]

    with pytest.raises(SitesynthError, match=r"extractors\.dino is .*aa.* at alder and .*bb"):
        summarize_quality(audits, {}, by_network={"dino": {}})
