"""The public HTTP routes: validate, call, answer.

Threads decode images before the queue and encode PNGs after it. A bad image is an error in its own row only, and a slow
image delays no batch.
"""

import asyncio
import base64
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, FastAPI, Form, Query, Request, Response, UploadFile
from fastapi.responses import FileResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from service import images
from service.http import access, arrays, document, inference, log, prometheus, schemas, uploads
from service.http.access import EVERYBODY, Access, ApiKeys
from service.http.admission import Admission, Admitted, Pace, Place
from service.http.catalog import Models, ServedDetector, ServedGenerator
from service.http.limits import SECONDS_PER_BYTE
from service.http.middleware import RequestIds, RequestLimits, RequestMetrics, StandardAnswers
from service.http.queues import Batcher
from service.http.refusals import SHOWN_CHARACTERS, install_handlers
from service.http.uploads import Upload
from service.images import Pixels
from service.published.conformal import Decision
from service.published.detector import Row, Scores, require_reconstruction
from service.published.generator import CHUNK
from service.version import VERSION

WEB = Path(__file__).parents[1] / "web"

router = APIRouter(generate_unique_id_function=document.operation_id)


def build_app() -> FastAPI:
    """Return the application, which serves once `app.state.catalog` is a Catalog.

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
    )
    app.state.catalog = None
    app.include_router(router)
    app.include_router(inference.router)
    app.mount("/web", StaticFiles(directory=WEB))
    install_handlers(app)
    return app


def surrounded(app: FastAPI, allowed: Access = EVERYBODY) -> ASGIApp:
    """Return `app` behind the middleware: request ids, metrics and log, headers, access, limits."""
    routes = [route for route in (*router.routes, *inference.router.routes, *app.routes) if hasattr(route, "path")]
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
def list_models(catalog: Models) -> schemas.ModelList:
    """Return all served models."""
    return schemas.ModelList(models=[served.details for served in catalog.models.values()])


@router.get("/models/{name}", tags=["models"], responses=document.refusals(*document.OF_QUERIES))
def describe_model(catalog: Models, name: schemas.NameInPath) -> schemas.ModelDetails:
    """Return one model with its metrics and provenance."""
    details = catalog.model(name).details
    found = prometheus.read(details.name) if details.kind == "detector" else {}
    if "drift_raised" not in found:
        return details
    drift = schemas.DriftState(
        raised=bool(found["drift_raised"]),
        evidence=found["drift_evidence"],
        shift=found.get("drift_shift"),
        share=found.get("drift_share"),
    )
    return details.model_copy(update={"drift": drift})


@router.post(
    "/score",
    tags=["scoring"],
    dependencies=[Depends(uploads.multipart_only)],
    response_model_exclude_none=True,
    responses=document.refusals(*document.OF_BODIES),
)
async def score(
    catalog: Models,
    place: Admitted,
    query: Annotated[schemas.ScoreOptions, Query()],
    form: Annotated[schemas.ScoreForm, Form(media_type="multipart/form-data")],
) -> schemas.ScoreAnswer:
    """Return scores of uploaded images. Options are form fields or query parameters."""
    options = query.model_copy(update=form.model_dump(exclude_unset=True, exclude={"images"}))
    served = catalog.detector(options.model)
    decision = served.detector.decide(options.rule)
    upload = await _read(place, served, served.score, form.images, invert=options.invert)
    scores = await served.score(upload.pixels)
    rows = upload.in_order(_rows(served, upload.ids_read, scores, decision), lambda name, why: Row(name, error=why))
    return _answer(served, options, decision, rows)


@router.post(
    "/score/array",
    tags=["scoring"],
    dependencies=[Depends(uploads.json_only)],
    response_model_exclude_none=True,
    responses=document.refusals(*document.OF_BODIES),
    openapi_extra=document.ARRAY_BODY,
)
async def score_array(request: Request, catalog: Models, place: Admitted) -> schemas.ScoreAnswer:
    """Return scores of images given as nested lists."""
    body = await uploads.in_pool(partial(arrays.parse, await request.body(), schemas.ScoreArrayBody))
    served, ids = catalog.detector(body.model), uploads.ids_of(body.images)
    log.note(model=served.details.name, images=len(ids))
    decision = served.detector.decide(body.rule)
    decode = partial(arrays.pixels, body.images, served.detector.image_size, invert=body.invert)
    place.claim(served.score.seconds(len(ids)))
    scores = await served.score(await uploads.in_pool(decode))
    return _answer(served, body, decision, _rows(served, ids, scores, decision))


async def _read(
    place: Place, served: ServedDetector, batcher: Batcher[Any], files: list[UploadFile], *, invert: bool
) -> Upload:
    def admit(decoding_seconds: float) -> None:
        place.claim(decoding_seconds + batcher.seconds(len(files)))

    log.note(model=served.details.name, images=len(files))
    return await uploads.read(files, served.detector.image_size, invert=invert, admit=admit)


@dataclass(frozen=True)
class _Compared:
    """Uploaded images, and the planes uint8 [M, 2 or 3, size, size] of the M readable ones; see Examination."""

    model: str
    upload: Upload
    planes: Pixels

    @property
    def heat(self) -> Pixels:
        """The heat maps [M, H, W] of 255 values."""
        return self.planes[:, 1]

    @property
    def reconstruction(self) -> Pixels:
        """The reconstructions [M, H, W], of a detector that makes them."""
        return self.planes[:, 2]


async def _compare(
    place: Place, served: ServedDetector, files: list[UploadFile], *, invert: bool, needs_reconstruction: bool
) -> _Compared:
    if needs_reconstruction:
        require_reconstruction(served.details.name, reconstructs=served.detector.reconstructs)
    upload = await _read(place, served, served.compare, files, invert=invert)
    return _Compared(served.details.name, upload, await served.compare(upload.pixels))


@router.post(
    "/reconstruct",
    tags=["scoring"],
    dependencies=[Depends(uploads.multipart_only)],
    response_model=schemas.PictureAnswer,
    response_model_exclude_none=True,
    responses=document.PNG | document.refusals(406, *document.OF_BODIES),
)
async def reconstruct(
    request: Request,
    catalog: Models,
    place: Admitted,
    query: Annotated[schemas.ImageOptions, Query()],
    form: Annotated[schemas.ImageForm, Form(media_type="multipart/form-data")],
) -> Response | schemas.PictureAnswer:
    """Return reconstructions of uploaded images: a PNG for one image, JSON for many or if Accept asks for JSON."""
    options = query.model_copy(update=form.model_dump(exclude_unset=True, exclude={"images"}))
    served = catalog.detector(options.model)
    compared = await _compare(place, served, form.images, invert=options.invert, needs_reconstruction=True)
    upload, pngs = compared.upload, await _pngs(compared.reconstruction)
    if _wants_png(request, len(upload.ids)):
        return _png_answer(pngs[0])
    made = zip(upload.ids_read, pngs, strict=True)
    read = [schemas.Reconstruction(id=name, png=_text(png)) for name, png in made]
    results = upload.in_order(read, lambda name, why: schemas.Reconstruction(id=name, error=why))
    return schemas.PictureAnswer(model=compared.model, results=results)


@router.post(
    "/explain",
    tags=["scoring"],
    dependencies=[Depends(uploads.multipart_only)],
    response_model=schemas.ExplainAnswer,
    response_model_exclude_none=True,
    responses=document.PNG | document.refusals(406, *document.OF_BODIES),
)
async def explain(
    request: Request,
    catalog: Models,
    place: Admitted,
    query: Annotated[schemas.ExplainOptions, Query()],
    form: Annotated[schemas.ExplainForm, Form(media_type="multipart/form-data")],
) -> Response | schemas.ExplainAnswer:
    """Return heat maps that show where uploaded images are odd, as PNG or JSON like /reconstruct."""
    options = query.model_copy(update=form.model_dump(exclude_unset=True, exclude={"images"}))
    served, by_difference = catalog.detector(options.model), options.kind == "difference"
    compared = await _compare(place, served, form.images, invert=options.invert, needs_reconstruction=by_difference)
    upload = compared.upload
    shown = images.difference(upload.pixels, compared.reconstruction) if by_difference else compared.heat
    heat = await _pngs(images.colour_heat(shown / 255))
    if _wants_png(request, len(upload.ids)):
        return _png_answer(heat[0])
    seen = await _pngs(upload.pixels)
    read = [
        schemas.Explanation(id=name, png=_text(png), input=_text(pixels))
        for name, png, pixels in zip(upload.ids_read, heat, seen, strict=True)
    ]
    if served.detector.reconstructs:
        for one, png in zip(read, await _pngs(compared.reconstruction), strict=True):
            one.reconstruction = _text(png)
    results = upload.in_order(read, lambda name, why: schemas.Explanation(id=name, error=why))
    return schemas.ExplainAnswer(model=compared.model, results=results)


@router.get(
    "/sample",
    tags=["generation"],
    response_model=schemas.SampleAnswer,
    responses=document.PNG | document.refusals(*document.OF_QUERIES),
)
async def sample(
    request: Request, catalog: Models, query: Annotated[schemas.SampleQuery, Query()]
) -> Response | schemas.SampleAnswer:
    """Return generated images: one PNG with a nearly square grid, or JSON."""
    served = catalog.generator(query.model)
    log.note(model=served.details.name, images=query.n)
    draw = partial(served.generator.sample, query.class_name, seed=query.seed)
    pieces = [partial(draw, min(CHUNK, query.n - start), start=start) for start in range(0, query.n, CHUNK)]
    pixels = np.concatenate(await served.turnstile(pieces, query.n))
    classes = [served.generator.class_of(query.class_name, k) for k in range(query.n)]
    columns, as_json = math.ceil(math.sqrt(query.n)), _as_json(request, query.format)
    return await _sample_answer(served, as_json, pixels, classes, columns)


@router.get(
    "/sample/walk",
    tags=["generation"],
    response_model=schemas.SampleAnswer,
    responses=document.PNG | document.refusals(*document.OF_QUERIES),
)
async def walk(
    request: Request, catalog: Models, query: Annotated[schemas.WalkQuery, Query()]
) -> Response | schemas.SampleAnswer:
    """Return a row of generated images that lead from one seed to another: one PNG, or JSON."""
    served = catalog.generator(query.model)
    log.note(model=served.details.name, images=query.steps)
    seeds = (query.start, query.end)
    draw = partial(served.generator.walk, query.class_name, seeds, query.steps)
    [pixels] = await served.turnstile([draw], query.steps)
    classes = [served.generator.class_of(query.class_name, 0)] * query.steps
    return await _sample_answer(served, _as_json(request, query.format), pixels, classes, columns=query.steps)


def _rows(served: ServedDetector, ids: list[str], scores: Scores, decision: Decision) -> list[Row]:
    name, rows = served.details.name, scores.rows(ids, decision)
    served.count(scores)
    prometheus.ANOMALIES.labels(name).inc(sum(bool(row.is_anomaly) for row in rows))
    return rows


def _answer(
    served: ServedDetector, options: schemas.ScoreOptions, decision: Decision, rows: list[Row]
) -> schemas.ScoreAnswer:
    return schemas.ScoreAnswer(
        model=served.details.name,
        alpha=options.alpha,
        strict=options.strict or None,
        confidence=options.confidence,
        threshold=decision.threshold if options.confidence else None,
        note=decision.note,
        results=rows,
    )


async def _sample_answer(
    served: ServedGenerator, as_json: bool, pixels: Pixels, classes: list[str | None], columns: int
) -> Response | schemas.SampleAnswer:
    prometheus.GENERATED.labels(served.details.name).inc(len(pixels))
    if not as_json:
        return _png_answer(await asyncio.to_thread(images.encode_png, images.grid(pixels, columns)))
    results = [
        schemas.Sample(id=str(k), png=_text(png), class_name=class_name)
        for k, (png, class_name) in enumerate(zip(await _pngs(pixels), classes, strict=True))
    ]
    return schemas.SampleAnswer(model=served.details.name, results=results)


def _as_json(request: Request, wish: str | None) -> bool:
    return wish == "json" or (wish is None and request.headers.get("accept", "").startswith("application/json"))


def _wants_png(request: Request, count: int) -> bool:
    accept = request.headers.get("accept", "*/*")
    if count > 1 and accept.startswith("image/"):
        raise HTTPException(
            406, f"accept: expected application/json for {count} images, got {accept[:SHOWN_CHARACTERS]}; send one"
        )
    return count == 1 and not accept.startswith("application/json")


async def _pngs(pixels: Pixels) -> list[bytes]:
    return await asyncio.to_thread(lambda: [images.encode_png(image) for image in pixels])


def _png_answer(png: bytes) -> Response:
    return Response(png, media_type="image/png")


def _text(png: bytes) -> str:
    return base64.b64encode(png).decode()
