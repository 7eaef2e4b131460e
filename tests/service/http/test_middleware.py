"""Limits on the time and the number of requests. test_refusals.py tests the limits on bytes."""

import asyncio

import httpx
import pytest

from service.http import limits
from service.http.admission import Admission, Pace
from service.http.limits import MAX_REQUESTS
from service.http.middleware import RequestLimits

SECONDS_PER_BYTE = 1e-9


class App:
    """An application that echoes bodies once its gate is open, and counts its running and its cancelled requests."""

    def __init__(self):
        self.gate, self.inside, self.given_up = asyncio.Event(), 0, 0

    async def __call__(self, _scope, receive, send):
        self.inside += 1
        try:
            body, more = b"", True
            while more:
                message = await receive()
                body, more = body + message["body"], message["more_body"]
            await self.gate.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body or b"done"})


@pytest.fixture
def app():
    return App()


@pytest.fixture
def limited(app):
    return RequestLimits(app, Admission(Pace(SECONDS_PER_BYTE)))


@pytest.fixture
def client(limited):
    return httpx.AsyncClient(transport=httpx.ASGITransport(limited), base_url="http://test")


class Sender:
    """A client that sends what the test tells it to send, and keeps the answer."""

    def __init__(self, limited, path="/score", **headers):
        self.sent, self.answer = asyncio.Queue(), []
        pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "POST", "path": path, "headers": pairs}
        self.task = asyncio.ensure_future(limited(scope, self.sent.get, self.take))

    async def take(self, message):
        self.answer.append(message)

    def send(self, body=b"", more=True):
        self.sent.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leave(self):
        self.sent.put_nowait({"type": "http.disconnect"})

    async def status(self):
        await asyncio.wait_for(self.task, 2)
        return self.answer[0]["status"]


def refused(answer, part, status=503):
    assert answer.status_code == status
    assert answer.headers["retry-after"] == "1"
    assert part in answer.json()["detail"]


async def fill(client):
    inside = [asyncio.ensure_future(client.post("/score")) for _ in range(MAX_REQUESTS)]
    await asyncio.sleep(0.2)
    return inside


def test_one_request_too_many_is_refused_at_once_and_told_when_to_come_back(app, client):
    async def scenario():
        inside = await fill(client)
        async with asyncio.timeout(1):
            refused(await client.post("/score"), f"at most {MAX_REQUESTS} requests at once")
        app.gate.set()
        assert {answer.status_code for answer in await asyncio.gather(*inside)} == {200}
        assert (await client.post("/score")).text == "done"

    asyncio.run(scenario())


def test_a_request_too_many_is_refused_before_its_body_is_read(client, limited):
    async def scenario():
        inside = await fill(client)
        sender = Sender(limited)  # it sends no byte of its body
        assert await sender.status() == 503
        assert sender.sent.empty()
        for task in inside:
            task.cancel()

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/", "/metrics", "/livez", "/readyz", "/models", "/models/mnist-0", "/web/app.js"])
def test_what_operators_and_people_look_at_answers_under_any_load(app, client, limited, path):
    async def scenario():
        inside = await fill(client)
        looking = asyncio.ensure_future(client.get(path))
        await asyncio.sleep(0.05)
        assert app.inside == MAX_REQUESTS + 1
        app.gate.set()
        assert (await looking).status_code == 200
        await asyncio.gather(*inside)

    asyncio.run(scenario())


def test_a_request_whose_work_would_wait_too_long_is_refused_before_its_body_is_read(limited, monkeypatch):
    async def scenario():
        monkeypatch.setattr(limits, "QUEUE_SECONDS", 1000 * SECONDS_PER_BYTE)
        inside = [Sender(limited) for _ in range(6)]
        for sender in inside:
            sender.send(bytes(200), more=False)
        await asyncio.sleep(0.05)
        large = Sender(limited, content_length="200")
        assert await large.status() == 503
        assert large.sent.empty()
        small = Sender(limited, content_length="100")
        undeclared = Sender(limited)
        await asyncio.sleep(0.05)
        assert not small.task.done()
        undeclared.send(bytes(200), more=False)
        assert await undeclared.status() == 503
        for sender in (small, *inside):
            sender.task.cancel()

    asyncio.run(scenario())


def test_slow_senders_occupy_no_place(app, client, limited):
    async def scenario():
        app.gate.set()
        slow = [Sender(limited) for _ in range(MAX_REQUESTS + 1)]
        for sender in slow:
            sender.send(b"x")
        await asyncio.sleep(0.05)
        assert app.inside == 0
        assert (await client.post("/score")).text == "done"
        for sender in slow:
            sender.send(b"y", more=False)
            assert await sender.status() == 200
        assert {sender.answer[1]["body"] for sender in slow} == {b"xy"}

    asyncio.run(scenario())


def test_a_body_that_does_not_come_in_time_is_refused(limited, monkeypatch):
    async def scenario():
        monkeypatch.setattr(limits, "BODY_SECONDS", 0.2)
        sender = Sender(limited)
        sender.send(bytes(2**20))
        assert await sender.status() == 408

    asyncio.run(scenario())


def test_a_body_that_trickles_is_refused_long_before_its_time_is_over(limited, monkeypatch):
    async def scenario():
        monkeypatch.setattr(limits, "GRACE_SECONDS", 0.1)
        sender = Sender(limited)
        for _ in range(4):
            sender.send(b"x")
            await asyncio.sleep(0.04)
        assert await sender.status() == 408
        assert (b"connection", b"close") in sender.answer[0]["headers"]

    asyncio.run(scenario())


def test_the_time_for_the_body_is_none_of_the_time_for_the_work(app, limited, monkeypatch):
    async def scenario():
        monkeypatch.setattr(limits, "WORK_SECONDS", 0.1)
        app.gate.set()
        sender = Sender(limited)
        for _ in range(5):
            sender.send(b"x")
            await asyncio.sleep(0.05)
        sender.send(more=False)
        assert await sender.status() == 200

    asyncio.run(scenario())


def test_bodies_under_way_hold_a_bounded_number_of_bytes(limited, monkeypatch):
    async def scenario():
        monkeypatch.setattr(limits, "MAX_HELD_BYTES", 1000)
        first, second = Sender(limited), Sender(limited)
        first.send(bytes(600))
        await asyncio.sleep(0)
        second.send(bytes(600))
        assert await second.status() == 503
        first.leave()
        assert await first.status() == 499
        third = Sender(limited)
        third.send(bytes(600))
        await asyncio.sleep(0.05)
        assert not third.task.done()
        third.task.cancel()

    asyncio.run(scenario())


def test_a_request_that_takes_too_long_is_given_up_and_frees_its_place(app, client, monkeypatch):
    async def scenario():
        monkeypatch.setattr(limits, "WORK_SECONDS", 0.05)
        answers = await asyncio.gather(*(client.post("/score") for _ in range(MAX_REQUESTS)))
        for answer in answers:
            refused(answer, "within 20 seconds")
        assert app.given_up == MAX_REQUESTS
        app.gate.set()
        assert (await client.post("/score")).status_code == 200

    asyncio.run(scenario())


def test_the_work_for_a_client_that_left_is_given_up_and_frees_its_place(app, client, limited):
    async def scenario():
        gone = [Sender(limited) for _ in range(MAX_REQUESTS)]
        for sender in gone:
            sender.send(more=False)
        await asyncio.sleep(0.05)
        for sender in gone:
            sender.leave()
        await asyncio.wait_for(asyncio.gather(*(sender.task for sender in gone)), 2)
        assert app.given_up == MAX_REQUESTS
        assert {await sender.status() for sender in gone} == {499}  # BentoML waits for an answer though nobody reads it
        app.gate.set()
        assert (await client.post("/score")).text == "done"

    asyncio.run(scenario())


def test_a_large_body_arrives_whole(app, client):
    async def scenario():
        app.gate.set()
        body = bytes(range(256)) * 1000
        assert (await client.post("/score", content=body)).content == body

    asyncio.run(scenario())


def test_a_body_of_two_lengths_is_refused(limited):
    async def scenario():
        assert await Sender(limited, content_length="5", transfer_encoding="chunked").status() == 400

    asyncio.run(scenario())
