"""Uploaded files are decoded a few at a time, and no more of them after the request is cancelled."""

import asyncio
import io
import threading
import time

import numpy as np
import pytest
from starlette.datastructures import UploadFile

from service import images
from service.errors import OverloadedError
from service.http import uploads
from service.http.limits import PIXELS_PER_SECOND
from service.images import DECODE_THREADS, encode_png

PNG = encode_png(np.zeros((28, 28), np.uint8))


class Watched:
    """`images.decode`, slowed down, which counts its calls and the largest number of calls at one time."""

    def __init__(self, monkeypatch, seconds):
        self.seconds, self.calls, self.inside, self.most = seconds, 0, 0, 0
        self.lock, self.decode = threading.Lock(), images.decode
        monkeypatch.setattr(images, "decode", self)

    def __call__(self, data, size, *, invert):
        with self.lock:
            self.calls, self.inside = self.calls + 1, self.inside + 1
            self.most = max(self.most, self.inside)
        time.sleep(self.seconds)
        with self.lock:
            self.inside -= 1
        return self.decode(data, size, invert=invert)


def read(count, admit=lambda _: None):
    files = [UploadFile(io.BytesIO(PNG), filename=f"{k}.png") for k in range(count)]
    return uploads.read(files, 32, invert=False, admit=admit)


def test_a_request_that_is_given_up_decodes_no_further_image(monkeypatch):
    watched = Watched(monkeypatch, seconds=0.1)

    async def scenario():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.15):
                await read(20)
        await asyncio.sleep(0.3)

    asyncio.run(scenario())
    assert 1 <= watched.calls <= 2


def test_all_requests_together_decode_a_few_images_at_a_time(monkeypatch):
    watched = Watched(monkeypatch, seconds=0.02)

    async def scenario():
        return await asyncio.gather(*(read(2) for _ in range(12)))

    answers = asyncio.run(scenario())
    assert [upload.pixels.shape for upload in answers] == [(2, 32, 32)] * 12
    assert watched.calls == 24
    assert watched.most <= DECODE_THREADS


def test_a_request_whose_decoding_would_wait_too_long_decodes_nothing(monkeypatch):
    watched = Watched(monkeypatch, seconds=0)

    def admit(seconds):
        assert seconds == pytest.approx(2 * 28 * 28 / PIXELS_PER_SECOND)
        raise OverloadedError("full")

    with pytest.raises(OverloadedError):
        asyncio.run(read(2, admit))
    assert watched.calls == 0
