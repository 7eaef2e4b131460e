"""Routes that score and explain images.

Threads decode images before the queue and encode PNGs after it. A bad image is an error in its own row only, and a slow
image delays no batch.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request, Response, UploadFile
from starlette.exceptions import HTTPException

from service import images
from service.http import arrays, document, log, pngs, prometheus, schemas, uploads
from service.http.admission import Admitted, Place
from service.http.catalog import Models, ServedDetector
from service.http.queues import Batcher
from service.http.refusals import SHOWN_CHARACTERS
from service.http.uploads import Upload
from service.images import Pixels
from service.published.conformal import Decision
from service.published.detector import Row, Scores, require_reconstruction

router = APIRouter(generate_unique_id_function=document.operation_id)


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
    upload, made = compared.upload, await pngs.encoded(compared.reconstruction)
    if _wants_png(request, len(upload.ids)):
        return pngs.answer(made[0])
    pairs = zip(upload.ids_read, made, strict=True)
    read = [schemas.Reconstruction(id=name, png=pngs.as_text(png)) for name, png in pairs]
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
    heat = await pngs.encoded(images.colour_heat(shown / 255))
    if _wants_png(request, len(upload.ids)):
        return pngs.answer(heat[0])
    seen = await pngs.encoded(upload.pixels)
    read = [
        schemas.Explanation(id=name, png=pngs.as_text(png), input=pngs.as_text(pixels))
        for name, png, pixels in zip(upload.ids_read, heat, seen, strict=True)
    ]
    if served.detector.reconstructs:
        for one, png in zip(read, await pngs.encoded(compared.reconstruction), strict=True):
            one.reconstruction = pngs.as_text(png)
    results = upload.in_order(read, lambda name, why: schemas.Explanation(id=name, error=why))
    return schemas.ExplainAnswer(model=compared.model, results=results)


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


def _wants_png(request: Request, count: int) -> bool:
    accept = request.headers.get("accept", "*/*")
    if count > 1 and accept.startswith("image/"):
        raise HTTPException(
            406, f"accept: expected application/json for {count} images, got {accept[:SHOWN_CHARACTERS]}; send one"
        )
    return count == 1 and not accept.startswith("application/json")
