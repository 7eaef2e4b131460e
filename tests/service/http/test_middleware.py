"""What a request may cost: time and number are bounded here, bytes in test_bad_requests.py."""

import asyncio

import httpx
import pytest

from service.http import limits
from service.http.limits import MAX_REQUESTS
from service.http.middleware import RequestLimits


@pytest.fixture
def gate():
    return asyncio.Event()


@pytest.fixture
def client(gate):
    async def app(_scope, _receive, send):
        await gate.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    return httpx.AsyncClient(transport=httpx.ASGITransport(RequestLimits(app)), base_url="http://test")


def refused(answer, part):
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert part in answer.json()["detail"]


def test_one_request_too_many_is_refused_at_once_and_told_when_to_come_back(gate, client):
    async def scenario():
        inside = [asyncio.ensure_future(client.get("/")) for _ in range(MAX_REQUESTS)]
        await asyncio.sleep(0.2)
        async with asyncio.timeout(1):
            refused(await client.get("/"), f"at most {MAX_REQUESTS} requests at once")
        gate.set()
        assert {answer.status_code for answer in await asyncio.gather(*inside)} == {200}
        assert (await client.get("/")).text == "done"

    asyncio.run(scenario())


def test_a_request_that_takes_too_long_is_given_up_and_frees_its_place(gate, client, monkeypatch):
    async def scenario():
        monkeypatch.setattr(limits, "REQUEST_SECONDS", 0.05)
        answers = await asyncio.gather(*(client.get("/") for _ in range(MAX_REQUESTS)))
        for answer in answers:
            refused(answer, "within 20 seconds")
        gate.set()
        assert (await client.get("/")).status_code == 200

    asyncio.run(scenario())
