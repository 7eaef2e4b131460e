"""Images in answers: as a PNG file, or as its text in JSON."""

import asyncio
import base64

from fastapi import Response

from service import images
from service.images import Pixels


async def encoded(pixels: Pixels) -> list[bytes]:
    """Return `pixels` [N, H, W] or [N, H, W, 3] as PNG files, encoded in a thread."""
    return await asyncio.to_thread(lambda: [images.encode_png(image) for image in pixels])


def answer(png: bytes) -> Response:
    """Return the answer that is the file `png`."""
    return Response(png, media_type="image/png")


def as_text(png: bytes) -> str:
    """Return the file `png` in Base64."""
    return base64.b64encode(png).decode()
