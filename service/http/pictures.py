"""The routes that show what a detector compares images with, and the pictures that came with a model."""

from fastapi import APIRouter
from fastapi.responses import FileResponse

from service.errors import UnknownModelError
from service.http import descriptions, document, schemas
from service.http.catalog import Models

router = APIRouter(generate_unique_id_function=document.operation_id)


@router.get("/models/{name}/normal", tags=["models"], responses=document.refusals(*document.OF_QUERIES))
def normal_images(catalog: Models, name: schemas.NameInPath) -> descriptions.NormalImages:
    """Return what a detector compares images with: the scores of normal images, and some of these images."""
    served = catalog.detector(name)
    if served.normal is None:
        raise UnknownModelError(f"detector {name!r}: is a group; ask for one of: {', '.join(served.details.members)}")
    return served.normal


@router.get(
    "/models/{name}/pictures/{picture}",
    tags=["models"],
    response_class=FileResponse,
    responses=document.PICTURE | document.refusals(*document.OF_QUERIES),
)
def model_picture(catalog: Models, name: schemas.NameInPath, picture: schemas.NameInPath) -> FileResponse:
    """Return a picture that came with a model, as PNG."""
    served = catalog.model(name)
    if served.published is None or picture not in served.details.pictures:
        known = ", ".join(served.details.pictures) or "none is there"
        raise UnknownModelError(f"picture {picture!r}: expected one of: {known}; see GET /models/{name}")
    return FileResponse(served.published.file(picture))
