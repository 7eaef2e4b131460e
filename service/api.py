"""The BentoML service: start-up, workers, and the routes mounted at /; the only user of BentoML.

Settings come from the environment: ODDGLYPH_MODELS, the folder of published models, and ODDGLYPH_DEVICE, one of auto,
cpu and cuda. A model that does not prove itself stops the start with one sentence: serving fewer models than were
deployed, or other ones, would go unnoticed.
"""

import gc
import os
from typing import cast, get_args

import bentoml
from bentoml._internal.utils.analytics.usage_stats import do_not_track

from service.errors import DeviceError, OddglyphError
from service.http.catalog import Catalog
from service.http.limits import BODY_SECONDS, WORK_SECONDS
from service.http.routes import build_app, surrounded
from service.published import defaults
from service.published.onnx_model import Device

# Usage reports to BentoML's makers are off unless asked for. `bentoml serve` has looked, and remembers, before it
# imports this module: hence the second line.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
do_not_track.cache_clear()

THREADS = 1  # per worker process: there are as many workers as cores

app = build_app()


def _load() -> Catalog:
    device = os.environ.get("ODDGLYPH_DEVICE", "auto")
    if device not in get_args(Device):
        raise DeviceError(
            f"ODDGLYPH_DEVICE: expected one of {', '.join(get_args(Device))}, got {device!r}; set it anew"
        )
    return Catalog(defaults.models_dir(), cast("Device", device), THREADS)


def _verify() -> None:
    """Load every model once before any worker starts; SystemExit with one sentence if one is refused."""
    try:
        _load()
    except OddglyphError as error:
        raise SystemExit(f"oddglyph does not start: {error}") from None


def _freeze_garbage() -> None:
    """Take what start-up made out of garbage collection: full collections stop the process for 150 ms otherwise."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


@bentoml.service(
    name="oddglyph",
    workers="cpu_count",
    traffic={"timeout": BODY_SECONDS + 2 * WORK_SECONDS},  # a backstop: RequestLimits answers first, in our words
    metrics={"enabled": False},  # they keep a series for every path that a client makes up; /metrics is ours
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(surrounded(app), path="/")
class Oddglyph:
    """Anomaly scores, explanations and generated images of published models."""

    def __init__(self) -> None:
        app.state.catalog = _load()
        _freeze_garbage()

    verify = bentoml.on_deployment(_verify)
