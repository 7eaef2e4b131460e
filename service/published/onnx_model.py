"""ONNX graphs as functions from NumPy arrays to NumPy arrays. The only user of ONNX Runtime."""

import contextlib
import ctypes
import io
import os
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.errors import ArtifactError, DeviceError
from service.published.artifact import GOLDEN, Artifact
from service.published.manifest import Graph, TensorSpec

# Some builds of ONNX Runtime report events, with paths and graph names, to its makers. They read this on import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

Device = Literal["auto", "cpu", "cuda"]
UsedDevice = Literal["cpu", "cuda"]
MAX_BATCH = 256  # images in one run of a graph
GOLDEN_TOLERANCE = 1e-3  # relative; other CPUs and GPUs stay below, another model does not
CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"

SEVERITY_FATAL = 4  # of ONNX Runtime, which otherwise warns when CUDA is absent; OnnxModel raises DeviceError instead

onnxruntime.set_default_logger_severity(SEVERITY_FATAL)


class OnnxModel:
    """One ONNX graph whose first axis is the batch.

    The device "auto" is CUDA if there are a driver and a GPU, else the CPU. "cuda" raises DeviceError if CUDA is not
    usable. The attribute `device` says which it is. `threads` is the number of intra-operator threads; 0 means one per
    core. Raises ArtifactError for a file that ONNX Runtime cannot run, or whose inputs and outputs are not those of
    `graph`.

    model = OnnxModel(published.file(graph.file), graph, "cpu", threads=1)
    model(pixels=pixels)["score"]  # float32 [N] for uint8 [N, 32, 32]
    """

    def __init__(self, path: Path, graph: Graph, device: Device = "auto", threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.enable_cpu_mem_arena = False  # or each session would keep the memory of its largest batch
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads of a server sleep
        wants_cuda = device == "cuda" or (device == "auto" and cuda_is_usable())
        if wants_cuda:
            _preload_cuda_libraries()
        providers = [CUDA, CPU] if wants_cuda and CUDA in onnxruntime.get_available_providers() else [CPU]
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=providers)
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors have no other common base
            raise ArtifactError(
                f"{path}: ONNX Runtime cannot run this graph: {_first_line(error)}; publish the model again"
            ) from None
        self.device: UsedDevice = "cuda" if self._session.get_providers()[0] == CUDA else "cpu"
        if device == "cuda" and self.device == "cpu":
            raise DeviceError(
                "device cuda: expected a usable CUDA GPU, found none; use the device auto or cpu, or install the "
                "driver and `pip install 'oddglyph[cuda]'`"
            )
        _check_signature(path, self._session, graph)

    def __call__(self, **inputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return every output [N, ...] by name for `inputs` [N, ...], run in batches of at most MAX_BATCH. N may be 0."""
        count = len(next(iter(inputs.values())))
        if not count:  # some graphs fail on an empty batch, so one image is computed and dropped
            one = {name: np.zeros((1, *array.shape[1:]), array.dtype) for name, array in inputs.items()}
            return {name: array[:0] for name, array in self(**one).items()}
        names = [output.name for output in self._session.get_outputs()]
        parts = [
            self._session.run(names, {name: array[start : start + MAX_BATCH] for name, array in inputs.items()})
            for start in range(0, count, MAX_BATCH)
        ]
        return {name: np.concatenate(arrays) for name, arrays in zip(names, zip(*parts, strict=True), strict=True)}


def cuda_is_usable() -> bool:
    """Return whether the CUDA driver is installed and sees a GPU. ONNX Runtime only tells what it was built for."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


def verify_golden(model: OnnxModel, artifact: Artifact) -> None:
    """Run the inputs in golden.npz; ArtifactError if an output differs by more than GOLDEN_TOLERANCE."""
    inputs, outputs = artifact.golden()
    try:
        found = model(**inputs)
    except Exception as error:  # noqa: BLE001 (as above)
        raise ArtifactError(
            f"{artifact.path / GOLDEN}: expected inputs that the graph takes, got others ({_first_line(error)}); "
            "publish the model again"
        ) from None
    for name, array in found.items():
        expected = outputs.get(name)
        difference = np.inf if expected is None else relative_difference(array, expected)
        if difference > GOLDEN_TOLERANCE:
            raise ArtifactError(
                f"{artifact.path / GOLDEN}: expected the graph to repeat its golden outputs, but {name} differs by "
                f"{difference:.2g}; publish the model again with this version of ONNX Runtime"
            )


def relative_difference(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Return max |found - expected| / max(1, |expected|), infinite for other shapes, other types and NaN.

    For uint8 a difference of 1 is rounding, and a larger difference d counts as (d - 1) / 255.
    """
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return float("inf")
    wide = expected.astype(np.float64)
    difference = np.abs(found - wide) / np.maximum(1, np.abs(wide))
    if found.dtype == np.uint8:
        difference = np.maximum(0, np.abs(found - wide) - 1) / 255
    return float(np.max(difference, initial=0.0)) if np.isfinite(difference).all() else float("inf")


def signature(path: Path) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return the inputs and outputs of the ONNX file `path`, as ONNX Runtime reports them."""
    return _signature(onnxruntime.InferenceSession(path, providers=[CPU]))


def _preload_cuda_libraries() -> None:
    """Load CUDA and cuDNN from their Python packages, if installed. Otherwise the session falls back to the CPU."""
    if hasattr(onnxruntime, "preload_dlls"):  # absent from builds without CUDA
        with contextlib.redirect_stdout(io.StringIO()):  # it prints the libraries that it does not find
            onnxruntime.preload_dlls()


def _signature(session: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    inputs, outputs = (
        tuple(TensorSpec(name=node.name, dtype=node.type, shape=tuple(node.shape)) for node in nodes)
        for nodes in (session.get_inputs(), session.get_outputs())
    )
    return inputs, outputs


def _check_signature(path: Path, session: Any, graph: Graph) -> None:
    inputs, outputs = _signature(session)
    for expected, found in ((graph.inputs, inputs), (graph.outputs, outputs)):
        if expected != found:
            raise ArtifactError(
                f"{path}: expected {_names(expected)}, as the manifest says, got {_names(found)}; "
                "publish the model again"
            )


def _names(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{spec.name} {spec.dtype}{list(spec.shape)}" for spec in specs)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
