"""Limits on the number of connections, the time for headers, and the time in which a client reads no answer."""

import asyncio
import contextlib
import socket

import httpx
import pytest
import uvicorn
from uvicorn.server import ServerState

from service.http import limits
from service.http.connections import BoundedConnection, FairLoop

SECONDS = 5.0
REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


class App:
    """An application that reads the body, waits for its gate and sends `size` bytes."""

    def __init__(self):
        self.gate, self.size = asyncio.Event(), 2
        self.gate.set()

    async def __call__(self, _scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        await self.gate.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % self.size)]})
        await send({"type": "http.response.body", "body": bytes(self.size)})


@pytest.fixture(autouse=True)
def short_times(monkeypatch):
    monkeypatch.setattr(limits, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(limits, "HEADER_SECONDS", 0.2)
    monkeypatch.setattr(limits, "SEND_SECONDS", 0.2)


@contextlib.asynccontextmanager
async def serving():
    """Yield an application and a function that opens a connection to it."""
    app, state, ends = App(), ServerState(), []
    config = uvicorn.Config(app, http=BoundedConnection, log_config=None)
    config.load()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: BoundedConnection(config, state, {}), "127.0.0.1", 0)

    async def connect():
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=2**10)
        ends.append(writer)
        return reader, writer

    try:
        yield app, connect
    finally:
        for writer in ends:
            writer.transport.abort()
        server.close()
        await asyncio.sleep(0.05)
        assert not state.connections


async def answered(reader):
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SECONDS)
    assert head.startswith(b"HTTP/1.1 200 ")
    await reader.readexactly(2)


async def is_dropped(reader, within):
    """Return whether the connection ends without an answer `within` this many seconds."""
    try:
        return await asyncio.wait_for(reader.read(1), within) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False


def test_headers_that_do_not_come_to_an_end_are_dropped_though_bytes_come():
    async def scenario():
        async with serving() as (_, connect):
            reader, writer = await connect()
            for byte in REQUEST[:5]:
                writer.write(bytes([byte]))
                assert not await is_dropped(reader, 0.02)
            assert await is_dropped(reader, 0.6)

    asyncio.run(scenario())


def test_a_later_request_of_a_connection_has_no_more_time_than_the_first():
    async def scenario():
        async with serving() as (_, connect):
            reader, writer = await connect()
            for _ in range(15):  # 0.3 s, longer than any one request may wait
                writer.write(REQUEST)
                await answered(reader)
                await asyncio.sleep(0.02)
            writer.write(REQUEST[:10])
            assert await is_dropped(reader, 0.6)

    asyncio.run(scenario())


def test_a_request_that_is_worked_on_or_sends_its_body_is_not_dropped_here():
    async def scenario():
        async with serving() as (app, connect):
            app.gate.clear()
            reader, writer = await connect()
            writer.write(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\n")
            assert not await is_dropped(reader, 0.4)
            writer.write(b"abc")
            assert not await is_dropped(reader, 0.4)
            app.gate.set()
            await answered(reader)

    asyncio.run(scenario())


def test_a_client_that_does_not_read_is_dropped():
    async def scenario():
        async with serving() as (app, connect):
            app.size = 2**25
            reader, writer = await connect()
            writer.write(REQUEST)
            await asyncio.sleep(0.6)
            with contextlib.suppress(ConnectionError):
                assert len(await asyncio.wait_for(reader.read(-1), SECONDS)) < app.size

    asyncio.run(scenario())


def test_a_new_connection_takes_the_room_of_the_one_that_has_waited_longest(monkeypatch):
    async def scenario():
        monkeypatch.setattr(limits, "MAX_CONNECTIONS", 3)
        monkeypatch.setattr(limits, "HEADER_SECONDS", 60)
        async with serving() as (app, connect):
            app.gate.clear()
            worked_for, sender = await connect(), await connect()
            worked_for[1].write(REQUEST)
            sender[1].write(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\n")
            await asyncio.sleep(0.05)
            idle = await connect()
            await asyncio.sleep(0.05)
            last = await connect()
            assert await is_dropped(idle[0], SECONDS)
            last[1].write(REQUEST)
            await asyncio.sleep(0.05)
            another = await connect()
            assert await is_dropped(sender[0], SECONDS)
            another[1].write(REQUEST)
            await asyncio.sleep(0.05)
            assert await is_dropped((await connect())[0], SECONDS)  # no room, since all connections are in work
            app.gate.set()
            for reader, _ in (worked_for, last, another):
                await answered(reader)

    asyncio.run(scenario())


def test_connections_that_come_at_once_are_accepted_one_by_one():
    made = []
    with contextlib.closing(FairLoop()) as loop:
        server = loop.run_until_complete(loop.create_server(lambda: Protocol(made), "127.0.0.1", 0))
        with contextlib.ExitStack() as clients:
            for _ in range(10):
                clients.enter_context(socket.create_connection(server.sockets[0].getsockname()))
            most = 0
            while len(made) < 10:
                before = len(made)
                loop.run_until_complete(asyncio.sleep(0))
                most = max(most, len(made) - before)
            assert most <= 4  # a step of the test is up to two of the loop, and new versions of asyncio accept two
        for transport in made:
            transport.abort()
        server.close()
        loop.run_until_complete(asyncio.sleep(0))


class Protocol(asyncio.Protocol):
    """A protocol that keeps its transport in a list."""

    def __init__(self, made):
        self.made = made

    def connection_made(self, transport):
        self.made.append(transport)


def test_the_workers_of_the_service_count_their_connections(client):
    def connections():
        with httpx.Client(base_url=client.base_url, trust_env=False) as another:
            lines = another.get("/metrics").text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("oddglyph_connections_total "))

    assert connections() < connections()
