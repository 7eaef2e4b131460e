"""What Prometheus reads at /metrics: requests by route and status, their latency, and what the models did.

Labels are routes and model names, never paths or values that a client chose, so their number stays bounded.
"""

import os

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

REQUESTS = Counter("oddglyph_requests", "HTTP requests answered.", ["route", "status"])
SECONDS = Histogram("oddglyph_request_seconds", "Time from request to complete answer.", ["route"])
SCORED = Counter("oddglyph_images_scored", "Images scored.", ["model"])
ANOMALIES = Counter("oddglyph_anomalies", "Images scored whose p-value was at most alpha.", ["model"])
GENERATED = Counter("oddglyph_images_generated", "Images generated.", ["model"])


def exposition() -> bytes:
    """Return all metrics in Prometheus' text format, summed over the worker processes where there are several."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
