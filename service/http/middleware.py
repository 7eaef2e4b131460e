"""ASGI middleware around every request: limits on its bytes and time, metrics, HEAD and OPTIONS, security headers."""

import asyncio
import logging
import re
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from python_multipart.multipart import parse_options_header
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import OverloadedError
from service.http import limits, log
from service.http.admission import PLACE, Admission
from service.http.prometheus import IN_FLIGHT, observe_request
from service.http.refusals import Failure, Refusal

# These paths answer under any load. None of them reads a body.
UNLIMITED = (
    "/",
    "/docs.json",
    "/livez",
    "/metrics",
    "/models",
    "/readyz",
    "/v2",
    "/v2/",
    "/v2/health/live",
    "/v2/health/ready",
)
UNLIMITED_UNDER = ("/models/", "/web/")
PIECE_BYTES = 2**14
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
CLIENT_LEFT = 499  # nginx's status; nobody reads the answer, but BentoML keeps a request until its answer begins
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}

logger = logging.getLogger(__name__)


class HttpMiddleware(ABC):
    """Base of the middleware: `answer` gets every HTTP request, and `app` gets other messages, such as `lifespan`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an ASGI call."""
        await (self.answer if scope["type"] == "http" else self.app)(scope, receive, send)

    @abstractmethod
    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request, as a rule by passing it on to `app`."""


class RequestLimits(HttpMiddleware):
    """Limits the bytes of request bodies, the work admitted at once, and the time for each request.

    A request takes one of the places of `admission` once its whole body has arrived, so slow senders occupy no place. If
    there is no place for so many bytes, the request is refused before its body is read, and again before its body is
    parsed. Work for a client that left is cancelled.
    """

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        super().__init__(app)
        self._admission = admission
        self._held_bytes = 0

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it with status 400, 408, 413 or 503."""
        if {b"transfer-encoding", b"content-length"} <= dict(scope["headers"]).keys():
            log.note(refused=limits.TWO_LENGTHS)
            answer = Refusal(400, limits.TWO_LENGTHS)
            answer.headers["Connection"] = "close"  # what follows may be a second request, hidden in the first
            await answer(scope, receive, send)
        elif scope["path"] in UNLIMITED or scope["path"].startswith(UNLIMITED_UNDER):
            await self.app(scope, receive, send)
        else:
            await self._limited(scope, receive, send)

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = bytearray()
        try:
            self._check(scope)
            if not await self._receive(body, receive):
                raise HTTPException(CLIENT_LEFT, limits.LEFT)
            with self._admission.place(min(len(body), limits.GUESSED_BYTES)) as place:
                _check_end(scope, body)
                await _answer(self.app, {**scope, PLACE: place}, body, receive, send)
        except OverloadedError as error:
            log.note(refused=str(error))
            await Refusal(error.status, str(error))(scope, receive, send)
        except HTTPException as error:
            log.note(refused=error.detail)  # a constant of `limits`, without words of the client
            answer = Refusal(error.status_code, error.detail)
            answer.headers.update(error.headers or {})
            await answer(scope, receive, send)
        finally:
            self._held_bytes -= len(body)

    def _check(self, scope: Scope) -> None:
        """Raise HTTPException or OverloadedError for a request that can be refused before its body is read."""
        header = dict(scope["headers"]).get(b"content-length", b"0")[:20]
        declared = int(header) if header.isdigit() else 0
        if declared > limits.MAX_REQUEST_BYTES:  # `_hold` catches a false length
            raise HTTPException(413, limits.TOO_LARGE)
        self._admission.check(min(declared, limits.GUESSED_BYTES))

    async def _receive(self, body: bytearray, receive: Receive) -> bool:
        """Fill `body`; return whether the client is still connected. HTTPException 408 if the body comes too slowly."""
        start = asyncio.get_running_loop().time()
        more = True
        while more:
            seconds = limits.GRACE_SECONDS + len(body) / limits.MIN_BYTES_PER_SECOND
            try:
                async with asyncio.timeout_at(start + min(seconds, limits.BODY_SECONDS)):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, limits.SENT_TOO_SLOWLY, {"Connection": "close"}) from None
            if message["type"] == "http.disconnect":
                return False
            self._hold(body, message.get("body", b""))
            more = message.get("more_body", False)
        return True

    def _hold(self, body: bytearray, piece: bytes) -> None:
        if len(body) + len(piece) > limits.MAX_REQUEST_BYTES:
            raise HTTPException(413, limits.TOO_LARGE)
        if self._held_bytes + len(piece) > limits.MAX_HELD_BYTES:
            raise HTTPException(503, limits.TOO_MUCH_HELD)
        body += piece
        self._held_bytes += len(piece)


def _check_end(scope: Scope, body: bytearray) -> None:
    """Raise HTTPException 400 for a form without its closing boundary, whose parser would accept the parts received."""
    kind, options = parse_options_header(dict(scope["headers"]).get(b"content-type"))
    boundary = options.get(b"boundary")
    if kind == b"multipart/form-data" and boundary and body.rfind(b"--" + boundary + b"--") < 0:
        raise HTTPException(400, limits.BREAKS_OFF)


async def _answer(app: ASGIApp, scope: Scope, body: bytearray, receive: Receive, send: Send) -> None:
    """Let `app` answer within WORK_SECONDS; raise HTTPException 503 if it does not, 499 if the client has left."""
    started = has_left = False

    async def watch(message: Message) -> None:
        nonlocal started
        started = True
        await send(message)

    try:
        async with asyncio.timeout(limits.WORK_SECONDS) as work:
            leaving = asyncio.create_task(_leave(receive, work))
            try:
                await app(scope, _replay(body, leaving), watch)
            finally:
                has_left = leaving.done()
                leaving.cancel()
    except TimeoutError:
        if not started:
            raise HTTPException(*((CLIENT_LEFT, limits.LEFT) if has_left else (503, limits.TOO_SLOW))) from None
        if not has_left:
            raise


async def _leave(receive: Receive, work: asyncio.Timeout) -> None:
    """Return once the client has left, and let the timeout `work` expire at once."""
    while (await receive())["type"] != "http.disconnect":
        pass
    work.reschedule(asyncio.get_running_loop().time())


def _replay(body: bytearray, leaving: asyncio.Task[None]) -> Receive:
    """Return an ASGI `receive` that yields `body` in pieces of PIECE_BYTES, then waits until the client leaves.

    Between two pieces other requests get their turn: forms are parsed on the event loop.
    """
    starts = iter(range(0, max(len(body), 1), PIECE_BYTES))

    async def receive() -> Message:
        if (start := next(starts, None)) is None:
            await asyncio.shield(leaving)
            return {"type": "http.disconnect"}
        await asyncio.sleep(0)
        end = start + PIECE_BYTES
        return {"type": "http.request", "body": bytes(body[start:end]), "more_body": end < len(body)}

    return receive


class RequestIds(HttpMiddleware):
    """Gives every request an id, its own X-Request-ID if it has a sane one. Answers where an error escaped."""

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and send its id with the answer."""
        sent = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        request_id = sent if REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        log.begin(request_id)
        started = complete = False

        async def finish(message: Message) -> None:
            nonlocal started, complete
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        try:
            await self.app(scope, receive, finish)
        except Exception:
            logger.exception("a request failed")
            if not started:
                await Failure()(scope, receive, finish)
            elif not complete:
                raise  # the server then closes the connection, so that the client sees that the answer breaks off


class RequestMetrics(HttpMiddleware):
    """Counts, times and logs every request under its route, one of `routes`; refused requests count as well."""

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        super().__init__(app)
        self._routes = routes

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and count it once it is answered."""
        path = next((str(getattr(route, "path", "")) for route in matching(self._routes, scope)), "unmatched")
        status = CLIENT_LEFT
        start = time.perf_counter()
        IN_FLIGHT.inc()

        async def watch(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, watch)
        finally:
            seconds = time.perf_counter() - start
            IN_FLIGHT.dec()
            observe_request(path, status, seconds, log.facts())
            log.answered(scope["method"], path, status, seconds)


class StandardAnswers(HttpMiddleware):
    """Answers HEAD and OPTIONS for all `routes`, and adds HEADERS to every answer."""

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        super().__init__(app)
        self._routes = routes

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, HEAD as GET; answer OPTIONS itself."""
        is_head = scope["method"] == "HEAD"
        allowed = self._allowed(scope) if scope["method"] in ("HEAD", "OPTIONS") else set()

        async def finish(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            elif is_head:
                message = {**message, "body": b""}
            await send(message)

        if scope["method"] == "OPTIONS" and allowed:
            await Response(None, 204, {"Allow": ", ".join(sorted(allowed))})(scope, receive, finish)
        else:
            await self.app({**scope, "method": "GET"} if is_head and "GET" in allowed else scope, receive, finish)

    def _allowed(self, scope: Scope) -> set[str]:
        methods = {method for route in matching(self._routes, scope) for method in _methods(route)}
        if not methods:
            return set()
        return methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())


def matching(routes: Sequence[BaseRoute], scope: Scope) -> Iterator[BaseRoute]:
    """Yield the `routes` that match the path of a request, whatever its method."""
    return (route for route in routes if route.matches(scope)[0] is not Match.NONE)


def _methods(route: BaseRoute) -> set[str]:
    return set(getattr(route, "methods", None) or {"GET", "HEAD"})  # the folder of static files lists no methods
