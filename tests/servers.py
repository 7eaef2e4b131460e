"""Services for the tests: `bentoml serve` in a process of its own, on a free port of this machine."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from starlette.types import ASGIApp

REPOSITORY = Path(__file__).parents[1]
START_SECONDS = 90


@dataclass
class Service:
    """A started service: its parent process, what it wrote so far, and a client of it."""

    process: subprocess.Popen
    log: Path
    client: httpx.Client

    def lines(self) -> list[dict]:
        """Return the log's lines; every one of them is a JSON object."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def workers(self) -> list[int]:
        """Return the process ids of the workers that are there."""
        children = psutil.Process(self.process.pid).children()
        return [child.pid for child in children if child.status() != psutil.STATUS_ZOMBIE]


@contextmanager
def started(home: Path, target: str = ".", folder: Path = REPOSITORY, **settings: str) -> Iterator[Service]:
    """Yield `bentoml serve TARGET`, run in `folder`, once it is ready. `home` becomes BENTOML_HOME."""
    port = free_port()
    command = [sys.executable, "-m", "bentoml", "serve", target, "--port", str(port)]
    log = home / "serve.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(home, **settings), stdout=file, stderr=subprocess.STDOUT
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
            wait_until_ready(client, process, log)
            yield Service(process, log, client)
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def serving(home: Path, target: str = ".", folder: Path = REPOSITORY, **settings: str) -> Iterator[httpx.Client]:
    """Yield a client of the service that `started` starts."""
    with started(home, target, folder, **settings) as service:
        yield service.client


def until(condition: Callable[[], object], what: str, seconds: float = START_SECONDS) -> None:
    """Wait until `condition` holds; a client that gets no answer counts as not yet."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if condition():
                return
        time.sleep(0.1)
    raise AssertionError(f"within {seconds} seconds: expected {what}")


class Within:
    """A client of an ASGI application in this process."""

    def __init__(self, app: ASGIApp) -> None:
        self._transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Return the answer to one request; `options` are those of httpx."""

        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url="http://test") as client:
                return await client.request(method, path, **options)

        return asyncio.run(ask())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("POST", path, **options)


def environment(home: Path, **settings: str) -> dict[str, str]:
    """Return this process's environment with `settings` as the only settings of the service."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ODDGLYPH_", "BENTOML_"))}
    return {**inherited, "BENTOML_HOME": str(home), **settings}


def wait_until_ready(client: httpx.Client, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if client.get("/readyz", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"the service did not get ready: {log.read_text(errors='replace')[-2000:]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
