"""What Prometheus reads at /metrics: requests by route and status, their latency, and what the models did.

Labels are routes and model names, never paths or values that a client chose, so their number stays bounded.
"""

import os
import time

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUESTS = Counter("oddglyph_requests", "HTTP requests answered.", ["route", "status"])
SECONDS = Histogram("oddglyph_request_seconds", "Time from request to complete answer.", ["route"])
SCORED = Counter("oddglyph_images_scored", "Images scored.", ["model"])
ANOMALIES = Counter("oddglyph_anomalies", "Images scored whose p-value was at most alpha.", ["model"])
GENERATED = Counter("oddglyph_images_generated", "Images generated.", ["model"])


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


def exposition() -> bytes:
    """Return all metrics in Prometheus' text format, summed over the worker processes where there are several."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
