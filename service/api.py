"""The BentoML service: the routes at / and their workers. The only user of BentoML. Settings are those of service/start.py."""

import contextlib
import os

import bentoml
import uvicorn.config
from starlette.types import ASGIApp, Receive, Scope, Send

from service import memory, start, workers
from service.http import access
from service.http.limits import BODY_SECONDS, WORK_SECONDS
from service.http.routes import build_app, surrounded

# Usage reports to BentoML's makers are off unless the user turns them on. `bentoml serve` reads the setting before it
# imports this module and caches the answer, so the cache is cleared.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
with contextlib.suppress(ImportError, AttributeError):  # private to BentoML
    from bentoml._internal.utils.analytics.usage_stats import do_not_track

    do_not_track.cache_clear()

# BentoML starts its workers with the protocol and the event loop that uvicorn calls "auto".
uvicorn.config.HTTP_PROTOCOLS["auto"] = "service.http.connections:BoundedConnection"
uvicorn.config.LOOP_FACTORIES["auto"] = "service.http.connections:fair_loop"
uvicorn.config.WS_PROTOCOLS["auto"] = None  # there are no WebSockets, whose connections would not be bounded

memory.bound()

app = build_app()


@bentoml.service(
    name="oddglyph",
    workers=start.or_exit(start.count_workers),
    traffic={"timeout": BODY_SECONDS + 2 * WORK_SECONDS},  # a backstop: RequestLimits answers before
    tracing={
        "excluded_urls": ".*"
    },  # would take more time than the refusal of a request; a configuration file turns it on
    metrics={"enabled": False},  # BentoML's keep a series for every path that a client asks for
    logging={"access": {"enabled": False}},
    http={"host": "127.0.0.1"},  # BentoML's default is 0.0.0.0; --host and BENTOML_HOST still decide
)
class Oddglyph:
    """Anomaly scores, explanations and generated images of published models."""

    def __init__(self) -> None:
        start.work(app)

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def leave(self) -> None:
        """End in an orderly way."""
        workers.leave()

    verify = bentoml.on_deployment(start.verify)


_ANSWERS = surrounded(app, start.or_exit(access.from_environment))


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
