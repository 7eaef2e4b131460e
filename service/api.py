"""The BentoML service: start-up, workers, and the routes mounted at /; the only user of BentoML.

Settings come from the environment:

- ODDGLYPH_MODELS: the folder of published models;
- ODDGLYPH_SERVE: the names of the models to serve, with commas between them; all by default;
- ODDGLYPH_DEVICE: auto, cpu or cuda;
- ODDGLYPH_WORKERS: the number of worker processes; one for each core by default, and a single one where CUDA is used.

A model that does not prove itself stops the start with one sentence: serving fewer models than were
deployed, or other ones, would go unnoticed.
"""

import contextlib
import gc
import os
from collections.abc import Callable
from typing import Literal, TypeVar, cast, get_args

import bentoml
import uvicorn.config

from service.errors import DeviceError, OddglyphError, ValueRangeError
from service.http.catalog import Catalog
from service.http.limits import BODY_SECONDS, WORK_SECONDS
from service.http.refusals import short
from service.http.routes import build_app, surrounded
from service.published import defaults
from service.published.onnx_model import Device, cuda_is_usable

# Usage reports to BentoML's makers are off unless asked for. `bentoml serve` has looked, and remembers, before it
# imports this module: hence the forgetting.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
with contextlib.suppress(ImportError, AttributeError):  # private to BentoML
    from bentoml._internal.utils.analytics.usage_stats import do_not_track

    do_not_track.cache_clear()

# BentoML starts its workers with uvicorn's protocol of this name.
uvicorn.config.HTTP_PROTOCOLS["auto"] = "service.http.connections:BoundedConnection"

MAX_WORKERS = 256
DESCRIPTORS = 4096
THREADS = 1  # per worker process: by default there are as many workers as cores

T = TypeVar("T")

app = build_app()


def _device() -> Device:
    device = os.environ.get("ODDGLYPH_DEVICE", "auto")
    if device not in get_args(Device):
        raise DeviceError(
            f"ODDGLYPH_DEVICE: expected one of {', '.join(get_args(Device))}, got {device!r}; set it anew"
        )
    return cast("Device", device)


def _load() -> Catalog:
    names = [name.strip() for name in os.environ.get("ODDGLYPH_SERVE", "").split(",") if name.strip()]
    return Catalog(defaults.models_dir(), _device(), THREADS, names)


def _workers() -> int | Literal["cpu_count"]:
    """Return how many worker processes to start: each of them has every model, on a GPU each in the GPU's memory."""
    wish = os.environ.get("ODDGLYPH_WORKERS", "")
    if wish:
        if not (wish.isdecimal() and 1 <= int(wish[:9]) <= MAX_WORKERS):
            raise ValueRangeError(f"ODDGLYPH_WORKERS: expected 1 to {MAX_WORKERS}, got {short(wish)}; set it anew")
        return int(wish)
    device = _device()
    return 1 if device == "cuda" or (device == "auto" and cuda_is_usable()) else "cpu_count"


def _or_exit(start: Callable[[], T]) -> T:
    """Return what `start` returns; SystemExit with one sentence where it refuses a model or a setting."""
    try:
        return start()
    except OddglyphError as error:
        raise SystemExit(f"oddglyph does not start: {error}") from None


def _verify() -> None:
    """Load every model once before any worker starts."""
    _or_exit(_load)


def _allow_descriptors() -> None:
    """Raise the limit on open files towards DESCRIPTORS: connections that come at once are accepted before any is dropped."""
    with contextlib.suppress(ImportError):  # only Unix has such a limit
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def _freeze_garbage() -> None:
    """Take what start-up made out of garbage collection: full collections stop the process for 150 ms otherwise."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


@bentoml.service(
    name="oddglyph",
    workers=_or_exit(_workers),
    traffic={"timeout": BODY_SECONDS + 2 * WORK_SECONDS},  # a backstop: RequestLimits answers first, in our words
    metrics={"enabled": False},  # they keep a series for every path that a client makes up; /metrics is ours
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(surrounded(app), path="/")
class Oddglyph:
    """Anomaly scores, explanations and generated images of published models."""

    def __init__(self) -> None:
        _allow_descriptors()
        app.state.catalog = _load()
        _freeze_garbage()

    verify = bentoml.on_deployment(_verify)
