"""Sites whose scanners differ by known shifts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sitesynth.errors import SitesynthError
from sitesynth.features import FeatureScale
from sitesynth.quality.fidelity import kid
from sitesynth.quality.matrix import (
    SiteFeatures,
    measure_held_out_row,
    measure_matrix,
    measure_row,
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


def test_held_out_scans_do_not_reward_a_copier() -> None:
    """Where all sites are alike, a generator wins its row by what it remembers, and by that alone.

    A copier's scans meet themselves among all real scans: of its pairs with the 40 real scans, one
    in 40. In d = 30 dimensions the kernel of a scan with itself is E(1 + chi2_d / d)^3
    = 1 + 3 + 3 (1 + 2/30) + 32 34 / 30^2 = 8.41, and of two scans 1 + 3/30 = 1.10, so that its KID
    is lower by 2/40 (8.41 - 1.10) = 0.37. Held-out scans meet nobody. A generator of fresh scans
    gains nothing from either: what is seen is copying, and not the number of scans.
    """
    rng = np.random.default_rng(3)
    copier, honest = (
        np.mean([gains(rng, copies=copies) for _ in range(30)], axis=0) for copies in (True, False)
    )

    np.testing.assert_allclose(copier, [0.37, 0], atol=0.1)
    np.testing.assert_allclose(honest, [0, 0], atol=0.1)


def gains(rng: np.random.Generator, *, copies: bool) -> tuple[float, float]:
    """Return by how much a site's generator is nearer to it than two others are in the mean.

    To all of its real scans, and to the held-out ones.
    """
    real, *drawn = (rng.standard_normal((count, 30)) for count in (40, 30, 30, 30))
    names = tuple(str(number) for number in range(40))
    own = SiteFeatures(real, np.arange(40) < 30, names, real[:30] if copies else drawn[0])
    synthetic = {"alder": own.synthetic, "birch": drawn[1], "cedar": drawn[2]}
    rows = (
        measure_row(own, synthetic, num_resamples=1, rng=rng)["kid"],
        measure_held_out_row(own, synthetic, num_resamples=1, rng=rng),
    )
    first, second = (
        (row["birch"]["value"] + row["cedar"]["value"]) / 2 - row["alder"]["value"] for row in rows
    )
    return first, second


def test_against_held_out_scans_each_site_is_nearest_to_its_own_generator(
    sites: dict[str, SiteFeatures],
) -> None:
    """The scanners differ by whole standard deviations, which ten scans show."""
    matrix = measure_matrix(sites, num_resamples=20, rng=np.random.default_rng(0))["held_out"]

    for name, row in matrix["kid"].items():
        values = {generator: entry["value"] for generator, entry in row.items()}
        by_shift = sorted(values, key=lambda other: abs(SHIFTS[other] - SHIFTS[name]))
        assert sorted(values, key=values.__getitem__) == by_shift


def test_only_held_out_scans_are_compared(sites: dict[str, SiteFeatures]) -> None:
    """Ten of five patients a site; FID, which is mostly bias at ten scans, is not there."""
    matrix = measure_matrix(sites, num_resamples=20, rng=np.random.default_rng(0))

    for part, columns in (("held_out", "synthetic"), ("real", "training real")):
        found = matrix[part]
        assert set(found) == {"rows", "columns", "kid", "scans", "patients"}
        assert (found["rows"], found["columns"]) == ("held-out real", columns)
        assert found["scans"] == dict.fromkeys(SHIFTS, 10)
        assert found["patients"] == dict.fromkeys(SHIFTS, 5)
        assert set(found["kid"]) == set(SHIFTS)
        assert all(set(row) == set(SHIFTS) for row in found["kid"].values())


def test_real_scans_on_the_diagonal_are_the_floor(sites: dict[str, SiteFeatures]) -> None:
    """Training against held-out scans of a site, as its own audit measures them; others are far.

    Two sites a distance D apart in each of 6 dimensions, in units of the row's: the kernel within
    the far one is (1 + D^2)^3 at least, 1 within the near one and (1 + 0)^3 between, so that KID is
    D^2 (3 + 3 D^2 + D^4) or more: 7 for D = 1.
    """
    real = measure_matrix(sites, num_resamples=20, rng=np.random.default_rng(0))["real"]["kid"]

    for name, own in sites.items():
        scale = FeatureScale.of(own.real[own.is_training])
        floor = kid(
            scale.standardize(own.real[own.is_training]),
            scale.standardize(own.real[~own.is_training]),
            patients_x=own.patients[:30],
            patients_y=own.patients[30:],
        )
        assert real[name][name]["value"] == pytest.approx(floor, rel=1e-5)
        assert abs(floor) < 2
        assert min(entry["value"] for other, entry in real[name].items() if other != name) > 5


def test_rows_of_held_out_scans_move_no_other_number(sites: dict[str, SiteFeatures]) -> None:
    """The matrix of all real scans draws its resamples first, so it has the digits of before."""
    rng = np.random.default_rng(0)
    synthetic = {name: features.synthetic for name, features in sites.items()}
    alone = {
        name: measure_row(features, synthetic, num_resamples=20, rng=rng)
        for name, features in sites.items()
    }
    matrix = measure_matrix(sites, num_resamples=20, rng=np.random.default_rng(0))

    for metric in ("kid", "fid"):
        assert matrix[metric] == {name: row[metric] for name, row in alone.items()}


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
