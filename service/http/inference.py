"""The Open Inference Protocol, version 2, over REST at /v2, for clients of Triton, KServe and others.

Source: kserve/open-inference-protocol, inference_rest.md. A model has one version, "1". The outputs are the results of
/score, /reconstruct and /explain as tensors.
"""

from functools import partial
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from service import version
from service.errors import TooLargeError, UnknownModelError, ValueRangeError
from service.http import arrays, document, examples, log, prometheus, schemas, tensors, uploads
from service.http.admission import Admitted, Place
from service.http.catalog import Models, ServedDetector, ServedGenerator
from service.http.limits import MAX_IMAGES, MAX_NAME_CHARACTERS
from service.http.refusals import short
from service.http.tensors import Array, OutputTensor, Parameters, RequestedOutput, TensorMetadata, metadata
from service.published.detector import ARRAYS, FIGURES, OUTPUTS_OF_AUTOENCODERS
from service.published.generator import CHUNK
from service.published.group import Group

VERSION = "1"
PREFIX = "/v2"
HEADER_LENGTH = "inference-header-content-length"
PICTURES = ("heat", "reconstruction")  # in the order of the planes of an Examination
MAX_COUNTS = {**arrays.MAX_COUNTS, "{": 128, '"': 1024}  # larger, since each requested output has a few names


def whole(form: type[BaseModel]) -> Any:
    """Return the JSON schema of `form` with every reference replaced by its definition."""
    schema = form.model_json_schema()
    named = {f"#/$defs/{name}": part for name, part in schema.pop("$defs", {}).items()}

    def resolve(part: Any) -> Any:
        if isinstance(part, list):
            return [resolve(each) for each in part]
        if not isinstance(part, dict):
            return part
        return resolve(named[part["$ref"]]) if "$ref" in part else {key: resolve(each) for key, each in part.items()}

    return resolve(schema)


class ServerMetadata(BaseModel):
    """Name and version of the server, and the extensions of the protocol that it supports."""

    model_config = schemas.example(examples.SERVER)

    name: str = Field(description="The name of the server.")
    version: str = Field(description="The version.")
    extensions: list[str] = Field(description="The supported extensions of the protocol.")


class ModelMetadata(BaseModel):
    """The input and output tensors of a model."""

    model_config = schemas.example(examples.TENSORS)

    name: str = Field(description="The name of the model.")
    versions: list[str] = Field(description="The versions of the model; 1 is the only one.")
    platform: str = Field(description="The runtime of the model.")
    inputs: list[TensorMetadata] = Field(description="The input tensors. A request needs all of them.")
    outputs: list[TensorMetadata] = Field(description="The output tensors. A request may choose some.")


class InferenceHealth(BaseModel):
    """Whether the server, or a model, answers."""

    model_config = schemas.example(examples.HEALTH)

    live: bool = Field(True, description="True in every answer.")


class InferenceRequest(BaseModel):
    """Input tensors, and the requested outputs; if no output is named, all outputs."""

    model_config = schemas.example(examples.INFERENCE)

    id: Annotated[str, Field(max_length=MAX_NAME_CHARACTERS)] | None = Field(
        None, description="Any text. The answer repeats it."
    )
    parameters: Parameters = Field(
        {}, description="`binary_data_output`: whether all outputs are answered as raw bytes."
    )
    inputs: list[tensors.InputTensor] = Field(description="Each input of the model, once.")
    outputs: list[RequestedOutput] = Field([], description="The requested outputs. If none is named, all outputs.")


class InferenceAnswer(BaseModel):
    """The output tensors, in the order of the request."""

    model_config = schemas.example(examples.INFERRED)

    model_name: str = Field(description="The name of the model.")
    model_version: str = Field(VERSION, description="The version.")
    id: str | None = Field(None, description="The id of the request, if it has one.")
    outputs: list[OutputTensor] = Field(description="The output tensors.")


class InferenceError(BaseModel):
    """Why a request is refused, in one sentence."""

    model_config = schemas.example(examples.ERROR)

    error: str = Field(description="What was expected, what was got and what to do.")


REQUEST: dict[str, Any] = {  # for the documentation: the route parses the body itself, in a thread
    "requestBody": {"required": True, "content": {"application/json": {"schema": whole(InferenceRequest)}}}
}

OF_HEALTH = document.refusals(401, 503, model=InferenceError)
OF_MODELS = document.refusals(*document.OF_QUERIES, model=InferenceError)
INFERRED = document.BYTES | document.refusals(400, *document.OF_QUERIES, 408, 413, model=InferenceError)

router = APIRouter(prefix=PREFIX, tags=["Open Inference Protocol"], generate_unique_id_function=document.operation_id)


def _served(http: Request, catalog: Models, name: schemas.NameInPath) -> ServedDetector | ServedGenerator:
    found = http.path_params.get("version", VERSION)  # FastAPI allows no default for a parameter in a path
    if found != VERSION:
        raise UnknownModelError(f"version {short(found)}: expected {VERSION}, the only one; leave it out")
    return catalog.model(name)


Served = Annotated[ServedDetector | ServedGenerator, Depends(_served)]


@router.get("", include_in_schema=False)
@router.get("/", responses=document.refusals(401, model=InferenceError))
def server_metadata() -> ServerMetadata:
    """Return name, version and extensions of the server."""
    return ServerMetadata(name="oddglyph", version=version.VERSION, extensions=["binary_tensor_data"])


@router.get("/health/live", name="server_live", responses=OF_HEALTH)
@router.get("/health/ready", name="server_ready", responses=OF_HEALTH)
def health(_: Models) -> InferenceHealth:
    """Return that the server has its models; status 503 while it has none."""
    return InferenceHealth()


@router.get("/models/{name}", responses=OF_MODELS)
@router.get("/models/{name}/versions/{version}", include_in_schema=False)
def model_metadata(served: Served) -> ModelMetadata:
    """Return the input and output tensors of a model."""
    return ModelMetadata(
        name=served.details.name,
        versions=[VERSION],
        platform="onnxruntime_onnx",
        inputs=_inputs(served),
        outputs=_outputs(served),
    )


@router.get("/models/{name}/ready", name="model_ready", responses=OF_MODELS)
@router.get("/models/{name}/versions/{version}/ready", include_in_schema=False)
def model_health(_: Served) -> InferenceHealth:
    """Return that a model is ready."""
    return InferenceHealth()


@router.post("/models/{name}/infer", response_model=InferenceAnswer, responses=INFERRED, openapi_extra=REQUEST)
@router.post("/models/{name}/versions/{version}/infer", response_model=InferenceAnswer, include_in_schema=False)
async def infer(http: Request, served: Served, place: Admitted) -> Response:
    """Return the outputs of a model in JSON, or as raw bytes after the JSON if the request asks for bytes."""
    request, raw = await uploads.in_pool(partial(_parse, await http.body(), http.headers.get(HEADER_LENGTH)))
    wanted = request.outputs or [RequestedOutput(name=spec.name) for spec in _outputs(served)]
    _check_known(wanted, _outputs(served))
    inputs = tensors.read(request.inputs, _inputs(served), raw)
    found = await _compute(served, place, inputs, {output.name for output in wanted})
    return _answer(served, request, [(output, found[output.name]) for output in wanted])


def _inputs(served: ServedDetector | ServedGenerator) -> list[TensorMetadata]:
    if isinstance(served, ServedDetector):
        size = served.detector.image_size
        return [metadata("pixels", "UINT8", size, size)]
    z = metadata("z", "FP32", served.generator.latent_size)
    return [z, metadata("labels", "INT64")] if served.generator.is_conditional else [z]


def _outputs(served: ServedDetector | ServedGenerator) -> list[TensorMetadata]:
    size = served.details.image_size
    if isinstance(served, ServedGenerator):
        return [metadata("pixels", "UINT8", size, size, 3)]
    specs = [metadata(name, "FP64" if name == "p_value" else "FP32") for name in FIGURES]
    if isinstance(served.detector, Group):
        specs += [metadata("closest", "INT64"), metadata("p_values", "FP64", len(served.detector.detectors))]
    specs += [metadata(name, "UINT8", size, size) for name in PICTURES]
    return [spec for spec in specs if served.detector.reconstructs or spec.name not in OUTPUTS_OF_AUTOENCODERS]


def _parse(body: bytes, header_length: str | None) -> tuple[InferenceRequest, bytes]:
    """Return the request and the raw bytes after its JSON. `header_length` is the length of the JSON, None for no bytes."""
    if header_length is None:
        return arrays.parse(body, InferenceRequest, MAX_COUNTS), b""
    if not header_length[:20].isdecimal() or int(header_length[:20]) > len(body):
        raise ValueRangeError(
            f"{HEADER_LENGTH}: expected at most the {len(body):,} bytes of the body, got {short(header_length)}"
        )
    end = int(header_length)
    return arrays.parse(body[:end], InferenceRequest, MAX_COUNTS), body[end:]


def _check_known(wanted: list[RequestedOutput], specs: list[TensorMetadata]) -> None:
    known = [spec.name for spec in specs]
    for output in wanted:
        if output.name not in known:
            raise ValueRangeError(f"outputs: expected some of {', '.join(known)}, got {short(output.name)}")


async def _compute(
    served: ServedDetector | ServedGenerator, place: Place, inputs: dict[str, Array], wanted: set[str]
) -> dict[str, Array]:
    count = len(next(iter(inputs.values())))
    if not 1 <= count <= MAX_IMAGES:
        raise TooLargeError(f"inputs: expected 1 to {MAX_IMAGES} images, got {count}; send several requests")
    log.note(model=served.details.name, images=count)
    if isinstance(served, ServedDetector):
        return await _examine(served, place, inputs["pixels"], wanted)
    place.seconds = 0.0  # the turnstile has places of its own
    prometheus.GENERATED.labels(served.details.name).inc(count)
    served.generator.check(**inputs)
    pieces = [partial(served.generator.generate, **_rows(inputs, start)) for start in range(0, count, CHUNK)]
    return {"pixels": np.concatenate(await served.turnstile(pieces, count))}


def _rows(inputs: dict[str, Array], start: int) -> dict[str, Array]:
    return {name: array[start : start + CHUNK] for name, array in inputs.items()}


async def _examine(served: ServedDetector, place: Place, pixels: Array, wanted: set[str]) -> dict[str, Array]:
    found: dict[str, Array] = {}
    batchers = served.score if wanted - set(PICTURES) else None, served.compare if wanted & set(PICTURES) else None
    place.claim(sum(batcher.seconds(len(pixels)) for batcher in batchers if batcher))
    if wanted - set(PICTURES):
        scores = await served.score(pixels)
        found |= {name: getattr(scores, name) for name in ARRAYS}
        served.count(scores)
    if wanted & set(PICTURES):
        planes = await served.compare(pixels)
        found |= {name: planes[:, 1 + index] for index, name in enumerate(PICTURES[: planes.shape[1] - 1])}
    return found


def _answer(
    served: ServedDetector | ServedGenerator, request: InferenceRequest, found: list[tuple[RequestedOutput, Array]]
) -> Response:
    as_bytes = request.parameters.get("binary_data_output") is True
    parts = [
        tensors.write(output.name, array, as_bytes=output.parameters.get("binary_data", as_bytes) is True)
        for output, array in found
    ]
    answer = InferenceAnswer(model_name=served.details.name, id=request.id, outputs=[tensor for tensor, _ in parts])
    header, raw = answer.model_dump_json(exclude_none=True).encode(), b"".join(each for _, each in parts)
    if not raw:
        return Response(header, media_type="application/json")
    return Response(header + raw, media_type="application/octet-stream", headers={HEADER_LENGTH: str(len(header))})
