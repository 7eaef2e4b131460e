"""Many requests joined into batches that take a fraction of a second, so that short requests pass long ones."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, Protocol, Self, TypeVar

import numpy as np

from service.http import log
from service.http.admission import Admission, Pace
from service.http.prometheus import BATCH, QUEUED
from service.images import Pixels
from service.published.onnx_model import MAX_BATCH

BATCH_SECONDS = 0.1  # for which the others wait
SHARE = 16  # images that a request has in a batch before the next one's turn
FIRST_SECONDS = 0.005  # what an image takes, until the first has been timed


class Rows(Protocol):
    """What a batch returns: one row per image, sliced along the first axis."""

    def __len__(self) -> int: ...
    def __getitem__(self, rows: slice, /) -> Self: ...


R = TypeVar("R", bound=Rows)
T = TypeVar("T")


@dataclass
class _Request(Generic[R]):
    """Pixels of one request, how many of them have been put into batches, the rows that came back, and their seconds."""

    pixels: Pixels
    rows: asyncio.Future[R]
    taken: int = 0
    done: list[R] = field(default_factory=list)
    computing_seconds: float = 0.0

    def take(self, count: int) -> Pixels:
        start, self.taken = self.taken, min(self.taken + count, len(self.pixels))
        return self.pixels[start : self.taken]


class Batcher(Generic[R]):
    """Runs one function over the pixels of concurrent requests, in batches of about BATCH_SECONDS; requests take turns.

    Nobody waits for a batch to fill: a lone request runs at once, and those that come while it runs share the next batch.
    A long request is cut into several batches, between which other batchers have the same `executor`. What a cancelled
    request had left is not computed. `run` maps pixels [N, H, W] to N rows, and `join` puts rows after another.

        score = Batcher(detector.score, Scores.joined, ThreadPoolExecutor(1))
        rows = await score(pixels)  # [3, H, W], computed together with what others have sent
    """

    def __init__(self, run: Callable[[Pixels], R], join: Callable[[Sequence[R]], R], executor: Executor) -> None:
        self._run = run
        self._join = join
        self._executor = executor
        self._pace = Pace(FIRST_SECONDS)
        self._waiting: deque[_Request[R]] = deque()
        self._task: asyncio.Task[None] | None = None

    def seconds(self, count: int) -> float:
        """Return how long `count` images may take."""
        return self._pace.seconds(count)

    async def __call__(self, pixels: Pixels) -> R:
        """Return the rows of `pixels` [N, H, W]."""
        loop, start = asyncio.get_running_loop(), time.perf_counter()
        request: _Request[R] = _Request(pixels, loop.create_future())
        self._waiting.append(request)
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._work())
        with _counted(len(pixels)):
            rows = await request.rows
        log.note_times(time.perf_counter() - start, request.computing_seconds)
        return rows

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._next_batch():
            requests, parts = zip(*batch, strict=True)
            try:
                seconds, rows = await loop.run_in_executor(self._executor, self._timed, np.concatenate(parts))
            except Exception as error:  # noqa: BLE001 (whatever it is, it is for those who wait)
                _give_up(requests, error)
            else:
                self._hand_out(requests, [len(part) for part in parts], rows, seconds)

    def _next_batch(self) -> list[tuple[_Request[R], Pixels]]:
        """Return parts of requests in turn, at most MAX_BATCH images, and no more than take BATCH_SECONDS but for one."""
        batch: list[tuple[_Request[R], Pixels]] = []
        room = max(1, min(MAX_BATCH, int(BATCH_SECONDS / self._pace.seconds(1))))
        while self._waiting and room:
            request = self._waiting.popleft()
            if request.rows.done():  # a client that went away has cancelled it
                continue
            part = request.take(min(SHARE, room))
            room -= len(part)
            batch.append((request, part))
            if request.taken < len(request.pixels):
                self._waiting.append(request)
        return batch

    def _timed(self, pixels: Pixels) -> tuple[float, R]:
        start = time.perf_counter()
        rows = self._run(pixels)
        seconds = time.perf_counter() - start
        BATCH.observe(len(pixels))
        self._pace.note(seconds, len(pixels))
        return seconds, rows

    def _hand_out(self, requests: Sequence[_Request[R]], counts: Sequence[int], rows: R, seconds: float) -> None:
        start = 0
        for request, count in zip(requests, counts, strict=True):
            request.done.append(rows[start : start + count])
            request.computing_seconds += seconds
            start += count
            if sum(map(len, request.done)) == len(request.pixels) and not request.rows.done():
                request.rows.set_result(self._join(request.done))


class Turnstile:
    """Lets pieces of work into `executor` in turn; OverloadedError at once where they would wait too long.

    turnstile = Turnstile(ThreadPoolExecutor(1))
    parts = await turnstile([partial(generator.sample, "cat", 16, 7, start) for start in (0, 16)], images=32)
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._pace = Pace(FIRST_SECONDS)
        self._admission = Admission(self._pace)

    async def __call__(self, pieces: Sequence[Callable[[], T]], images: int) -> list[T]:
        """Return what each of `pieces` returns, which make `images` images together; other calls run in between."""
        loop, start = asyncio.get_running_loop(), time.perf_counter()
        with self._admission.place(images), _counted(images):
            timed = [
                await loop.run_in_executor(self._executor, self._timed, piece, images / len(pieces)) for piece in pieces
            ]
        log.note_times(time.perf_counter() - start, sum(seconds for seconds, _ in timed))
        return [result for _, result in timed]

    def _timed(self, piece: Callable[[], T], images: float) -> tuple[float, T]:
        start = time.perf_counter()
        result = piece()
        seconds = time.perf_counter() - start
        self._pace.note(seconds, images)
        return seconds, result


@contextmanager
def _counted(images: int) -> Iterator[None]:
    QUEUED.inc(images)
    try:
        yield
    finally:
        QUEUED.dec(images)


def _give_up(requests: Sequence[_Request[R]], error: Exception) -> None:
    for request in requests:
        if not request.rows.done():
            request.rows.set_exception(error)
