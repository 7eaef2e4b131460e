"""What /docs.json says of each route beyond the types of what it takes: its group, statuses, media types and examples."""

from typing import Any

from fastapi.routing import APIRoute
from pydantic import BaseModel

from service.http import examples, schemas
from service.http.limits import BODY_SECONDS, MAX_REQUEST_BYTES, WORK_SECONDS

Responses = dict[int | str, dict[str, Any]]

DESCRIPTION = """Tells whether a small image looks like what a model was taught is normal, how sure it is and where it
differs; and generates images.

Every refusal is `{"detail": "one sentence"}`, or `{"error": "one sentence"}` at /v2, and every answer has an `X-Request-ID`.
If the service asks for a key, send `Authorization: Bearer KEY` or `X-API-Key: KEY`. Besides the statuses listed, a request
that is no HTTP gets 400, another method than those listed 405, and a body that should not be there 400, 408 or 413.

Where a route answers a PNG or JSON, `Accept` decides, unless its `format` is given. Clients that expect JSON always send
`Accept: application/json`."""

TAGS = [
    {"name": "scoring", "description": "How odd images are, and where."},
    {"name": "generation", "description": "Images that a model makes."},
    {"name": "models", "description": "What is served."},
    {"name": "Open Inference Protocol", "description": "The same models, as other inference servers serve theirs."},
    {"name": "operation", "description": "For those who run the service."},
]

MEANINGS = {
    400: "The body is not what its content type says, or breaks off.",
    401: "The service asks for a key, and none that it accepts was sent.",
    404: "No model or class has this name; the sentence lists those there are.",
    406: "Several images cannot be one PNG.",
    408: f"The body came too slowly; it has {BODY_SECONDS:g} seconds.",
    413: f"The body, which may have {MAX_REQUEST_BYTES:,} bytes, an image or their number is too large.",
    415: "The content type is another one, or no image could be read.",
    422: "A field is missing, unknown or out of range, or an image has another shape.",
    503: f"Too much work is before this request, there is no answer within {WORK_SECONDS:g} seconds, or the models are not "
    "loaded yet: come back as Retry-After says.",
}
OF_BODIES = (400, 401, 404, 408, 413, 415, 422, 503)
OF_QUERIES = (401, 404, 422, 503)

PNG: Responses = {
    200: {
        "description": "What was asked for, as one PNG or as JSON.",
        "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
    }
}
PICTURE: Responses = {
    200: {"description": "The file.", "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}
}
BYTES: Responses = {
    200: {
        "description": "The outputs, as JSON or behind the JSON as raw bytes.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
TEXT: Responses = {
    200: {"description": "All metrics.", "content": {"text/plain": {"example": examples.METRICS}}},
}
ARRAY_BODY = {
    "requestBody": {
        "required": True,
        # the route reads the body itself, off the event loop
        "content": {"application/json": {"schema": schemas.ScoreArrayBody.model_json_schema()}},
    }
}


def refusals(*statuses: int, model: type[BaseModel] = schemas.Refusal) -> Responses:
    """Return what FastAPI is to document of the refusals with `statuses`, each a `model`."""
    return {status: {"model": model, "description": MEANINGS[status]} for status in statuses}


def operation_id(route: APIRoute) -> str:
    """Return the name of a route's function: generated clients call theirs so."""
    return route.name
