"""The metrics at /metrics for Prometheus: requests by route and status, latency, and images by model.

Labels are routes and model names, never text that a client chose, so the number of series stays bounded.
"""

import atexit
import os
import shutil
import tempfile

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

FOLDER = "ODDGLYPH_METRICS_DIR"


def _use_own_folder() -> None:
    """Keep the counts of all worker processes in a folder that only this service uses.

    BentoML gives all services of a user one folder, and each service empties the folder when it starts. Here the first
    process of a service makes a folder, and its workers inherit the name.
    """
    if FOLDER in os.environ:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = os.environ[FOLDER]
    else:
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="oddglyph-metrics-")
        atexit.register(shutil.rmtree, os.environ[FOLDER], ignore_errors=True)


_use_own_folder()

REQUESTS = Counter("oddglyph_requests", "HTTP requests answered.", ["route", "status"])
SECONDS = Histogram("oddglyph_request_seconds", "Time from request to complete answer.", ["route"])
CONNECTIONS = Counter("oddglyph_connections", "Connections accepted.")
DROPPED = Counter("oddglyph_connections_dropped", "Connections dropped before their client was done.", ["reason"])
SCORED = Counter("oddglyph_images_scored", "Images scored.", ["model"])
ANOMALIES = Counter("oddglyph_anomalies", "Images scored whose p-value was at most alpha.", ["model"])
REPLACED = Counter("oddglyph_workers_replaced", "Worker processes that were killed or crashed, and replaced.")
GENERATED = Counter("oddglyph_images_generated", "Images generated.", ["model"])


def exposition() -> bytes:
    """Return all metrics in Prometheus' text format, summed over the worker processes."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
