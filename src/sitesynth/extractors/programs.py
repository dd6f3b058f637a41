"""Reading a network as a program of `torch.export`, and nothing else that the file may hold.

torch's own loader unpickles whatever an archive marks as a pickle, evaluates symbolic expressions,
and makes Python of the names in the graph. So an archive is looked through first: it may hold
weights as plain bytes and one graph of ATen operations on tensors of fixed shape, whose names are
words. What is loaded is a copy of just that, with the graph's comments left out.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, final

import torch
from torch import Tensor, nn

from sitesynth.errors import ExtractorError


__all__ = ["Program", "read_program"]

WORD: Final = re.compile(r"[\w.+<=]*", re.ASCII)
OPERATION: Final = re.compile(r"torch\.ops\.aten\.\w+\.\w+|_operator\.getitem", re.ASCII)

GRAPH: Final = "models/model.json"
CONFIGS: Final = (
    "data/weights/model_weights_config.json",
    "data/constants/model_constants_config.json",
)
EXAMPLES: Final = "data/sample_inputs/model.pt"
KNOWN: Final = re.compile(
    r"models/model\.json|data/sample_inputs/model\.pt|data/weights/(weight_\d+|model_weights_config"
    r"\.json)|data/constants/(tensor_\d+|model_constants_config\.json)|archive_format|byteorder"
    r"|archive_version|\.data/version|\.data/serialization_id",
    re.ASCII,
)
"""What an archive of `torch.export.save` holds, below its root folder."""

TENSOR: Final = '{"type": null, "context": null, "children_spec": []}'
TAKES: Final = (
    '[1, {"type": "builtins.tuple", "context": "null", "children_spec": [{"type": "builtins.tuple",'
    f' "context": "null", "children_spec": [{TENSOR}]}}, {{"type": "builtins.dict", "context": "[]"'
    ', "children_spec": []}]}]'
)
RETURNS: Final = f"[1, {TENSOR}]"
"""One tensor goes in, one comes out."""


@final
class Program(nn.Module):
    """A network of fixed input shape, for any number of inputs."""

    def __init__(self, run: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.run = run
        self.shape = shape
        """Of an input, its batch first."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs, part after part; the last is filled up with zeros."""
        part, found = self.shape[0], []
        for start in range(0, len(inputs), part):
            taken = inputs[start : start + part]
            filled = taken.new_zeros((part, *inputs.shape[1:]))
            filled[: len(taken)] = taken
            found.append(self.run(filled)[: len(taken)])
        return torch.cat(found)


def read_program(content: bytes, *, path: Path) -> Program:
    """Load a program from the bytes of its archive.

    Args:
        content: The whole file.
        path: What messages call it.

    Raises:
        ExtractorError: If it is no such archive, or holds anything but one graph and its weights.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        bare = io.BytesIO(_without_comments(archive, path))
        loaded = torch.export.load(bare)
    except (zipfile.BadZipFile, ValueError, RuntimeError, AssertionError, KeyError) as error:
        raise _refused(path, f"it cannot be read ({error})") from error
    name = loaded.graph_signature.user_inputs[0]
    node = next(node for node in loaded.graph.nodes if node.name == name)
    return Program(loaded.module(), tuple(int(length) for length in node.meta["val"].shape))


def _without_comments(archive: zipfile.ZipFile, path: Path) -> bytes:
    """Return a copy of an archive that holds nothing but what was looked at."""
    names = [entry.filename for entry in archive.infolist()]
    root = names[0].split("/")[0] + "/" if names else ""
    inside = [name.removeprefix(root) for name in names]
    strange = sorted(name for name in inside if KNOWN.fullmatch(name) is None)
    if strange or len(set(inside)) != len(inside) or GRAPH not in inside:
        raise _refused(path, f"it holds {strange[:3] or inside[:3]}, which no such program does")
    packed = [entry for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED]
    if packed:
        raise _refused(path, f"{packed[0].filename} is compressed")
    if EXAMPLES in inside and archive.getinfo(root + EXAMPLES).file_size:
        raise _refused(path, "it holds pickled example inputs; set `example_inputs = None`")
    for config in CONFIGS:
        for name, entry in json.loads(archive.read(root + config))["config"].items():
            if entry["use_pickle"] is not False:
                raise _refused(path, f"the tensor {name} is pickled")
            _check_words([name, entry], path)
    graph = json.loads(archive.read(root + GRAPH))
    _check_graph(graph, path)
    copied = io.BytesIO()
    with zipfile.ZipFile(copied, "w") as copy:
        for name in names:
            is_graph = name == root + GRAPH
            copy.writestr(name, json.dumps(graph) if is_graph else archive.read(name))
    return copied.getvalue()


def _check_graph(graph: dict[str, Any], path: Path) -> None:
    """Take a graph's comments out, and refuse it if the rest is more than tensor operations."""
    module = graph["graph_module"]
    module["module_call_graph"] = [
        entry for entry in module["module_call_graph"] if entry["fqn"] == ""
    ]
    signature = module["module_call_graph"][0]["signature"]
    if (signature.pop("in_spec"), signature.pop("out_spec")) != (TAKES, RETURNS):
        raise _refused(path, "it must take one tensor and return one")
    if graph["range_constraints"] or graph["guards_code"]:
        raise _refused(path, "its shapes are not fixed; export it without dynamic shapes")
    for node in module["graph"]["nodes"]:
        node["metadata"] = {}
        if OPERATION.fullmatch(node["target"]) is None:
            raise _refused(path, f"it calls {node['target'][:60]!r}, which is no ATen operation")
    _check_words(graph, path)
    signature |= {"in_spec": TAKES, "out_spec": RETURNS}


def _check_words(content: Any, path: Path) -> None:
    for text in _strings(content):
        if WORD.fullmatch(text) is None or text in {"expr_str", "as_graph", "as_operator"}:
            raise _refused(path, f"its graph holds {text[:60]!r}, which is no name of a tensor")


def _strings(content: Any) -> Iterator[str]:
    """Yield every string in JSON, keys included."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for key, value in content.items():
            yield key
            yield from _strings(value)
    elif isinstance(content, list):
        for value in content:
            yield from _strings(value)


def _refused(path: Path, why: str) -> ExtractorError:
    return ExtractorError(
        f"{path} is not a program that can be loaded safely: {why}. Make it with "
        "`torch.export.save` as docs/how-to-use-other-features.md shows."
    )
