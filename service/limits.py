"""Limits on what a request may cost; routes and their documentation name these same constants."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.answers import refusal

MAX_REQUEST_BYTES = 16 * 2**20
MAX_IMAGES = 256
MAX_SAMPLES = 256
MAX_WALK_STEPS = 64
MAX_REQUESTS = 256  # at once, in one worker process
REQUEST_SECONDS = 20.0

TOO_LARGE = f"body: expected at most {MAX_REQUEST_BYTES:,} bytes, got more; send fewer or smaller images"
OVERLOADED = f"service: expected at most {MAX_REQUESTS} requests at once, got one more; come back in a second"
TOO_SLOW = f"request: expected to be sent and answered within {REQUEST_SECONDS:g} seconds; send less or come back later"


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
            async with asyncio.timeout(REQUEST_SECONDS):
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
