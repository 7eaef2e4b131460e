"""Everything at once: good, bad and slow requests, clients that leave, overload and killed workers, memory watched.

    PYTHONPATH=tests python -m soak.mix --seconds 600 [--seed 7]

It starts the service with two workers on small models. It prints how many requests of each kind got which status, and the
memory of the workers; exit status 1 for an answer that should not be, or memory that grows.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import httpx
import numpy as np
from soak.images import damaged
from soak.processes import resident, workers_of
from soak.small import small_service

from service import images

GROWTH = 1.3  # of a worker's memory, from the first load to the last
BURST = 200
KILL_SECONDS, BURST_SECONDS, LOOK_SECONDS = 60.0, 45.0, 2.0
SETTLING_SECONDS = 20.0
REFUSED = {400, 404, 408, 413, 415, 422}
BUSY = 503


@dataclass
class Tally:
    """Answers by kind of request and status; `wrong` are those that should not be, `broken` are lost connections."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def count(self, kind: str, answer: httpx.Response, expected: set[int]) -> None:
        """Count an answer; it is wrong if its status is not among those `expected`, or no 503 that says when to come back."""
        self.answers[kind, answer.status_code] += 1
        says_when = answer.status_code == BUSY and "retry-after" in answer.headers
        if answer.status_code not in expected and not says_when:
            self.wrong.append(
                f"{kind}: {answer.request.method} {answer.request.url} {answer.status_code} {answer.text[:200]}"
            )


class Clients:
    """Clients of the service at `url` that do what a seed says, until they are cancelled."""

    def __init__(self, url: str, seed: int, tally: Tally) -> None:
        self.url, self.tally = httpx.URL(url), tally
        self.random = np.random.default_rng(seed)
        self.http = httpx.AsyncClient(
            base_url=url, timeout=90, trust_env=False, limits=httpx.Limits(max_connections=None)
        )
        self.pictures = [images.encode_png(self.random.integers(0, 256, (28, 28), np.uint8)) for _ in range(64)]
        self.broken = [data for _, data in damaged(200, seed)]

    async def good(self) -> None:
        """Ask for something that there is."""
        files = self._files(int(self.random.integers(1, 5)))
        model = {"model": str(self.random.choice(["mnist-0", "mnist-1", "all-mnist"]))}
        array = {"images": self.random.integers(0, 256, (2, 28, 28)).tolist()}
        ways: list[Callable[[], Awaitable[httpx.Response]]] = [
            lambda: self.http.post("/score", files=files, data=model),
            lambda: self.http.post("/explain", files=files, data=model),
            lambda: self.http.post("/reconstruct", files=files),
            lambda: self.http.post("/score/array", json=array),
            lambda: self.http.get("/sample", params={"n": 4, "seed": 1}),
            lambda: self.http.get("/models"),
            lambda: self.http.get("/metrics"),
        ]
        await self._ask("good", ways[self.random.integers(len(ways))], {200})

    async def bad(self) -> None:
        """Ask for something that is refused, or read in part."""
        files = [("images", (f"{k}.png", self.broken[self.random.integers(len(self.broken))])) for k in range(2)]
        ways: list[Callable[[], Awaitable[httpx.Response]]] = [
            lambda: self.http.post("/score", files=files),
            lambda: self.http.post("/score", files=files[:1], data={"model": "nope"}),
            lambda: self.http.post(
                "/score/array", content=b'{"images": [', headers={"content-type": "application/json"}
            ),
            lambda: self.http.get("/sample", params={"n": -1}),
        ]
        await self._ask("bad", ways[self.random.integers(len(ways))], REFUSED | {200})
        await asyncio.sleep(0.01)

    async def burst(self) -> None:
        """Ask for far more at once than can be served."""
        asks = [lambda: self.http.post("/score", files=self._files(64))] * BURST
        await asyncio.gather(*(self._ask("overload", ask, {200}) for ask in asks))
        await asyncio.sleep(BURST_SECONDS)

    async def slow(self) -> None:
        """Send headers or a body a byte at a time, until the service has had enough."""
        head = b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 5000\r\n"
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(self.url.host, self.url.port)
            try:
                writer.write(head + (b"\r\n" if self.random.random() < 0.5 else b"X-Slow: "))
                while not reader.at_eof():
                    writer.write(b"a")
                    await writer.drain()
                    await asyncio.sleep(0.5)
            finally:
                writer.close()
        self.tally.broken["slow, dropped"] += 1

    async def leaver(self) -> None:
        """Ask, and leave before the answer."""
        try:
            async with asyncio.timeout(float(self.random.uniform(0.001, 0.1))):
                await self.http.post("/explain", files=self._files(32))
        except (TimeoutError, httpx.TransportError):
            self.tally.broken["left"] += 1

    def _files(self, count: int) -> list[tuple[str, tuple[str, bytes]]]:
        return [("images", (f"{k}.png", self.pictures[self.random.integers(64)])) for k in range(count)]

    async def _ask(self, kind: str, way: Callable[[], Awaitable[httpx.Response]], expected: set[int]) -> None:
        try:
            self.tally.count(kind, await way(), expected)
        except httpx.TransportError as error:
            self.tally.broken[f"{kind}, {type(error).__name__}"] += 1
            await asyncio.sleep(0.1)


async def for_ever(act: Callable[[], Awaitable[None]]) -> None:
    """Do something again and again."""
    while True:
        await act()


async def mixed(url: str, seconds: float, seed: int, tally: Tally, *, overload: bool = True) -> None:
    """Fill `tally` with `seconds` of every kind of request at once."""
    clients = Clients(url, seed, tally)
    acts = [clients.good] * 8 + [clients.bad] * 2 + [clients.slow] * 20 + [clients.leaver] * 2
    async with clients.http:
        tasks = [asyncio.create_task(for_ever(act)) for act in acts + [clients.burst] * overload]
        done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()  # raises what ended it early


async def kill_and_look(client: httpx.Client, tally: Tally, peaks: list[int]) -> None:
    """Kill a worker now and then, and note the largest one's memory."""
    start = time.monotonic()
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            alive = workers_of(client)
            peaks.append(max(resident(alive), default=0))
            if time.monotonic() - start > KILL_SECONDS and len(alive) > 1:
                start = time.monotonic()
                os.kill(alive[0], signal.SIGKILL)
                tally.broken["workers killed"] += 1
        except OSError:  # a worker ended meanwhile
            continue


async def run(client: httpx.Client, seconds: float, seed: int) -> tuple[Tally, list[int]]:
    """Return the answers and the peaks of memory of `seconds` of load."""
    tally, peaks = Tally(), []
    watch = asyncio.create_task(kill_and_look(client, tally, peaks))
    await mixed(str(client.base_url), seconds, seed, tally)
    watch.cancel()
    return tally, peaks


def main() -> None:
    """Load the service; exit status 1 if an answer is wrong or its memory has grown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=int(np.random.SeedSequence().entropy) % 2**32)
    arguments = parser.parse_args()
    with small_service(workers=2) as client:
        idle = resident(workers_of(client))
        tally, peaks = asyncio.run(run(client, arguments.seconds, arguments.seed))
        time.sleep(SETTLING_SECONDS)
        after = resident(workers_of(client))
        answers = client.get("/readyz").status_code
    for (kind, status), count in sorted(tally.answers.items()):
        sys.stdout.write(f"{kind} {status}: {count:,}\n")
    for kind, count in sorted(tally.broken.items()):
        sys.stdout.write(f"{kind}: {count:,}\n")
    sys.stdout.writelines(f"wrong {line}\n" for line in tally.wrong[:20])
    sys.stdout.write(
        f"seed {arguments.seed}: MB of the workers before {idle}, at most {max(peaks, default=0)}, after {after}\n"
    )
    sys.exit(bool(tally.wrong) or answers != 200 or max(after) > GROWTH * max(idle))


if __name__ == "__main__":
    main()
