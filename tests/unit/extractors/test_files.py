"""What becomes of weights that are right, and of every way in which they can be wrong."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from docs.convert_weights import convert, main
from sitesynth.errors import ExtractorError
from sitesynth.extractors import files
from sitesynth.extractors.files import read_network
from tests.unit.extractors.networks_for_tests import settings_for, write_random


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random(tmp_path_factory.mktemp("weights") / "a.safetensors", "medicalnet-resnet10")


@pytest.mark.parametrize(
    ("network", "width"),
    [
        ("medicalnet-resnet10", 512),
        pytest.param("medicalnet-resnet18", 512, marks=pytest.mark.slow),
        pytest.param("medicalnet-resnet50", 2048, marks=pytest.mark.slow),
        pytest.param("radimagenet-resnet50", 2048, marks=pytest.mark.slow),
        ("radimagenet-densenet121", 1024),
    ],
)
def test_every_network_makes_as_many_features_as_its_paper_says(
    tmp_path: Path, network: str, width: int
) -> None:
    settings = settings_for(write_random(tmp_path / "w.safetensors", network), network)
    found = read_network("it", settings)(torch.zeros((2, settings.channels, *settings.size)))

    assert found.shape == (2, width)


def test_weights_are_the_files(weights: Path) -> None:
    network = read_network("it", settings_for(weights, "medicalnet-resnet10"))
    read = load_file(weights)

    assert torch.equal(network.state_dict()["layer3.0.conv2.weight"], read["layer3.0.conv2.weight"])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "none.safetensors", "medicalnet-resnet10")

    with pytest.raises(ExtractorError, match=r"none\.safetensors, the weights of extractors\.it"):
        read_network("it", settings)


def test_a_link_is_not_followed(weights: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.safetensors"
    link.symlink_to(weights)

    with pytest.raises(ExtractorError, match="no plain file"):
        read_network("it", settings_for(link, "medicalnet-resnet10"))


def test_a_file_too_large_is_not_read(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_BYTES", 10)

    with pytest.raises(ExtractorError, match="at most 10 are read"):
        read_network("it", settings_for(weights, "medicalnet-resnet10"))


def test_another_digest_is_refused_before_anything_is_parsed(tmp_path: Path) -> None:
    """The file is no safetensors file at all, and the message is of its digest."""
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"anything")

    with pytest.raises(ExtractorError, match=r"has the SHA-256 ee0874.*but extractors\.it\.sha256"):
        read_network("it", settings_for(path, "medicalnet-resnet10", sha256="0" * 64))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\xff" * 64])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)

    with pytest.raises(ExtractorError, match="is not a safetensors file"):
        read_network("it", settings_for(path, "medicalnet-resnet10"))


def test_weights_of_another_network_are_refused_by_name_and_shape(weights: Path) -> None:
    with pytest.raises(ExtractorError, match=r"not hold the weights of medicalnet-resnet18.*None"):
        read_network("it", settings_for(weights, "medicalnet-resnet18"))


def test_weights_of_another_shape_are_refused(weights: Path, tmp_path: Path) -> None:
    """Three channels where MedicalNet has one."""
    read = load_file(weights)
    read["conv1.weight"] = read["conv1.weight"].repeat(1, 3, 1, 1, 1)
    save_file(read, tmp_path / "w.safetensors")

    with pytest.raises(ExtractorError, match=r"conv1\.weight \(64, 3, 7, 7, 7\) for \(64, 1, 7, 7"):
        read_network("it", settings_for(tmp_path / "w.safetensors", "medicalnet-resnet10"))


def test_weights_that_are_no_numbers_are_refused(weights: Path, tmp_path: Path) -> None:
    read = load_file(weights)
    read["bn1.bias"] = torch.full_like(read["bn1.bias"], torch.nan)
    save_file(read, tmp_path / "w.safetensors")

    with pytest.raises(ExtractorError, match="one row of finite features"):
        read_network("it", settings_for(tmp_path / "w.safetensors", "medicalnet-resnet10"))


def published_name(network: str, name: str) -> str:
    """Return a weight's name in the publisher's file."""
    if network.startswith("medicalnet"):
        return f"module.{name}"
    if network == "radimagenet-densenet121":
        return "backbone.0." + name.removeprefix("features.").replace(".layers.", ".")
    first, rest = name.split(".", 1)
    place = ["conv1", "bn1", "", "", "layer1", "layer2", "layer3", "layer4"].index(first)
    return f"backbone.{place}.{rest}"


@pytest.mark.parametrize(
    "network",
    [
        "medicalnet-resnet10",
        "radimagenet-densenet121",
        pytest.param("radimagenet-resnet50", marks=pytest.mark.slow),
    ],
)
def test_publishers_files_are_converted_to_the_same_network(
    tmp_path: Path, network: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Renamed as published, with a classifier that nobody asked for, pickled, and back."""
    own = load_file(write_random(tmp_path / "own.safetensors", network))
    published = {published_name(network, name): value for name, value in own.items()}
    published["module.fc.weight"] = torch.zeros(3)
    torch.save({"state_dict": published}, tmp_path / "published.pth")
    converted = tmp_path / "converted.safetensors"
    main([network, str(tmp_path / "published.pth"), str(converted)])
    told = capsys.readouterr().out
    settings = settings_for(converted, network)

    assert f"sha256: {settings.sha256}" in told
    assert torch.equal(
        read_network("it", settings)(torch.ones((1, settings.channels, *settings.size))),
        read_network("it", settings_for(tmp_path / "own.safetensors", network))(
            torch.ones((1, settings.channels, *settings.size))
        ),
    )


def test_a_pickle_that_runs_something_is_not_converted(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (exec, ("raise SystemExit('it ran')",))

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")

    with pytest.raises(Exception, match="Weights only load failed"):
        main(["medicalnet-resnet10", str(tmp_path / "evil.pth"), str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_a_publishers_file_of_another_network_is_not_converted(tmp_path: Path) -> None:
    torch.save({"module.conv1.weight": torch.zeros(1)}, tmp_path / "published.pth")

    with pytest.raises(ExtractorError, match="does not hold the weights of medicalnet-resnet10"):
        main(["medicalnet-resnet10", str(tmp_path / "published.pth"), str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_what_is_no_weight_of_the_network_is_left_out() -> None:
    assert set(convert({"module.conv_seg.0.weight": torch.ones(1)}, "medicalnet-resnet10")) == set()
