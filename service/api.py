"""The BentoML service: start-up, workers, and the routes at /. The only user of BentoML.

Settings come from the environment:

- ODDGLYPH_MODELS: the folder of published models;
- ODDGLYPH_SERVE: the names of the models to serve, separated by commas; all models by default;
- ODDGLYPH_DEVICE: auto, cpu or cuda;
- ODDGLYPH_WORKERS: the number of worker processes; by default one per core, or a single one if CUDA is used;
- ODDGLYPH_LOG_LEVEL: debug, info, warning or error; info by default;
- ODDGLYPH_API_KEY: the keys that requests need, separated by commas; everybody may ask by default;
- ODDGLYPH_CORS_ORIGINS: the origins whose web pages may ask, separated by commas; none by default.

A model that fails its checks stops the start with one sentence. A service with fewer models than deployed would go
unnoticed. A worker that loses its models later waits for them.
"""

import contextlib
import gc
import logging
import os
from collections.abc import Callable
from functools import partial
from typing import Literal, TypeVar, cast, get_args

import bentoml
import uvicorn.config
from starlette.types import ASGIApp, Receive, Scope, Send

from service import memory, workers
from service.errors import DeviceError, OddglyphError, ValueRangeError
from service.http import access, log
from service.http.catalog import Catalog
from service.http.limits import BODY_SECONDS, WORK_SECONDS
from service.http.refusals import short
from service.http.routes import build_app, surrounded
from service.published import defaults
from service.published.onnx_model import Device, cuda_is_usable

# Usage reports to BentoML's makers are off unless the user turns them on. `bentoml serve` reads the setting before it
# imports this module and caches the answer, so the cache is cleared.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
with contextlib.suppress(ImportError, AttributeError):  # private to BentoML
    from bentoml._internal.utils.analytics.usage_stats import do_not_track

    do_not_track.cache_clear()

# BentoML starts its workers with the protocol and the event loop that uvicorn calls "auto".
uvicorn.config.HTTP_PROTOCOLS["auto"] = "service.http.connections:BoundedConnection"
uvicorn.config.LOOP_FACTORIES["auto"] = "service.http.connections:fair_loop"

memory.bound()

MAX_WORKERS = 256
DESCRIPTORS = 4096  # open files and connections of a process
THREADS = 1  # per worker process, since by default there is one worker per core
GC_THRESHOLDS = 10_000, 20, 50  # allocations before a young collection; young before a middle, middle before a full one

T = TypeVar("T")

logger = logging.getLogger(__name__)
app = build_app()


def _or_exit(start: Callable[[], T]) -> T:
    """Return the result of `start`; SystemExit with one sentence if it refuses a model or a setting."""
    try:
        return start()
    except OddglyphError as error:
        raise SystemExit(f"oddglyph does not start: {error}") from None


def _device() -> Device:
    device = os.environ.get("ODDGLYPH_DEVICE", "auto")
    if device not in get_args(Device):
        raise DeviceError(
            f"ODDGLYPH_DEVICE: expected one of {', '.join(get_args(Device))}, got {device!r}; change the setting"
        )
    return cast("Device", device)


def _load() -> Catalog:
    names = [name.strip() for name in os.environ.get("ODDGLYPH_SERVE", "").split(",") if name.strip()]
    return Catalog(defaults.models_dir(), _device(), THREADS, names)


def _count_workers() -> int | Literal["cpu_count"]:
    """Return the number of worker processes. Each loads every model, on a GPU into the memory of the GPU."""
    wish = os.environ.get("ODDGLYPH_WORKERS", "")
    if wish:
        if not (wish.isdecimal() and 1 <= int(wish[:9]) <= MAX_WORKERS):
            raise ValueRangeError(
                f"ODDGLYPH_WORKERS: expected 1 to {MAX_WORKERS}, got {short(wish)}; change the setting"
            )
        return int(wish)
    device = _device()
    return 1 if device == "cuda" or (device == "auto" and cuda_is_usable()) else "cpu_count"


def _verify() -> None:
    """Load every model once, before any worker starts, and keep nothing of it. The workers follow this process."""
    _or_exit(partial(log.configure, logging.INFO))  # BentoML logs where it listens
    logger.info(_or_exit(_load).summary())
    workers.lead()
    gc.collect()
    memory.give_back()


def _allow_descriptors() -> None:
    """Raise the limit on open files towards DESCRIPTORS, since a burst of connections is accepted before any is dropped."""
    with contextlib.suppress(ImportError):  # only Unix has such a limit
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def _serve(catalog: Catalog) -> None:
    app.state.catalog = catalog
    _freeze_garbage()
    memory.give_back()


def _freeze_garbage() -> None:
    """Exclude the objects made at start-up from garbage collection, which would stop the process for 150 ms."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


@bentoml.service(
    name="oddglyph",
    workers=_or_exit(_count_workers),
    traffic={"timeout": BODY_SECONDS + 2 * WORK_SECONDS},  # a backstop: RequestLimits answers before
    tracing={
        "excluded_urls": ".*"
    },  # would take more time than the refusal of a request; a configuration file turns it on
    metrics={"enabled": False},  # BentoML's keep a series for every path that a client asks for
    logging={"access": {"enabled": False}},
)
class Oddglyph:
    """Anomaly scores, explanations and generated images of published models."""

    def __init__(self) -> None:
        _or_exit(log.configure)
        _allow_descriptors()
        workers.join()
        workers.load(_load, _serve)
        memory.give_back_regularly()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def leave(self) -> None:
        """End in an orderly way."""
        workers.leave()

    verify = bentoml.on_deployment(_verify)


_ANSWERS = surrounded(app, _or_exit(access.from_environment))


class _Routes:
    """ASGI middleware that answers every request by `app`, so that no route of BentoML's own is left.

    Messages that are no requests, such as `lifespan`, go on to BentoML.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._bentoml = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an ASGI call."""
        await (_ANSWERS if scope["type"] == "http" else self._bentoml)(scope, receive, send)


Oddglyph.add_asgi_middleware(_Routes)  # type: ignore[attr-defined]  # bentoml.service made it a Service
