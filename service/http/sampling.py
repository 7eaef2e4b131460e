"""Routes that generate images."""

import asyncio
import math
from functools import partial
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Request, Response

from service import images
from service.http import document, log, pngs, prometheus, schemas
from service.http.catalog import Models, ServedGenerator
from service.images import Pixels
from service.published.generator import CHUNK

router = APIRouter(generate_unique_id_function=document.operation_id)


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


async def _sample_answer(
    served: ServedGenerator, as_json: bool, pixels: Pixels, classes: list[str | None], columns: int
) -> Response | schemas.SampleAnswer:
    prometheus.GENERATED.labels(served.details.name).inc(len(pixels))
    if not as_json:
        return pngs.answer(await asyncio.to_thread(images.encode_png, images.grid(pixels, columns)))
    results = [
        schemas.Sample(id=str(k), png=pngs.as_text(png), class_name=class_name)
        for k, (png, class_name) in enumerate(zip(await pngs.encoded(pixels), classes, strict=True))
    ]
    return schemas.SampleAnswer(model=served.details.name, results=results)


def _as_json(request: Request, wish: str | None) -> bool:
    return wish == "json" or (wish is None and request.headers.get("accept", "").startswith("application/json"))
