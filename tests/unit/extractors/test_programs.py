"""A program is loaded if it is one, and refused for anything else that its archive holds."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sitesynth.errors import ExtractorError
from sitesynth.extractors.files import read_network
from sitesynth.extractors.programs import read_program
from tests.unit.extractors.networks_for_tests import Brightness, settings_for, write_program


SHAPE = (2, 3, 8, 8)

Change = Callable[[dict[str, bytes]], None]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_program(tmp_path_factory.mktemp("program") / "a.pt2", Brightness(2), SHAPE)


def altered(archive: Path, change: Change, **options: Any) -> bytes:
    """Return the archive with its files, below the root folder, changed."""
    with zipfile.ZipFile(archive) as whole:
        inside = {name.split("/", 1)[1]: whole.read(name) for name in whole.namelist()}
    change(inside)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", **options) as copy:
        for name, data in inside.items():
            copy.writestr(f"a/{name}", data)
    return content.getvalue()


def graph_with(change: Callable[[dict[str, Any]], None]) -> Change:
    def apply(inside: dict[str, bytes]) -> None:
        graph = json.loads(inside["models/model.json"])
        change(graph)
        inside["models/model.json"] = json.dumps(graph).encode()

    return apply


def test_a_program_says_what_the_network_said(archive: Path) -> None:
    """Five inputs in parts of two: the last part is half full, and nobody notices."""
    inputs = torch.rand((5, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    program = read_program(archive.read_bytes(), path=archive)

    assert program.shape == SHAPE
    torch.testing.assert_close(program(inputs), Brightness(2)(inputs))


def test_a_transformer_can_be_a_program(tmp_path: Path) -> None:
    """DINO's are: attention, layer norm, GELU."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True)
    network = nn.Sequential(nn.Flatten(2), nn.Linear(64, 8), layer, nn.Flatten()).eval()
    path = write_program(tmp_path / "vit.pt2", network, (1, 3, 8, 8))
    inputs = torch.rand((2, 3, 8, 8), generator=torch.Generator().manual_seed(0))

    with torch.inference_mode():
        torch.testing.assert_close(
            read_program(path.read_bytes(), path=path)(inputs), network(inputs)
        )


class Evil:
    """What a pickle may hold."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Run something when it is unpickled."""
        return (exec, ("raise SystemExit('it ran')",))


def pickled_examples(inside: dict[str, bytes]) -> None:
    inside["data/sample_inputs/model.pt"] = pickle.dumps(Evil())


def pickled_weight(inside: dict[str, bytes]) -> None:
    config = json.loads(inside["data/weights/model_weights_config.json"])
    config["config"]["weight"]["use_pickle"] = True
    inside["data/weights/model_weights_config.json"] = json.dumps(config).encode()
    inside["data/weights/weight_0"] = pickle.dumps(Evil())


def pickled_constant(inside: dict[str, bytes]) -> None:
    inside["data/constants/opaque_obj_0"] = pickle.dumps(Evil())


def legacy_weights(inside: dict[str, bytes]) -> None:
    inside["data/weights/model.pt"] = pickle.dumps(Evil())


def compiled_code(inside: dict[str, bytes]) -> None:
    inside["data/aotinductor/model/a.so"] = b"\x7fELF"


def first_node(graph: dict[str, Any]) -> dict[str, Any]:
    node: dict[str, Any] = graph["graph_module"]["graph"]["nodes"][0]
    return node


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (pickled_examples, "pickled example inputs"),
        (pickled_weight, "the tensor weight is pickled"),
        (pickled_constant, "opaque_obj_0"),
        (legacy_weights, r"data/weights/model\.pt"),
        (compiled_code, r"aotinductor/model/a\.so"),
        (lambda inside: inside.pop("models/model.json"), "which no such program does"),
        (
            graph_with(lambda graph: first_node(graph).update(target="torch.load")),
            "calls 'torch.load'",
        ),
        (
            graph_with(
                lambda graph: first_node(graph).update(target="torch.ops.other.run.default")
            ),
            "no ATen operation",
        ),
        (
            graph_with(lambda graph: first_node(graph).update(name="x):\n  import os #")),
            "no name of a tensor",
        ),
        (
            graph_with(lambda graph: graph.update(guards_code=["__import__('os')"])),
            "shapes are not fixed",
        ),
        (
            graph_with(
                lambda graph: graph["graph_module"]["graph"]["sym_int_values"].update(
                    s0={"as_expr": {"expr_str": "s0", "hint": None}}
                )
            ),
            "expr_str",
        ),
    ],
)
def test_an_archive_that_holds_more_is_refused(archive: Path, change: Change, why: str) -> None:
    """Each of these would run, be unpickled or be evaluated by torch's own loader."""
    with pytest.raises(ExtractorError, match=why):
        read_program(altered(archive, change), path=archive)


def test_comments_of_a_graph_are_not_read(archive: Path) -> None:
    """They may hold anything, such as paths of the machine that made it."""
    change = graph_with(
        lambda graph: first_node(graph).update(metadata={"stack_trace": "/home/a b)(", "x": "y z"})
    )

    assert read_program(altered(archive, change), path=archive).shape == SHAPE


def test_a_compressed_archive_is_refused(archive: Path) -> None:
    """A few bytes could become gigabytes."""
    packed = altered(archive, lambda inside: None, compression=zipfile.ZIP_DEFLATED)

    with pytest.raises(ExtractorError, match="is compressed"):
        read_program(packed, path=archive)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"x" * 100])
def test_a_file_of_another_kind_is_refused(content: bytes) -> None:
    with pytest.raises(ExtractorError, match=r"a\.pt2 is not a program that can be loaded safely"):
        read_program(content, path=Path("a.pt2"))


def test_dynamic_shapes_are_refused(tmp_path: Path) -> None:
    batch = torch.export.Dim("batch", min=2, max=9)
    program = torch.export.export(
        Brightness(2).eval(), (torch.zeros(SHAPE),), dynamic_shapes=({0: batch},)
    )
    program.example_inputs = None
    torch.export.save(program, tmp_path / "a.pt2")

    with pytest.raises(ExtractorError, match="shapes are not fixed"):
        read_program((tmp_path / "a.pt2").read_bytes(), path=tmp_path / "a.pt2")


@pytest.mark.parametrize("changed", [{"size": (8, 9)}, {"channels": 1}])
def test_a_program_of_another_input_is_refused(archive: Path, changed: dict[str, Any]) -> None:
    entry = {"size": (8, 8), "channels": 3, "slices": 1} | changed

    with pytest.raises(ExtractorError, match=r"takes inputs of channels and size \(3, 8, 8\)"):
        read_network("it", settings_for(archive, "program", **entry))


def test_a_program_that_pools_nothing_is_refused(tmp_path: Path) -> None:
    """Features must be one row per input, and not a map."""
    path = write_program(tmp_path / "a.pt2", nn.Conv2d(1, 2, 3), (1, 1, 8, 8))
    settings = settings_for(path, "program", size=(8, 8), slices=1)

    with pytest.raises(ExtractorError, match=r"makes \(1, 2, 6, 6\) of one empty input"):
        read_network("it", settings)
