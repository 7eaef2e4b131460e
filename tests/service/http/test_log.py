"""Every request leaves one line, with the id of its answer and nothing that the client chose."""

import io
import json
import logging
import sys

import pytest
from servers import Within

from service.errors import ValueRangeError
from service.http import log
from service.http.catalog import Catalog
from service.http.routes import build_app, surrounded

SECRET = "my-secret-name"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def configured(monkeypatch):
    """Configure the log for a file or a terminal, and put all loggers back afterwards."""
    names = ("", "service", *log.SERVER)
    before = {name: (*_state(name),) for name in names}

    def configure(file, level=None):
        monkeypatch.setattr(sys, "stderr", file)
        if level:
            monkeypatch.setenv(log.LEVEL, level)
        log.configure()
        return file

    yield configure
    for name, (handlers, level, propagate) in before.items():
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def _state(name):
    logger = logging.getLogger(name)
    return logger.handlers, logger.level, logger.propagate


@pytest.fixture
def client(linear_models):
    app = build_app()
    app.state.catalog = Catalog(linear_models, "cpu", 1)

    @app.get("/fails")
    async def fails():
        raise RuntimeError(SECRET)

    return Within(surrounded(app))


def lines(file):
    return [json.loads(line) for line in file.getvalue().splitlines()]


def test_a_request_leaves_one_line_of_json(configured, client, pngs):
    file = configured(io.StringIO())
    files = [("images", (f"{SECRET}.png", pngs[0]))] * 3
    answer = client.post("/score?model=all-mnist", files=files, headers={"x-request-id": "a-1"})
    (line,) = lines(file)
    assert answer.headers["x-request-id"] == line.pop("request_id") == "a-1"
    assert line.pop("time")
    assert line.pop("waiting_ms") >= 0
    assert 0 < line.pop("computing_ms") < line.pop("total_ms")
    assert line == {
        "level": "INFO",
        "logger": "service.http.log",
        "message": "POST /score 200",
        "route": "/score",
        "status": 200,
        "model": "all-mnist",
        "images": 3,
    }


def test_every_route_that_computes_tells_its_model_and_its_times(configured, client, pngs):
    file = configured(io.StringIO())
    tensor = {"name": "pixels", "shape": [1, 32, 32], "datatype": "UINT8", "data": [0] * 1024}
    upload = [("images", ("a.png", pngs[0]))]
    answers = [
        client.post("/score/array", json={"images": [[[0] * 28] * 28]}),
        client.post("/explain", files=upload),
        client.get("/sample?n=20"),
        client.get("/sample/walk?steps=3"),
        client.post("/v2/models/mnist-0/infer", json={"inputs": [tensor]}),
    ]
    assert [answer.status_code for answer in answers] == [200] * 5
    told = lines(file)
    assert [(line["model"], line["images"]) for line in told] == [
        ("mnist-0", 1),
        ("mnist-0", 1),
        ("colours", 20),
        ("colours", 3),
        ("mnist-0", 1),
    ]
    assert all(line["waiting_ms"] >= 0 and line["computing_ms"] > 0 for line in told)


@pytest.mark.parametrize(
    ("path", "request_", "refused"),
    [
        (f"/models/{SECRET}", {}, "UnknownModelError"),
        (f"/{SECRET}", {}, "Not Found"),
        ("/score", {"files": {"images": (SECRET, b"no image")}}, "NotAnImageError"),
        ("/score", {"files": {SECRET: (SECRET, b"")}}, "missing"),
        ("/score", {"content": SECRET, "headers": {"content-type": SECRET}}, "Unsupported Media Type"),
        (f"/sample?class={SECRET}", {}, "UnknownClassError"),
    ],
)
def test_a_refusal_tells_its_kind_but_no_word_of_the_client(configured, client, path, request_, refused):
    file = configured(io.StringIO())
    answer = client.ask("POST" if request_ else "GET", path, **request_)
    (line,) = lines(file)
    assert (line["status"], line["refused"]) == (answer.status_code, refused)
    assert SECRET not in file.getvalue()


def test_an_error_of_the_service_tells_the_client_its_id_and_the_log_the_rest(configured, client):
    file = configured(io.StringIO())
    answer = client.get("/fails")
    told = lines(file)
    request_id = answer.headers["x-request-id"]
    sentence = f"service: internal error; see the log of the server about request {request_id}"
    assert (answer.status_code, answer.json()) == (500, {"detail": sentence})
    assert answer.headers["connection"] == "close"
    assert {line["request_id"] for line in told} == {request_id}
    assert {line["level"] for line in told} == {"ERROR", "WARNING"}
    assert SECRET in next(line["exc_info"] for line in told if "exc_info" in line)


@pytest.mark.parametrize("sent", ["x" * 65, "a b", "a;b", "é".encode(), ""])
def test_a_request_id_that_is_not_sane_is_replaced(client, sent):
    answers = [client.get("/livez", headers={"x-request-id": sent}) for _ in range(2)]
    made = [answer.headers["x-request-id"] for answer in answers]
    assert all(len(each) == 32 and each.isalnum() for each in made)
    assert made[0] != made[1]


def test_health_fills_no_log_unless_asked_for(configured, client):
    file = configured(io.StringIO())
    client.get("/livez")
    assert not file.getvalue()
    configured(file, level="debug")
    client.get("/livez")
    assert [line["message"] for line in lines(file)] == ["GET /livez 200"]


def test_a_terminal_gets_short_lines_of_text(configured, client):
    file = configured(Terminal())
    client.get("/models/nope", headers={"x-request-id": "a-2"})
    (line,) = file.getvalue().splitlines()
    assert " INFO GET /models/{name} 404 " in line
    assert " request_id=a-2" in line
    assert " refused=UnknownModelError " in line


def test_other_libraries_write_the_same_lines(configured):
    file = configured(io.StringIO())
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    logging.getLogger("circus").info("not shown")
    (line,) = lines(file)
    assert (line["logger"], line["level"]) == ("uvicorn.error", "WARNING")


def test_an_unknown_level_is_refused(configured):
    with pytest.raises(ValueRangeError, match=r"ODDGLYPH_LOG_LEVEL: expected one of debug, .*, got 'loud'"):
        configured(io.StringIO(), level="loud")


def test_outside_of_requests_nothing_is_noted():
    log.note(model="m")
    log.note_times(1.0, 0.5)
    assert log.request_id() == "none"
