"""The metrics at /metrics for Prometheus: requests and their times, queues, refusals, images and drift by model.

Labels are routes, model names and kinds of refusals, never text that a client chose, so the number of series stays bounded.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any

from service.published.drift import Drift

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


_use_own_folder()  # prometheus_client looks for the folder when it is imported

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest  # noqa: E402
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead  # noqa: E402
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402

# OpenTelemetry's for http.server.request.duration
SECONDS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
NO_MODEL = "none"

REQUESTS = Counter("oddglyph_requests", "HTTP requests answered.", ["route", "status"])
SECONDS = Histogram(
    "oddglyph_request_seconds",
    "From request to complete answer.",
    ["route", "model", "status"],
    buckets=SECONDS_BUCKETS,
)
WAITING = Histogram(
    "oddglyph_waiting_seconds", "In queues, of requests for a model.", ["model"], buckets=SECONDS_BUCKETS
)
COMPUTING = Histogram("oddglyph_computing_seconds", "In the batches of a request.", ["model"], buckets=SECONDS_BUCKETS)
IN_FLIGHT = Gauge("oddglyph_requests_in_flight", "Requests being answered.", multiprocess_mode="livesum")
QUEUED = Gauge("oddglyph_images_in_flight", "Images that wait or are being computed.", multiprocess_mode="livesum")
BATCH = Histogram("oddglyph_batch_images", "Images of a batch.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256))
REFUSED = Counter("oddglyph_requests_refused", "Requests refused, by what is wrong.", ["reason"])
CONNECTIONS = Counter("oddglyph_connections", "Connections accepted.")
DROPPED = Counter("oddglyph_connections_dropped", "Connections dropped before their client was done.", ["reason"])
SCORED = Counter("oddglyph_images_scored", "Images scored.", ["model"])
ANOMALIES = Counter("oddglyph_anomalies", "Images scored whose p-value was at most alpha.", ["model"])
REPLACED = Counter("oddglyph_workers_replaced", "Worker processes that were killed or crashed, and replaced.")
GENERATED = Counter("oddglyph_images_generated", "Images generated.", ["model"])
LOADING = Gauge("oddglyph_model_load_seconds", "To verify and load a model.", ["model"], multiprocess_mode="max")

# Each worker watches the images that it scores. The alarm and the evidence are the highest of the workers.
DRIFT_RAISED = Gauge("oddglyph_drift_raised", "1 once images have drifted.", ["model"], multiprocess_mode="livemax")
DRIFT_EVIDENCE = Gauge("oddglyph_drift_evidence", "For drift.", ["model"], multiprocess_mode="livemax")
DRIFT_SHIFT = Gauge(
    "oddglyph_drift_shift", "Of the mean score, in standard deviations.", ["model"], multiprocess_mode="livemostrecent"
)
DRIFT_SHARE = Gauge("oddglyph_drift_share", "Of p-values <= 0.05.", ["model"], multiprocess_mode="livemostrecent")


def observe_request(route: str, status: int, seconds: float, facts: Mapping[str, Any]) -> None:
    """Count and time a request, given the `facts` that the log notes about it."""
    model = str(facts.get("model", NO_MODEL))
    REQUESTS.labels(route, status).inc()
    SECONDS.labels(route, model, status).observe(seconds)
    if "computing_ms" in facts:
        WAITING.labels(model).observe(facts["waiting_ms"] / 1000)
        COMPUTING.labels(model).observe(facts["computing_ms"] / 1000)
    if "refused" in facts:
        REFUSED.labels(str(facts["refused"]).partition(":")[0]).inc()  # the subject of the sentence


def show_drift(model: str, drift: Drift) -> None:
    """Show what this worker knows of the images that `model` has scored."""
    DRIFT_RAISED.labels(model).set(drift.is_raised)
    DRIFT_EVIDENCE.labels(model).set(drift.evidence)
    if drift.shift is not None:
        DRIFT_SHIFT.labels(model).set(drift.shift)
    if drift.share is not None:
        DRIFT_SHARE.labels(model).set(drift.share)


def read(model: str) -> dict[str, float]:
    """Return the metrics of `model` that have no other label, over all workers, by name without `oddglyph_`."""
    families = text_string_to_metric_families(exposition().decode())
    samples = (sample for family in families for sample in family.samples if sample.labels == {"model": model})
    return {sample.name.removeprefix("oddglyph_"): sample.value for sample in samples}


def forget(pid: int) -> None:
    """Drop what the worker process `pid`, which has ended, was doing."""
    if os.path.isdir(os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")):  # noqa: PTH112
        mark_process_dead(pid)  # type: ignore[no-untyped-call]


def exposition() -> bytes:
    """Return all metrics in Prometheus' text format, summed over the worker processes."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
