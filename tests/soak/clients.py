"""Clients that cost little themselves, for measurements on the machine of the service: raw HTTP/1.1 over asyncio."""

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np

from service.images import encode_png

DIGITS = Path(__file__).parents[1] / "data" / "mnist-sample.npz"
ANSWER_SECONDS = 60.0


@dataclass(frozen=True)
class Answer:
    """What became of a request: its status (0 if the connection broke), when it began and how long it took."""

    status: int
    began: float
    seconds: float
    body: bytes = b""
    retry_after: float = 0.0


class Client:
    """One connection that is kept between requests and opened again when it broke."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname, parts.port
        self._streams = None

    async def ask(self, head: bytes, body: bytes = b"", bytes_per_second: float = 0) -> Answer:
        """Send a request, and return the answer."""
        began = time.perf_counter()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                status, fields, content = await self._ask(head, body, bytes_per_second)
        except (OSError, EOFError, asyncio.IncompleteReadError, TimeoutError):
            self.leave()
            return Answer(0, began, time.perf_counter() - began)
        if fields.get("connection") == "close":
            self.leave()
        return Answer(status, began, time.perf_counter() - began, content, float(fields.get("retry-after", 0)))

    async def connect(self):
        """Return the reader and the writer of the open connection."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        return self._streams

    def leave(self) -> None:
        """Break the connection off."""
        if self._streams:
            self._streams[1].transport.abort()
        self._streams = None

    async def _ask(self, head: bytes, body: bytes, bytes_per_second: float):
        reader, writer = await self.connect()
        writer.write(head)
        sending = asyncio.ensure_future(_send(writer, body, bytes_per_second))
        try:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            fields = dict(line.lower().split(": ", 1) for line in lines[1:-2])
            content = await reader.readexactly(int(fields["content-length"]))
            await sending
        finally:
            sending.cancel()
        return int(lines[0].split()[1]), fields, content


async def _send(writer: asyncio.StreamWriter, body: bytes, bytes_per_second: float) -> None:
    if not bytes_per_second:
        writer.write(body)
        await writer.drain()
        return
    piece = max(1, int(bytes_per_second / 20))
    start = time.perf_counter()
    for sent in range(0, len(body), piece):
        await asyncio.sleep(sent / bytes_per_second - (time.perf_counter() - start))
        writer.write(body[sent : sent + piece])
        await writer.drain()


def get(path: str) -> bytes:
    """Return the head of a GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: load\r\n\r\n".encode()


def digits(count: int, model: str = "", padding: int = 0) -> tuple[bytes, bytes]:
    """Return head and body of a request to /score with `count` digits as PNG files, and `padding` bytes behind each."""
    with np.load(DIGITS) as arrays:
        pixels = arrays["x_test"]
    files = [("images", (f"{k}.png", encode_png(pixels[k % len(pixels)]) + bytes(padding))) for k in range(count)]
    request = httpx.Request("POST", "http://load/score", files=files, data={"model": model} if model else {})
    return _whole("/score", request.headers["content-type"], request.read())


def array(count: int) -> tuple[bytes, bytes]:
    """Return head and body of a request to /score/array with `count` digits."""
    with np.load(DIGITS) as arrays:
        body = json.dumps({"images": arrays["x_test"][np.arange(count) % 200].tolist()}).encode()
    return _whole("/score/array", "application/json", body)


def _whole(path: str, content_type: str, body: bytes) -> tuple[bytes, bytes]:
    head = f"POST {path} HTTP/1.1\r\nHost: load\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode(), body
