"""Tensors of the Open Inference Protocol, in JSON or as raw bytes after the JSON, to and from NumPy arrays.

Source: kserve/open-inference-protocol, inference_rest.md, and Triton's extension "binary_tensor_data".
"""

from collections.abc import Iterable
from itertools import chain
from math import prod
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from service.errors import ValueRangeError
from service.http.arrays import KINDS
from service.http.limits import MAX_NAME_CHARACTERS
from service.http.refusals import short

Array = NDArray[Any]
Parameters = dict[str, bool | int | float | str]

DATATYPES: dict[str, np.dtype[Any]] = {
    "UINT8": np.dtype("u1"),
    "INT64": np.dtype("<i8"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
NUMBERS: dict[str, set[type]] = {"UINT8": {int}, "INT64": {int}, "FP32": {int, float}, "FP64": {int, float}}
ANY = -1  # an axis of any length, here the batch
MAX_AXES = 8

Name = Annotated[str, Field(max_length=MAX_NAME_CHARACTERS)]


class TensorMetadata(BaseModel):
    """Name, datatype and shape of a tensor. An axis of -1 has any length."""

    name: str = Field(description="The name of the tensor.")
    datatype: str = Field(description="One of " + ", ".join(DATATYPES) + ".")
    shape: list[int] = Field(description="The length of each axis, the batch first.")


class RequestedOutput(BaseModel):
    """A requested output. Its parameter `binary_data` asks for raw bytes."""

    name: Name = Field(description="One of the outputs of the model.")
    parameters: Parameters = Field({}, description="`binary_data`: whether this output is answered as raw bytes.")


class InputTensor(BaseModel):
    """A tensor in row-major order: `data`, nested or flat, or `binary_data_size` bytes after the JSON."""

    name: Name = Field(description="One of the inputs of the model.")
    shape: Annotated[list[int], Field(max_length=MAX_AXES)] = Field(description="The length of each axis, batch first.")
    datatype: Name = Field(description="The datatype in the metadata of the model.")
    parameters: Parameters = Field({}, description="`binary_data_size`: the number of bytes after the JSON.")
    data: list[Any] | None = Field(None, description="The numbers. Absent if the bytes come after the JSON.")


class OutputTensor(TensorMetadata):
    """A tensor in row-major order: flat `data`, or `binary_data_size` bytes after the JSON."""

    parameters: Parameters | None = Field(None, description="`binary_data_size`: the number of bytes after the JSON.")
    data: list[float] | list[int] | None = Field(None, description="The numbers. Absent if the tensor is raw bytes.")


def read(sent: Iterable[InputTensor], expected: Iterable[TensorMetadata], raw: bytes) -> dict[str, Array]:
    """Return the tensors `sent` by name. `raw` holds the bytes of the tensors sent as bytes, one after the other.

    Raises ValueRangeError if a tensor is missing, unknown, or differs from `expected` in datatype or shape.
    """
    known = {spec.name: spec for spec in expected}
    arrays: dict[str, Array] = {}
    for tensor in sent:
        if tensor.name not in known or tensor.name in arrays:
            raise ValueRangeError(
                f"inputs: expected {' and '.join(known)}, each once, got {short(tensor.name)}; see the model's metadata"
            )
        _check(tensor, known[tensor.name])
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            arrays[tensor.name] = _from_json(tensor)
        else:
            arrays[tensor.name], raw = _from_bytes(tensor, size, raw)
    if missing := known.keys() - arrays.keys():
        raise ValueRangeError(f"inputs: expected {' and '.join(known)}, got none for {' and '.join(sorted(missing))}")
    if raw:
        raise ValueRangeError(
            f"body: expected only the bytes of its inputs after the JSON, got {len(raw):,} more; leave them out"
        )
    return arrays


def write(name: str, array: Array, *, as_bytes: bool) -> tuple[OutputTensor, bytes]:
    """Return the tensor `name`, and its bytes after the JSON, which are empty unless `as_bytes`."""
    datatype = next(key for key, dtype in DATATYPES.items() if dtype == array.dtype)
    tensor = OutputTensor(name=name, datatype=datatype, shape=list(array.shape))
    if not as_bytes:
        return tensor.model_copy(update={"data": _shortest(array)}), b""
    raw = np.ascontiguousarray(array, DATATYPES[datatype]).tobytes()
    return tensor.model_copy(update={"parameters": {"binary_data_size": len(raw)}}), raw


def metadata(name: str, datatype: str, *shape: int) -> TensorMetadata:
    """Return the metadata of a tensor with axes [batch, *shape]."""
    return TensorMetadata(name=name, datatype=datatype, shape=[ANY, *shape])


def _check(tensor: InputTensor, spec: TensorMetadata) -> None:
    if tensor.datatype != spec.datatype:
        raise ValueRangeError(f"{spec.name}: expected {spec.datatype}, got {short(tensor.datatype)}; convert it")
    fits = len(tensor.shape) == len(spec.shape) and all(
        found == axis or (axis == ANY and found >= 0) for found, axis in zip(tensor.shape, spec.shape, strict=True)
    )
    if not fits:
        raise ValueRangeError(f"{spec.name}: expected the shape {spec.shape}, got {short(tensor.shape)}; reshape it")


def _from_bytes(tensor: InputTensor, size: bool | float | str, raw: bytes) -> tuple[Array, bytes]:
    expected = prod(tensor.shape) * DATATYPES[tensor.datatype].itemsize
    if tensor.data is not None or size is True or size != expected or len(raw) < expected:
        raise ValueRangeError(
            f"{tensor.name}: expected {expected:,} bytes for its shape after the JSON and no data, got "
            f"binary_data_size {short(size)} and {len(raw):,} bytes; send the whole tensor once"
        )
    array = np.frombuffer(raw[:expected], DATATYPES[tensor.datatype]).reshape(tensor.shape)
    return array, raw[expected:]


def _from_json(tensor: InputTensor) -> Array:
    values = _flat(tensor.data or [], tensor.name)
    if len(values) != prod(tensor.shape):
        raise ValueRangeError(
            f"{tensor.name}: expected {prod(tensor.shape):,} numbers for its shape, got {len(values):,}; send all of it"
        )
    if others := {type(value) for value in values} - NUMBERS[tensor.datatype]:
        kinds = " and ".join(sorted(KINDS[each] for each in others))
        raise ValueRangeError(f"{tensor.name}: expected numbers for {tensor.datatype}, got {kinds}; convert them")
    try:
        array: Array = np.array(values, DATATYPES[tensor.datatype]).reshape(tensor.shape)
    except OverflowError:
        raise ValueRangeError(
            f"{tensor.name}: expected numbers that {tensor.datatype} holds, got larger ones; rescale them"
        ) from None
    return array


def _flat(data: list[Any], name: str) -> list[Any]:
    """Return the numbers in nested lists. All lists at one depth hold only lists or only numbers."""
    while list in (kinds := {type(each) for each in data}):
        if len(kinds) > 1:
            raise ValueRangeError(f"{name}: expected lists or numbers, got both side by side; reshape them")
        data = list(chain.from_iterable(data))
    return data


def _shortest(array: Array) -> list[Any]:
    """Return the numbers of `array`, flat, with the fewest digits that identify them in its datatype."""
    flat = array.ravel()
    return [float(str(value)) for value in flat] if flat.dtype.kind == "f" else flat.tolist()
