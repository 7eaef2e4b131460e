"""Batches are bounded in images and in time, ordered and fair; what nobody waits for is not computed."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from service.errors import OverloadedError
from service.http import limits
from service.http.queues import BATCH_SECONDS, SHARE, Batcher, Turnstile
from service.published.onnx_model import MAX_BATCH

SECONDS = 5.0


def sums(pixels):
    return pixels.sum(axis=(1, 2))


class Gate:
    """Row sums of pixels, behind a gate that the test opens; remembers the batches it was given."""

    def __init__(self):
        self.batches = []
        self.is_open = threading.Event()
        self.is_busy = threading.Event()

    def __call__(self, pixels):
        self.batches.append(pixels[:, 0, 0].tolist())
        self.is_busy.set()
        assert self.is_open.wait(SECONDS)
        return sums(pixels)


class Slow:
    """Row sums of pixels, at so many seconds an image; remembers when each batch ended and how large it was."""

    def __init__(self, seconds):
        self.seconds, self.ends, self.batches = seconds, [], []

    def __call__(self, pixels):
        time.sleep(self.seconds * len(pixels))
        self.batches.append(len(pixels))
        self.ends.append(time.perf_counter())
        return sums(pixels)


@pytest.fixture
def executor():
    with ThreadPoolExecutor(1) as executor:
        yield executor


def image(value, count=1):
    return np.full((count, 2, 2), value, np.uint8)


def ask(batcher, pixels):
    return asyncio.ensure_future(batcher(pixels))


async def taught(batcher, count=1):
    """Return `batcher` once it knows its pace."""
    for _ in range(30):
        await batcher(image(0, count))
    return batcher


def test_requests_that_come_while_a_batch_runs_form_the_next_one(executor):
    async def scenario():
        gate = Gate()
        batcher = Batcher(gate, np.concatenate, executor)
        gate.is_open.set()
        await taught(batcher)
        gate.is_open.clear()
        gate.batches.clear()
        gate.is_busy.clear()
        first = ask(batcher, image(1))
        assert await asyncio.to_thread(gate.is_busy.wait, SECONDS)
        rest = [ask(batcher, image(value, count=value % 3 + 1)) for value in range(2, 40)]
        await asyncio.sleep(0)
        gate.is_open.set()
        for value, rows in enumerate([await first, *await asyncio.gather(*rest)], 1):
            assert rows.tolist() == [4 * value] * (1 if value == 1 else value % 3 + 1)
        assert [len(batch) for batch in gate.batches] == [1, sum(value % 3 + 1 for value in range(2, 40))]

    asyncio.run(scenario())


def test_a_long_request_is_cut_into_batches_and_comes_back_whole_and_in_order(executor):
    async def scenario():
        slow = Slow(0.005)
        batcher = await taught(Batcher(slow, np.concatenate, executor))
        slow.batches.clear()
        pixels = np.arange(100, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
        assert (await batcher(pixels)).tolist() == [4 * value for value in range(100)]
        assert max(slow.batches) <= BATCH_SECONDS / slow.seconds
        assert len(slow.batches) < 12

    asyncio.run(scenario())


def test_no_batch_is_larger_than_the_bound_however_fast_the_model(executor):
    async def scenario():
        slow = Slow(0)
        batcher = await taught(Batcher(slow, np.concatenate, executor), MAX_BATCH)
        rows = await asyncio.gather(*(batcher(image(value, count=100)) for value in range(1, 9)))
        assert [each.tolist() for each in rows] == [[4 * value] * 100 for value in range(1, 9)]
        assert max(slow.batches) == MAX_BATCH

    asyncio.run(scenario())


def test_requests_to_one_model_take_turns(executor):
    async def scenario():
        gate = Gate()
        batcher = Batcher(gate, np.concatenate, executor)
        long = ask(batcher, image(1, count=4 * SHARE))
        assert await asyncio.to_thread(gate.is_busy.wait, SECONDS)
        short = [ask(batcher, image(value)) for value in (2, 3)]
        await asyncio.sleep(0)
        gate.is_open.set()
        await asyncio.gather(long, *short)
        assert {2, 3} <= set(gate.batches[1])

    asyncio.run(scenario())


def test_a_single_request_to_another_model_passes_a_long_one(executor):
    async def scenario():
        slow, quick = Slow(0.01), Slow(0)
        long = ask(await taught(Batcher(slow, np.concatenate, executor)), image(1, count=200))
        slow.ends.clear()
        await asyncio.sleep(0.05)
        start = time.perf_counter()
        assert (await Batcher(quick, np.concatenate, executor)(image(2))).tolist() == [8]
        ended = time.perf_counter()
        assert not long.done()
        assert sum(end > start for end in slow.ends) <= 1
        assert ended - start < 10 * BATCH_SECONDS
        long.cancel()

    asyncio.run(scenario())


def test_a_client_that_went_away_costs_nothing(executor):
    async def scenario():
        gate = Gate()
        batcher = Batcher(gate, np.concatenate, executor)
        running = ask(batcher, image(1, count=200))
        assert await asyncio.to_thread(gate.is_busy.wait, SECONDS)
        gone, stays = (ask(batcher, image(value)) for value in (2, 3))
        await asyncio.sleep(0)
        running.cancel()
        gone.cancel()
        await asyncio.sleep(0)
        gate.is_open.set()
        assert (await stays).tolist() == [12]
        assert gate.batches[1:] == [[3]]

    asyncio.run(scenario())


def test_a_failure_reaches_those_who_wait_and_nobody_after(executor):
    def run(pixels):
        if pixels.max() == 255:
            raise ArithmeticError("too bright")
        return sums(pixels)

    async def scenario():
        batcher = Batcher(run, np.concatenate, executor)
        with pytest.raises(ArithmeticError, match="too bright"):
            await batcher(image(255, count=100))
        assert (await batcher(image(1))).tolist() == [4]

    asyncio.run(scenario())


def test_a_turnstile_lets_one_in_at_a_time_and_short_work_between_the_pieces_of_long_work(executor):
    async def scenario():
        order = []
        turnstile = Turnstile(executor)
        long = asyncio.ensure_future(turnstile([partial(order.append, "long")] * 5, images=5))
        short = asyncio.ensure_future(turnstile([partial(order.append, "short")], images=1))
        assert await long == [None] * 5
        await short
        assert order.index("short") < 3

    asyncio.run(scenario())


def test_a_turnstile_refuses_what_would_wait_too_long_and_drops_what_nobody_waits_for(executor, monkeypatch):
    async def scenario():
        monkeypatch.setattr(limits, "QUEUE_SECONDS", 0.1)
        turnstile, calls = Turnstile(executor), []

        def piece():
            time.sleep(0.05)
            calls.append(1)

        await turnstile([piece], images=1)
        inside = [asyncio.ensure_future(turnstile([piece] * 4, images=4)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):
            await turnstile([piece] * 4, images=4)
        for call in inside:
            call.cancel()
        await asyncio.sleep(0.1)
        assert len(calls) <= 3
        await turnstile([piece], images=1)

    asyncio.run(scenario())
