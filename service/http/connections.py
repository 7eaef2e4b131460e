"""Limits on the connections of a worker process: their number, and the time a client may keep the server waiting.

uvicorn itself limits only the pause between two requests. `service.api` makes uvicorn use this class. By hand:

    uvicorn --http service.http.connections:BoundedConnection ...
"""

import asyncio
import json
import logging
import math
from typing import Any, Literal, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

from service.http import limits
from service.http.middleware import HEADERS
from service.http.prometheus import CONNECTIONS, DROPPED

State = Literal["waiting", "sending", "body", "work"]

# The order in which connections are dropped for a new one: idle connections first. State "work" is never dropped.
ORDER: dict[State, int] = {"waiting": 0, "sending": 1, "body": 1}
ROOM = "no room"
REASONS: dict[State, str] = {"waiting": "slow headers", "sending": "slow reader"}

log = logging.getLogger(__name__)


class BoundedConnection(H11Protocol):
    """One HTTP/1.1 connection. It is aborted if its client is too slow, or if a new connection needs the room.

    - waiting for the first byte of a request or the end of its headers: HEADER_SECONDS at most;
    - body, waiting for the rest of a body: limited by RequestLimits;
    - work, computing the answer: limited by RequestLimits;
    - sending an answer of which the client reads no byte: SEND_SECONDS at most.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Watch a new connection, and drop another one if there are too many."""
        super().connection_made(transport)
        CONNECTIONS.inc()
        self._seen: tuple[State, Any] = "waiting", None
        self._since = self.loop.time()
        self._timer = self.loop.call_later(limits.LOOK_SECONDS, self._look)
        if len(self.connections) > limits.MAX_CONNECTIONS:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching."""
        self._timer.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuse bytes that are no HTTP, in the form of all refusals, and close the connection."""
        del msg  # uvicorn logs it
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            body = json.dumps({"detail": limits.NOT_HTTP}).encode()
            headers = {
                **HEADERS,
                "Content-Type": "application/json",
                "Content-Length": len(body),
                "Connection": "close",
            }
            lines = ["HTTP/1.1 400 Bad Request", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
            self.transport.write("\r\n".join(lines).encode() + body)
        self.transport.close()

    def _look(self) -> None:
        state = self._observe()
        seconds = {"waiting": limits.HEADER_SECONDS, "sending": limits.SEND_SECONDS}.get(state, math.inf)
        if self.loop.time() - self._since >= seconds:
            self._drop(REASONS[state])
        else:
            self._timer = self.loop.call_later(limits.LOOK_SECONDS, self._look)

    def _observe(self) -> State:
        """Return the state of the current request, and record when it began."""
        seen = self._state(), self.cycle
        if seen != self._seen:
            self._seen, self._since = seen, self.loop.time()
        return seen[0]

    def _state(self) -> State:
        if self.transport.is_closing() or self.flow.write_paused:
            return "sending"
        if self.cycle is None or self.cycle.response_complete:
            return "waiting"
        return "body" if self.cycle.more_body else "work"

    def _make_room(self) -> None:
        others = [cast("BoundedConnection", each) for each in self.connections if each is not self]
        droppable = [each for each in others if each._observe() in ORDER]
        oldest = min(droppable, key=lambda each: (ORDER[each._seen[0]], each._since), default=self)
        oldest._drop(ROOM)

    def _drop(self, reason: str) -> None:
        DROPPED.labels(reason).inc()
        log.debug("connection of %s dropped: %s", self.client, reason)
        self.transport.abort()


class FairLoop(asyncio.SelectorEventLoop):
    """An event loop that accepts one connection at a time, so that of several workers the idle ones get their share.

    asyncio accepts all connections that wait. One worker would get all clients that come at once, and keep them.
    """

    def _accept_connection(
        self,
        protocol_factory: Any,
        sock: Any,
        sslcontext: Any = None,
        server: Any = None,
        backlog: int = 1,
        *timeouts: Any,
    ) -> None:
        del backlog  # as many as would be accepted
        super()._accept_connection(protocol_factory, sock, sslcontext, server, 1, *timeouts)  # type: ignore[misc]


def fair_loop(*, use_subprocess: bool) -> type[FairLoop]:
    """Return the class of event loop that uvicorn makes one of."""
    del use_subprocess
    return FairLoop
