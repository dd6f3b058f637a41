"""What is written for NVFlare, and what is not."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from sitesynth.cli.federation import federate
from sitesynth.errors import MissingInputError, SettingsError, TrainingError
from sitesynth.storage import write_json
from sitesynth.strategies.federation import announce
from sitesynth.strategies.nvflare_engine import (
    COMPONENTS,
    hub_file,
    pack,
    prepare_kit,
    read_fetched,
    read_result,
    sit_down,
    site_file,
    unpack,
    write_job,
)
from sitesynth.strategies.sealing import SiteKey
from tests.unit.strategies import tiny_consortium as tiny


def job(folder: Path) -> Path:
    """Write the job of the tiny study."""
    write_job(folder / "federated", *announce(**tiny.announced(tiny.settings())))
    return folder / "federated"


def kit(folder: Path, site: str) -> Path:
    """Write what we touch of a startup kit."""
    write_json(folder / "startup/fed_client.json", {"client": {"fqsn": site}})
    write_json(
        folder / "local/resources.json.default",
        {
            "class_allow_list": ["nvflare.anything"],
            "components": [
                {"id": "site_log_streamer"},
                {"id": "jobs", "at": "/tmp/nvflare/jobs"},  # noqa: S108
            ],
        },
    )
    return folder


def test_a_job_is_configuration_and_weights(tmp_path: Path) -> None:
    """No code, no path of a site, and the initial weights for the hub alone."""
    found = job(tmp_path)
    files = sorted(str(path.relative_to(found)) for path in found.rglob("*") if path.is_file())

    assert files == [
        "hub/config/config_fed_server.json",
        "hub/config/initial.safetensors",
        "meta.json",
        "site/config/config_fed_client.json",
    ]
    for name in files:
        if name.endswith(".json"):
            assert "/" not in (found / name).read_text().replace("\\/", "/"), name


def test_a_job_names_our_two_classes(tmp_path: Path) -> None:
    """Which are all that a prepared kit allows."""
    found = job(tmp_path)
    hub = json.loads((found / "hub/config/config_fed_server.json").read_text())
    site = json.loads((found / "site/config/config_fed_client.json").read_text())
    paths = [hub["workflows"][0]["path"], site["executors"][0]["executor"]["path"]]

    assert tuple(paths) == COMPONENTS
    ready = kit(tmp_path / "kit", "alder")
    prepare_kit(ready, tiny.write_sites(tmp_path / "images") / "alder", None)
    resources = json.loads((ready / "local/resources.json").read_text())
    assert resources == {
        "class_allow_list": [*COMPONENTS, "nvflare.app_common.logging."],
        "allow_log_streaming": False,
        "components": [{"id": "jobs", "at": f"{ready}/jobs"}],
    }


def test_a_site_opens_what_its_own_kit_names(tmp_path: Path) -> None:
    """And says so, where the kit names nothing."""
    told = tiny.announced(tiny.settings())
    plan, _ = announce(**told)
    images = tiny.write_sites(tmp_path / "images")
    ready = kit(tmp_path / "kit", "birch")
    prepare_kit(ready, images / "birch", None)
    participant = sit_down("birch", plan, ready / "local")

    assert participant.site.real is not None
    assert len(participant.site.real) == 8
    with pytest.raises(MissingInputError, match=r"alder\.json does not exist; the site alder must"):
        sit_down("alder", plan, ready / "local")


def test_every_site_gets_a_noise_key_of_its_own_and_the_hub_a_place(tmp_path: Path) -> None:
    """Keys differ from site to site; the hub has none, and keeps its standings in its kit."""
    images = tiny.write_sites(tmp_path / "images")
    keys = set()
    for site in tiny.SITES:
        ready = kit(tmp_path / site, site)
        prepare_kit(ready, images / site, None)
        keys.add(json.loads(site_file(ready / "local", site).read_text())["noise_key"])
        assert not hub_file(ready / "local").exists()
    hub = kit(tmp_path / "hub", "localhost")
    write_json(hub / "startup/fed_server.json", {})
    prepare_kit(hub, None, None)

    assert {len(key) for key in keys} == {64}
    assert len(keys) == 3
    assert json.loads(hub_file(hub / "local").read_text()) == {"standings": f"{hub}/standings"}


def test_the_sites_key_goes_into_sites_kits_alone(tmp_path: Path) -> None:
    """Drawn once; the hub is refused it, and a kit that asks for encryption without it is told."""
    told = tiny.announced(tiny.settings(encryption="bfv"))
    plan, _ = announce(**told)
    images = tiny.write_sites(tmp_path / "images")
    drawn, ready = tmp_path / "sites.key", kit(tmp_path / "kit", "birch")
    prepare_kit(ready, images / "birch", None)
    with pytest.raises(MissingInputError, match=r"sites\.key holds no key of the sites .* --key"):
        sit_down("birch", plan, ready / "local")
    assert CliRunner().invoke(federate, ["key", str(drawn)]).exit_code == 0
    prepared = ["prepare", str(ready), "--images", str(images / "birch"), "--key", str(drawn)]
    assert CliRunner().invoke(federate, prepared).exit_code == 0
    participant = sit_down("birch", plan, ready / "local")

    assert participant.seal is not None
    assert participant.seal.key.name == SiteKey.read(drawn).name
    with pytest.raises(SettingsError, match=r"only sites may have the key.* leave out --key"):
        prepare_kit(ready, None, drawn)
    again = CliRunner().invoke(federate, ["key", str(drawn)])
    assert isinstance(again.exception, SettingsError)
    assert participant.seal.key.name == SiteKey.read(drawn).name, "no key is written over"


def test_what_is_no_kit_or_no_image_set_is_refused(tmp_path: Path) -> None:
    """Before anything is written."""
    with pytest.raises(MissingInputError, match="is no startup kit"):
        prepare_kit(tmp_path, None, None)
    ready = kit(tmp_path / "kit", "alder")
    with pytest.raises(MissingInputError, match="holds no image set"):
        prepare_kit(ready, tmp_path, None)
    assert not site_file(ready / "local", "alder").exists()
    assert not (ready / "local/resources.json").exists()


def test_a_hub_that_gave_up_says_why(tmp_path: Path) -> None:
    """A run without result is none; a reason is raised, whatever else is there."""
    assert read_result(tmp_path) is None
    (tmp_path / "failure.txt").write_text("birch slept")
    with pytest.raises(TrainingError, match="birch slept"):
        read_result(tmp_path)


def test_a_hub_that_gave_up_before_anything_happened_says_why(tmp_path: Path) -> None:
    """It told of no event: the reason is all that it left, somewhere in what was fetched."""
    run = tmp_path / "workspace/app_server"
    run.mkdir(parents=True)
    assert read_fetched(tmp_path) is None
    (run / "failure.txt").write_text("there is nothing to resume")

    with pytest.raises(TrainingError, match="there is nothing to resume"):
        read_fetched(tmp_path)


def test_initial_weights_are_the_members_own(tmp_path: Path) -> None:
    """Two members begin from different weights, the same in every run."""
    told = tiny.announced(tiny.settings())
    (_, first), (_, again) = announce(**told), announce(**told)

    assert sorted(first) == [0, 1]
    for name, value in first[0].items():
        assert torch.equal(value, again[0][name])
    assert any(not torch.equal(value, first[1][name]) for name, value in first[0].items())


def test_weights_survive_a_message() -> None:
    """Types, empty shapes and all bits; an odd message is told as such."""
    weights = {
        "w": torch.tensor([[1.0, float("nan")], [2.0**-140, -0.0]]).t(),
        "count": torch.tensor(3),
    }
    back = unpack(pack(weights))

    assert back.keys() == weights.keys()
    assert back["count"].dtype == torch.int64
    assert back["count"].shape == ()
    here = weights["w"].contiguous().numpy().tobytes()
    assert back["w"].numpy().tobytes() == here
    for odd in ({}, {"weights": b"no"}, {"weights": 3}):
        with pytest.raises(TrainingError, match="weights of a message cannot be read"):
            unpack(odd)
