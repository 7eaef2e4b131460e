"""Every failure becomes an answer with a status and one sentence, `{"detail": "..."}`, and never a traceback."""

import json
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.errors import OddglyphError
from service.http import log

RETRY_AFTER_SECONDS = 1
SHOWN_CHARACTERS = 40


class Refusal(Response):
    """The answer to a refused request: `{"detail": sentence}`, or `{"error": sentence}` below /v2.

    The Open Inference Protocol asks for `error`. With status 503, Retry-After says when to come back.
    """

    media_type = "application/json"

    def __init__(self, status: int, detail: str) -> None:
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status == 503 else None
        super().__init__(None, status, headers)
        self.detail = detail

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the sentence under the name that fits the path."""
        name = "error" if scope["path"].startswith("/v2/") else "detail"
        self.body = json.dumps({name: self.detail}, ensure_ascii=False).encode()
        self.headers["Content-Length"] = str(len(self.body))
        await super().__call__(scope, receive, send)


class Failure(Refusal):
    """The answer to a request that failed by an error of the service. It names the request's id and nothing else."""

    def __init__(self) -> None:
        super().__init__(500, f"service: internal error; see the log of the server about request {log.request_id()}")
        self.headers["Connection"] = "close"


def install_handlers(app: FastAPI) -> None:
    """Make `app` answer every error, also an unexpected one, with a refusal."""
    app.add_exception_handler(OddglyphError, _from_oddglyph)
    app.add_exception_handler(RequestValidationError, _from_validation)
    app.add_exception_handler(HTTPException, _from_http)
    app.add_exception_handler(Exception, _from_unexpected)


async def _from_oddglyph(_: Request, error: Exception) -> Refusal:
    assert isinstance(error, OddglyphError)
    log.note(refused=type(error).__name__)  # the sentence may name a file of the client
    return Refusal(error.status, str(error))


async def _from_validation(_: Request, error: Exception) -> Refusal:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    log.note(refused=str(first["type"]))
    return Refusal(400 if first["type"] == "json_invalid" else 422, _sentence(first))


async def _from_http(request: Request, error: Exception) -> Refusal:
    assert isinstance(error, HTTPException)
    log.note(refused=HTTPStatus(error.status_code).phrase)
    path = request.url.path[:SHOWN_CHARACTERS]
    detail = {
        400: f"body: not of the type that Content-Type names ({error.detail}); see /docs.json",
        404: f"path {path!r}: no such path; /docs.json lists all paths",
        405: f"method {request.method[:SHOWN_CHARACTERS]}: not allowed for {path}; see /docs.json",
    }.get(error.status_code, str(error.detail))
    answer = Refusal(error.status_code, detail)
    answer.headers.update(error.headers or {})
    return answer


async def _from_unexpected(_request: Request, _error: Exception) -> Refusal:
    return Failure()


def _sentence(error: Any) -> str:
    where = (".".join(str(part) for part in error["loc"][1:]) or str(error["loc"][0]))[:SHOWN_CHARACTERS]
    if error["type"] == "missing":
        return f"{where}: expected a value, got none; see /docs.json"
    if error["type"] == "extra_forbidden":
        return f"{where}: no such field; /docs.json lists all fields"
    if error["type"] == "json_invalid":
        return f"body: expected JSON, got something else ({error['ctx']['error']} at {where}); see /docs.json"
    if "UploadFile" in error["msg"]:
        return f"{where}: expected a file, got {short(error['input'])}; for example: curl -F images=@digit.png"
    message = str(error["msg"])
    expected = message.replace("Input should be", "expected") if "Input should be" in message else f"expected {message}"
    return f"{where}: {expected}, got {short(error['input'])}; see /docs.json"


def short(value: Any) -> str:
    """Return Python's notation of `value`, cut after SHOWN_CHARACTERS characters."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
