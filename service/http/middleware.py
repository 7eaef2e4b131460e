"""What surrounds every request: bounds on its bytes, number and time, and the counting of its answer."""

import asyncio
import time

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http import limits
from service.http.limits import MAX_REQUEST_BYTES, MAX_REQUESTS, OVERLOADED, TOO_LARGE, TOO_SLOW
from service.http.prometheus import REQUESTS, SECONDS
from service.http.refusals import refusal


class RequestLimits:
    """ASGI middleware that bounds the bytes of a body, sent chunked or not, the requests at once and their time."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif _declared_bytes(scope) > MAX_REQUEST_BYTES:
            await refusal(413, TOO_LARGE)(scope, receive, send)
        elif self._requests >= MAX_REQUESTS:
            await refusal(503, OVERLOADED)(scope, receive, send)
        else:
            self._requests += 1
            try:
                await self._in_time(scope, _counted(receive), send)
            finally:
                self._requests -= 1

    async def _in_time(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            async with asyncio.timeout(limits.REQUEST_SECONDS):
                await self.app(scope, receive, watch)
        except TimeoutError:
            if started:
                raise
            await refusal(503, TOO_SLOW)(scope, receive, send)


def _declared_bytes(scope: Scope) -> int:
    declared = dict(scope["headers"]).get(b"content-length", b"0")
    return int(declared) if declared.isdigit() else 0  # a lie is found out when the body is counted


def _counted(receive: Receive) -> Receive:
    received = 0

    async def count() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MAX_REQUEST_BYTES:
            raise HTTPException(413, TOO_LARGE)
        return message

    return count


class RequestMetrics:
    """ASGI middleware that counts and times every request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; count it once it is answered."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 500
        start = time.perf_counter()

        async def watch(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, watch)
        finally:
            route = getattr(scope.get("route"), "path", "") or "unmatched"
            REQUESTS.labels(route, status).inc()
            SECONDS.labels(route).observe(time.perf_counter() - start)
