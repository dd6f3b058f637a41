"""The ledger, against sums one can do."""

from pathlib import Path

import pytest

from sitesynth.exchange import (
    PAPER_SCALE,
    Scale,
    extrapolate,
    ledger,
    measure_folder,
    read_seconds,
    read_traffic,
)
from sitesynth.storage import write_json


def test_federated_bytes_go_both_ways_in_every_round() -> None:
    """100 rounds x 3 sites x 2 x 45 MB = 27 GB; three bundles of 800 MB = 2.4 GB."""
    found = ledger(
        federated_rounds=100,
        num_sites=3,
        model_bytes=45_000_000,
        message_bytes=45_000_000,
        privacy={},
        bundle_bytes=dict.fromkeys("abc", 800_000_000),
        seconds={"federated_wall": 2.5},
        num_members=1,
        num_validations=0,
    )

    assert found["federated"]["bytes"] == 27_000_000_000
    assert found["federated"]["messages"] == 600
    assert found["one_shot"]["bytes"] == 2_400_000_000
    assert found["one_shot"]["messages"] == 3
    assert found["fewer_bytes"] == "one_shot"
    assert found["federated"]["wall_seconds"] == 2.5
    assert found["one_shot"]["wall_seconds"] is None


def test_break_even_is_where_both_send_the_same() -> None:
    """Bundles of 10 + 30, a model of 2, two sites: 40 / 8 = 5 rounds, at which both send 40."""
    found = ledger(
        federated_rounds=5,
        num_sites=2,
        model_bytes=2,
        message_bytes=2,
        privacy={},
        bundle_bytes={"a": 10, "b": 30},
        seconds={},
        num_members=1,
        num_validations=0,
    )

    assert found["break_even_rounds"] == 5.0
    assert found["fewer_bytes"] == "equal"
    assert found["federated"]["bytes"] == found["one_shot"]["bytes"] == 40


def test_federated_wins_with_a_small_classifier_and_few_rounds() -> None:
    found = ledger(
        federated_rounds=4,
        num_sites=2,
        model_bytes=2,
        message_bytes=2,
        privacy={},
        bundle_bytes={"a": 10, "b": 30},
        seconds={},
        num_members=1,
        num_validations=0,
    )

    assert found["fewer_bytes"] == "federated"
    assert "below 5.0 rounds" in found["statement"]


def test_extrapolation_gives_the_published_numbers() -> None:
    """Seven sites, 45.6 MB and 750 MB, 100 rounds: 63.8 GB, 5.25 GB, break-even at 8.2 rounds."""
    found = extrapolate(
        Scale(
            num_sites=7,
            num_rounds=100,
            model_bytes=45_560_000,
            generator_bytes=749_600_000,
            source="by hand",
        )
    )

    assert found["federated_bytes"] == pytest.approx(63.8e9, rel=1e-3)
    assert found["one_shot_bytes"] == pytest.approx(5.25e9, rel=1e-3)
    assert found["break_even_rounds"] == pytest.approx(8.2, abs=0.05)


def test_the_paper_s_scale_is_three_sites_and_a_hundred_rounds() -> None:
    found = extrapolate(PAPER_SCALE)

    assert found["federated_bytes"] == 2 * 100 * 3 * 45_560_000
    assert found["federated_to_one_shot"] == pytest.approx(200 * 45.56 / 749.6)


def test_a_folder_is_measured_with_all_below_it(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "deep/b").write_bytes(b"45")

    assert measure_folder(tmp_path) == 5


def test_what_an_engine_counted_stands_beside_the_formula(tmp_path: Path) -> None:
    """Two classifiers in 132 bytes are 66 each; 3 rounds of 2 x 5 bytes at 2 sites are 60."""
    write_json(
        tmp_path / "traffic/federated.json",
        {"engine": "nvflare", "members": 2, "bytes": 132, "rounds": [{"number": 1}]},
    )
    found = ledger(
        federated_rounds=3,
        num_sites=2,
        model_bytes=5,
        message_bytes=5,
        privacy={},
        bundle_bytes={"a": 10},
        seconds={},
        measured=read_traffic(tmp_path),
        num_members=1,
        num_validations=0,
    )["federated"]

    assert found["bytes"] == 60
    assert found["measured"] == {
        "engine": "nvflare",
        "members": 2,
        "bytes": 132,
        "bytes_per_member": 66.0,
        "to_formula": 1.1,
    }


def test_nothing_counted_is_told_as_such(tmp_path: Path) -> None:
    """The in-process engine sends nothing: its stage writes null, and an old ledger has no file."""
    write_json(tmp_path / "null/traffic/federated.json", None)

    assert read_traffic(tmp_path) is None
    assert read_traffic(tmp_path / "null") is None
    found = ledger(
        federated_rounds=1,
        num_sites=1,
        model_bytes=1,
        message_bytes=1,
        privacy={},
        bundle_bytes={},
        seconds={},
        num_members=1,
        num_validations=0,
    )
    assert found["federated"]["measured"] is None


def test_what_the_study_sent_counts_every_member_and_the_tuning() -> None:
    """4 rounds x 2 sites x 2 x 2 bytes x 3 members = 96; 40 bytes of bundles, 35 tries at 2 sites.

    The exchange of one classifier stands beside it, unchanged: 32 against 40.
    """
    found = ledger(
        federated_rounds=4,
        num_sites=2,
        model_bytes=2,
        message_bytes=2,
        privacy={},
        bundle_bytes={"a": 10, "b": 30},
        seconds={},
        num_members=3,
        num_validations=35,
    )

    assert (found["federated"]["bytes"], found["one_shot"]["bytes"]) == (32, 40)
    assert found["as_run"]["federated_bytes"] == 96
    assert found["as_run"]["tuning_bytes"] == 35 * 2 * 2
    assert found["as_run"]["one_shot_bytes"] == 180
    assert found["fewer_bytes"] == "federated"
    assert found["as_run"]["fewer_bytes"] == "federated"


def test_sealed_messages_count_as_they_are_sent() -> None:
    """Seven times the bytes, in a seventh of the rounds until the bundles send less."""
    found = ledger(
        federated_rounds=4,
        num_sites=2,
        model_bytes=2,
        message_bytes=14,
        privacy={"encryption": "bfv", "clip_norm": None, "noise_multiplier": 0.0, "epsilon": None},
        bundle_bytes={"a": 10, "b": 60},
        seconds={},
        num_members=1,
        num_validations=3,
    )

    assert found["federated"]["bytes"] == 2 * 4 * 2 * 14
    assert found["federated"]["privacy"]["encryption"] == "bfv"
    assert found["break_even_rounds"] == 70 / 56
    assert found["as_run"]["tuning_bytes"] == 3 * 2 * 2, "models that are tried are not sealed"


def test_seconds_of_stages_add_up(tmp_path: Path) -> None:
    """One training site: seven stages of 1, 2, 4 ... 64 s, each on two cores; half on a card."""
    stages = ["tune_mixing@None", "train_classifier@synthetic"]
    stages += [
        f"{stage}@a"
        for stage in ("train_autoencoder", "train_diffusion", "correct", "package", "sample")
    ]
    for number, stage in enumerate(stages):
        seconds = 2**number
        timing = {"seconds": seconds, "processor": 2 * seconds, "accelerator": number > 2}
        write_json(tmp_path / f"{stage}.json", timing)

    assert read_seconds(tmp_path, sites=["a"]) == {
        "federated_wall": None,
        "federated_processor": None,
        "federated_accelerator": None,
        "one_shot_wall": 127,
        "one_shot_processor": 254,
        "one_shot_accelerator": 8 + 16 + 32 + 64,
    }
    write_json(tmp_path / "package@a.json", {"seconds": 32, "accelerator": True})
    found = read_seconds(tmp_path, sites=["a"])
    assert (found["one_shot_wall"], found["one_shot_processor"]) == (127, None), "an older file"
