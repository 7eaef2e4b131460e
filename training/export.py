"""From a torch module to an ONNX file, with proof that both compute the same."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from service.published.artifact import Arrays
from service.published.manifest import Graph, Parity
from service.published.onnx_model import OnnxModel, relative_difference, signature
from training.errors import PublishError

PARITY_BATCHES = (1, 7, 64)
PARITY_EXAMPLES = max(PARITY_BATCHES)
LARGE = 1000  # a tensor of fewer numbers is not worth a cast
PARITY_TOLERANCE = 1e-4  # relative: room for float32 sums in another order, and for nothing more


@dataclass(frozen=True)
class Exported:
    """An ONNX file's signature, and by batch size the largest relative difference between torch and ONNX Runtime."""

    graph: Graph
    relative_difference: dict[int, float]


def export(module: nn.Module, inputs: Arrays, outputs: Sequence[str], path: Path) -> Exported:
    """Write `module` in evaluation mode to the ONNX file `path`, weights inside, batch dynamic, and compare both.

    `inputs` holds at least PARITY_EXAMPLES examples of every input by name, `outputs` names what `module` returns, in order.
    PublishError if ONNX Runtime differs from torch by more than PARITY_TOLERANCE on a batch of any size in PARITY_BATCHES.
    """
    example = tuple(torch.from_numpy(array[:2]) for array in inputs.values())  # torch takes a batch of 1 for a constant
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        torch.onnx.export(
            module.eval(),
            example,
            path,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=({0: torch.export.Dim("batch")},) * len(example),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    opset = _tidy(path)
    graph_inputs, graph_outputs = signature(path)
    graph = Graph(file=path.name, opset=opset, inputs=graph_inputs, outputs=graph_outputs)
    return Exported(graph, _compare(module, inputs, graph, path))


def joint_parity(exported: Sequence[Exported]) -> Parity:
    """Return the parity of several graphs together."""
    worst = {size: max(one.relative_difference[size] for one in exported) for size in PARITY_BATCHES}
    return Parity(tolerance=PARITY_TOLERANCE, relative_difference=worst)


@torch.no_grad()
def run_torch(module: nn.Module, inputs: Arrays, outputs: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Return the outputs of `module` in evaluation mode for `inputs`, by the names in `outputs`."""
    result = module.eval()(*(torch.from_numpy(array) for array in inputs.values()))
    tensors: tuple[Tensor, ...] = result if isinstance(result, tuple) else (result,)
    return {name: tensor.numpy() for name, tensor in zip(outputs, tensors, strict=True)}


@torch.no_grad()
def round_to_half(module: nn.Module) -> None:
    """Round all weights of `module` to values that float16 holds. They stay float32, but files need half the space."""
    for parameter in module.parameters():
        parameter.copy_(parameter.half())


def _tidy(path: Path) -> int:
    """Return the opset of the ONNX file `path`, rewritten without stack traces and with small weights.

    The exporter's stack traces would name the user's folders.
    """
    model = onnx.load(path)
    for described in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output, model.graph):
        described.ClearField("metadata_props")
        described.ClearField("doc_string")
    _store_as_half(model.graph)
    onnx.save(model, path)
    return next(int(entry.version) for entry in model.opset_import if not entry.domain)


def _store_as_half(graph: onnx.GraphProto) -> None:
    """Store weights as float16 with a cast back, where that loses nothing. ONNX Runtime casts once, at loading."""
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or math.prod(tensor.dims) < LARGE:
            continue
        array = onnx.numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            halved = array.astype(np.float16)
        if np.array_equal(halved, array):
            name = tensor.name
            tensor.CopyFrom(onnx.numpy_helper.from_array(halved, f"{name}.half"))
            casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _compare(module: nn.Module, inputs: Arrays, graph: Graph, path: Path) -> dict[int, float]:
    model = OnnxModel(path, graph, "cpu")
    differences = {}
    for size in PARITY_BATCHES:
        part = {name: array[:size] for name, array in inputs.items()}
        found = model(**part)
        expected = run_torch(module, part, [output.name for output in graph.outputs])
        differences[size] = max(relative_difference(found[name], array) for name, array in expected.items())
    if max(differences.values()) > PARITY_TOLERANCE:
        raise PublishError(
            f"{path.name}: expected ONNX Runtime to repeat torch within {PARITY_TOLERANCE}, got a relative difference of "
            f"{max(differences.values()):.2g}; try other versions of torch and onnxruntime"
        )
    return differences
