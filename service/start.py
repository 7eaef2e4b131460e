"""What every server of the application does: read settings, verify and load models, sign on and off as a worker.

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
import errno
import gc
import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Literal, TypeVar, cast, get_args

from fastapi import FastAPI

from service import memory, workers
from service.errors import DeviceError, OddglyphError, ValueRangeError
from service.http import log
from service.http.catalog import Catalog
from service.http.refusals import short
from service.published import defaults
from service.published.onnx_model import Device, cuda_is_usable

MAX_WORKERS = 256
ADDRESS_ERRORS = (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES)
DESCRIPTORS = 4096  # open files and connections of a process
THREADS = 1  # per worker process, since by default there is one worker per core
GC_THRESHOLDS = 10_000, 20, 50  # allocations before a young collection; young before a middle, middle before a full one

T = TypeVar("T")

logger = logging.getLogger(__name__)


def or_exit(start: Callable[[], T]) -> T:
    """Return the result of `start`; SystemExit with one sentence if it refuses a model or a setting."""
    try:
        return start()
    except OddglyphError as error:
        raise SystemExit(f"oddglyph does not start: {error}") from None


def count_workers() -> int | Literal["cpu_count"]:
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


def verify() -> None:
    """Load every model once, before any worker starts, and keep nothing of it. The workers follow this process."""
    or_exit(partial(log.configure, logging.INFO))  # BentoML logs where it listens
    sys.excepthook = _one_sentence
    logger.info(or_exit(load).summary())
    workers.lead()
    gc.collect()
    memory.give_back()


def work(app: FastAPI) -> None:
    """Make this process a worker that answers by `app`. It may still wait for its models when this returns."""
    or_exit(log.configure)
    _allow_descriptors()
    workers.join()
    workers.load(load, partial(_serve, app))
    memory.give_back_regularly()


def load() -> Catalog:
    """Return the models to serve; OddglyphError if there are none, or one fails its checks."""
    names = [name.strip() for name in os.environ.get("ODDGLYPH_SERVE", "").split(",") if name.strip()]
    return Catalog(defaults.models_dir(), _device(), THREADS, names)


def _serve(app: FastAPI, catalog: Catalog) -> None:
    app.state.catalog = catalog
    _freeze_garbage()
    memory.give_back()


def _one_sentence(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print why BentoML cannot listen, which it raises after this module has done its part; a traceback for the rest."""
    if isinstance(error, OSError) and error.errno in ADDRESS_ERRORS:
        sys.stderr.write(f"oddglyph does not start: cannot listen there: {error.strerror}; choose another --port\n")
    else:
        sys.__excepthook__(kind, error, trace)


def _device() -> Device:
    device = os.environ.get("ODDGLYPH_DEVICE", "auto")
    if device not in get_args(Device):
        raise DeviceError(
            f"ODDGLYPH_DEVICE: expected one of {', '.join(get_args(Device))}, got {device!r}; change the setting"
        )
    return cast("Device", device)


def _allow_descriptors() -> None:
    """Raise the limit on open files towards DESCRIPTORS, since a burst of connections is accepted before any is dropped."""
    with contextlib.suppress(ImportError):  # only Unix has such a limit
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def _freeze_garbage() -> None:
    """Exclude the objects made at start-up from garbage collection, which would stop the process for 150 ms."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
