"""Bounded queues in front of the models: requests are joined into batches, and a full queue refuses at once."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Generic, ParamSpec, Protocol, Self, TypeVar

import numpy as np

from service.errors import OverloadedError
from service.images import Pixels
from service.published.onnx_model import MAX_BATCH

MAX_QUEUE_IMAGES = 1024
MAX_QUEUE_CALLS = 16


class Rows(Protocol):
    """The result of a batch: one row per image, sliced along the first axis."""

    def __getitem__(self, rows: slice, /) -> Self: ...


R = TypeVar("R", bound=Rows)
P = ParamSpec("P")
T = TypeVar("T")


class Batcher(Generic[R]):
    """Runs one function over the pixels of concurrent requests: one bounded batch at a time, in order of arrival.

    No request waits for a batch to fill. A lone request runs at once, and requests that arrive meanwhile form the next
    batch. `run` maps pixels [N, H, W] to N rows. It is called in `executor`, so the event loop stays free.

        score = Batcher(detector.score, ThreadPoolExecutor(1))
        with score.room(3):  # OverloadedError at once if the queue has no room for three images
            rows = await score(await decode())  # [3, H, W], joined with the images of other requests
    """

    def __init__(self, run: Callable[[Pixels], R], executor: Executor, max_images: int = MAX_QUEUE_IMAGES) -> None:
        self._run = run
        self._executor = executor
        self._max_images = max_images
        self._inside = 0
        self._waiting: deque[tuple[Pixels, asyncio.Future[R]]] = deque()
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def room(self, count: int) -> Iterator[None]:
        """Hold room for `count` images, so that a refusal comes before they are decoded; OverloadedError if none is left."""
        if self._inside + count > self._max_images:
            raise OverloadedError(
                f"queue: expected at most {self._max_images} images at once, got {count} beside {self._inside}; "
                "come back in a second"
            )
        self._inside += count
        try:
            yield
        finally:
            self._inside -= count

    async def __call__(self, pixels: Pixels) -> R:
        """Return the N rows for `pixels` [N, H, W]. The caller holds room for them."""
        loop = asyncio.get_running_loop()
        rows: asyncio.Future[R] = loop.create_future()
        self._waiting.append((pixels, rows))
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._work())
        return await rows

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._next_batch():
            try:
                pixels = np.concatenate([part for part, _ in batch])
                rows = await loop.run_in_executor(self._executor, self._run, pixels)
            except Exception as error:  # noqa: BLE001 - every error goes to the requests that wait
                _give_up(batch, error)
            else:
                _hand_out(batch, rows)

    def _next_batch(self) -> list[tuple[Pixels, asyncio.Future[R]]]:
        batch: list[tuple[Pixels, asyncio.Future[R]]] = []
        count = 0
        while self._waiting and (not batch or count + len(self._waiting[0][0]) <= MAX_BATCH):
            pixels, rows = self._waiting.popleft()
            if not rows.done():  # cancelled if its client has left
                batch.append((pixels, rows))
                count += len(pixels)
        return batch


class Turnstile:
    """Lets calls into `executor` one after the other; OverloadedError at once if `max_calls` already run or wait.

    turnstile = Turnstile(ThreadPoolExecutor(1))
    pixels = await turnstile(generator.sample, "cat", 16, 7)
    """

    def __init__(self, executor: Executor, max_calls: int = MAX_QUEUE_CALLS) -> None:
        self._executor = executor
        self._max_calls = max_calls
        self._calls = 0

    async def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of `function` for these arguments."""
        if self._calls >= self._max_calls:
            raise OverloadedError(
                f"queue: expected at most {self._max_calls} waiting requests, got one more; come back in a second"
            )
        self._calls += 1
        try:
            call = asyncio.get_running_loop().run_in_executor(self._executor, lambda: function(*args, **kwargs))
            return await call
        finally:
            self._calls -= 1


def _hand_out(batch: list[tuple[Pixels, asyncio.Future[R]]], rows: R) -> None:
    start = 0
    for pixels, future in batch:
        if not future.done():
            future.set_result(rows[start : start + len(pixels)])
        start += len(pixels)


def _give_up(batch: list[tuple[Pixels, asyncio.Future[R]]], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
