"""The application: its routes and the middleware around them. Here are the page, health, metrics and models."""

from pathlib import Path

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import FileResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Lifespan

from service.http import access, descriptions, document, inference, pictures, prometheus, sampling, schemas, scoring
from service.http.access import EVERYBODY, Access, ApiKeys
from service.http.admission import Admission, Pace
from service.http.catalog import Models
from service.http.limits import SECONDS_PER_BYTE
from service.http.middleware import RequestIds, RequestLimits, RequestMetrics, StandardAnswers
from service.http.refusals import install_handlers
from service.version import VERSION

WEB = Path(__file__).parents[1] / "web"

router = APIRouter(generate_unique_id_function=document.operation_id)
ROUTERS = router, pictures.router, scoring.router, sampling.router, inference.router


def build_app(lifespan: Lifespan[FastAPI] | None = None) -> FastAPI:
    """Return the application, which serves once `app.state.catalog` is a Catalog. `lifespan` is entered when it starts.

    It never redirects, since a redirect would repeat whatever host a request names.
    """
    app = FastAPI(
        title="oddglyph",
        version=VERSION,
        description=document.DESCRIPTION,
        openapi_tags=document.TAGS,
        openapi_url="/docs.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.catalog = None
    for each in ROUTERS:
        app.include_router(each)
    app.mount("/web", StaticFiles(directory=WEB))
    install_handlers(app)
    return app


def surrounded(app: FastAPI, allowed: Access = EVERYBODY) -> ASGIApp:
    """Return `app` behind the middleware: request ids, metrics and log, headers, access, limits."""
    routes = [
        route
        for route in (*(route for each in ROUTERS for route in each.routes), *app.routes)
        if hasattr(route, "path")
    ]
    admission = Admission(Pace(SECONDS_PER_BYTE))
    inner: ASGIApp = RequestLimits(app, admission)
    if allowed.keys:
        inner = ApiKeys(inner, allowed.keys)
    inner = StandardAnswers(inner, routes)
    if allowed.origins:  # browsers ask for permission without a key, and pages must be able to read refusals
        inner = CORSMiddleware(
            inner, allowed.origins, ["GET", "POST"], access.SENT_HEADERS, expose_headers=access.SHOWN_HEADERS
        )
    return RequestIds(RequestMetrics(inner, routes))


@router.get("/", include_in_schema=False)
def page() -> FileResponse:
    """Return the page on which people draw or drop images."""
    return FileResponse(WEB / "index.html")


@router.get("/livez", tags=["operation"])
async def alive() -> schemas.Health:
    """Return that the process answers."""
    return schemas.Health(status="alive")


@router.get("/readyz", tags=["operation"], responses=document.refusals(503))
async def ready(_: Models) -> schemas.Health:
    """Return that the models are loaded; status 503 while they are not."""
    return schemas.Health(status="ready")


@router.get(
    "/metrics",
    tags=["operation"],
    response_class=PlainTextResponse,
    responses=document.TEXT | document.refusals(401),
)
def metrics() -> Response:
    """Return metrics in Prometheus' text format."""
    return Response(prometheus.exposition(), media_type=CONTENT_TYPE_LATEST)


@router.get("/models", tags=["models"], responses=document.refusals(401, 503))
def list_models(catalog: Models) -> descriptions.ModelList:
    """Return all served models."""
    return descriptions.ModelList(models=[served.details for served in catalog.models.values()])


@router.get("/models/{name}", tags=["models"], responses=document.refusals(*document.OF_QUERIES))
def describe_model(catalog: Models, name: schemas.NameInPath) -> descriptions.ModelDetails:
    """Return one model with its metrics and provenance."""
    details = catalog.model(name).details
    found = prometheus.read(details.name) if details.kind == "detector" else {}
    if "drift_raised" not in found:
        return details
    drift = descriptions.DriftState(
        raised=bool(found["drift_raised"]),
        evidence=found["drift_evidence"],
        shift=found.get("drift_shift"),
        share=found.get("drift_share"),
    )
    return details.model_copy(update={"drift": drift})
