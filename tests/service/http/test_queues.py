"""Batches are bounded, ordered and fair; a full queue refuses at once."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from service.errors import NotAnImageError, OverloadedError
from service.http.queues import Batcher, Turnstile
from service.published.onnx_model import MAX_BATCH

SECONDS = 5.0


class Gate:
    """Returns row sums of pixels once the test opens the gate, and records the sizes of its batches."""

    def __init__(self):
        self.batches = []
        self.is_open = threading.Event()
        self.is_busy = threading.Event()

    def __call__(self, pixels):
        self.batches.append(len(pixels))
        self.is_busy.set()
        assert self.is_open.wait(SECONDS)
        return pixels.sum(axis=(1, 2))


@pytest.fixture
def executor():
    with ThreadPoolExecutor(1) as executor:
        yield executor


def image(value, count=1):
    return np.full((count, 2, 2), value, np.uint8)


async def ask(batcher, pixels):
    with batcher.room(len(pixels)):
        return await batcher(pixels)


async def busy(executor, **options):
    """Return a closed gate, a batcher behind it, and a request of one image of value 1 that already runs."""
    gate = Gate()
    batcher = Batcher(gate, executor, **options)
    running = asyncio.ensure_future(ask(batcher, image(1)))
    assert await asyncio.to_thread(gate.is_busy.wait, SECONDS)
    return gate, batcher, running


def test_requests_that_come_while_a_batch_runs_form_the_next_one(executor):
    async def scenario():
        gate, batcher, first = await busy(executor)
        rest = [asyncio.ensure_future(ask(batcher, image(value, count=value % 3 + 1))) for value in range(2, 40)]
        await asyncio.sleep(0)
        gate.is_open.set()
        for value, rows in enumerate([await first, *await asyncio.gather(*rest)], 1):
            assert rows.tolist() == [4 * value] * (1 if value == 1 else value % 3 + 1)
        assert gate.batches == [1, sum(value % 3 + 1 for value in range(2, 40))]

    asyncio.run(scenario())


def test_no_batch_is_larger_than_the_bound_and_none_is_split(executor):
    async def scenario():
        gate = Gate()
        batcher = Batcher(gate, executor)
        calls = [asyncio.ensure_future(ask(batcher, image(value, count=100))) for value in range(1, 8)]
        gate.is_open.set()
        for value, rows in enumerate(await asyncio.gather(*calls), 1):
            assert rows.tolist() == [4 * value] * 100
        assert max(gate.batches) <= MAX_BATCH
        assert all(size % 100 == 0 for size in gate.batches)

    asyncio.run(scenario())


def test_a_full_queue_refuses_at_once_and_recovers(executor):
    async def scenario():
        gate, batcher, running = await busy(executor, max_images=10)
        waiting = asyncio.ensure_future(ask(batcher, image(2, count=9)))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError, match="at most 10 images at once, got 2 beside 10"):
            async with asyncio.timeout(0.5):
                await ask(batcher, image(3, count=2))
        gate.is_open.set()
        await asyncio.gather(running, waiting)
        assert (await ask(batcher, image(4, count=2))).tolist() == [16, 16]

    asyncio.run(scenario())


def test_a_client_that_went_away_costs_nothing(executor):
    async def scenario():
        gate, batcher, running = await busy(executor)
        gone, stays = (asyncio.ensure_future(ask(batcher, image(value))) for value in (2, 3))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        gate.is_open.set()
        assert (await running).tolist() == [4]
        assert (await stays).tolist() == [12]
        assert gate.batches == [1, 1]

    asyncio.run(scenario())


def test_a_failure_reaches_those_who_wait_and_nobody_after(executor):
    def run(pixels):
        if pixels.max() == 255:
            raise ArithmeticError("too bright")
        return pixels.sum(axis=(1, 2))

    async def scenario():
        batcher = Batcher(run, executor)
        with pytest.raises(ArithmeticError, match="too bright"):
            await ask(batcher, image(255))
        assert (await ask(batcher, image(1))).tolist() == [4]

    asyncio.run(scenario())


def test_a_refusal_decodes_nothing_and_a_bad_image_frees_its_place(executor):
    def ask_with_a_bad_image(batcher, count):
        with batcher.room(count):
            raise NotAnImageError("damaged")

    async def scenario():
        batcher = Batcher(lambda pixels: pixels.sum(axis=(1, 2)), executor, max_images=1)
        with pytest.raises(OverloadedError):
            ask_with_a_bad_image(batcher, 2)
        for _ in range(3):
            with pytest.raises(NotAnImageError):
                ask_with_a_bad_image(batcher, 1)
        assert (await ask(batcher, image(1))).tolist() == [4]

    asyncio.run(scenario())


def test_a_turnstile_lets_one_in_and_refuses_when_too_many_wait(executor):
    async def scenario():
        gate = Gate()
        turnstile = Turnstile(executor, max_calls=3)
        calls = [asyncio.ensure_future(turnstile(gate, image(value))) for value in (1, 2, 3)]
        assert await asyncio.to_thread(gate.is_busy.wait, SECONDS)
        with pytest.raises(OverloadedError, match="at most 3 waiting requests"):
            await turnstile(gate, image(4))
        assert gate.batches == [1]
        gate.is_open.set()
        assert [rows.tolist() for rows in await asyncio.gather(*calls)] == [[4], [8], [12]]
        assert (await turnstile(gate, image(5))).tolist() == [20]

    asyncio.run(scenario())
