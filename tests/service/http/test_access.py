"""Keys and origins: who may ask, if the operator names some."""

import asyncio

import pytest
from servers import Within

from service.errors import ValueRangeError
from service.http import access
from service.http.access import Access
from service.http.catalog import Catalog
from service.http.routes import build_app, surrounded

KEY, OTHER = "k" * 32, "o" * 32
ORIGIN = "https://page.example"
BODY = {"images": [[[0] * 28] * 28]}


@pytest.fixture(scope="module")
def app(linear_models):
    app = build_app()
    app.state.catalog = Catalog(linear_models, "cpu", 1)
    return app


def client(app, **allowed):
    return Within(surrounded(app, Access(**allowed)))


def ask(app, path, headers, keys=(OTHER, KEY)):
    asking = client(app, keys=keys)
    if path == "/score/array":
        return asking.post(path, json=BODY, headers=headers)
    return asking.get(path, headers=headers)


@pytest.mark.parametrize("path", ["/score/array", "/models", "/docs.json", "/metrics", "/v2/health/ready", "/nowhere"])
@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({}, "none"),
        ({"authorization": f"Bearer {KEY[:-1]}"}, "another"),
        ({"authorization": f"Bearer {KEY}k"}, "another"),
        ({"authorization": f"Basic {KEY}"}, "none"),
        ({"x-api-key": f"{KEY},{OTHER}"}, "another"),
        ({"x-api-key": "\u00e9" * 32}, "another"),
    ],
)
def test_nothing_is_told_without_a_key(app, path, headers, found):
    answer = ask(app, path, {name: value.encode() for name, value in headers.items()})
    sentence = f"key: expected one that this service accepts, got {found}; send `Authorization: Bearer KEY`"
    name = "error" if path.startswith("/v2/") else "detail"
    assert (answer.status_code, answer.json()) == (401, {name: sentence})
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("headers", [{"authorization": f"bearer {KEY}"}, {"x-api-key": KEY}, {"x-api-key": OTHER}])
def test_each_key_opens_every_route(app, headers):
    for path in ("/score/array", "/models", "/docs.json", "/metrics", "/v2/health/ready"):
        assert ask(app, path, headers).status_code == 200


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/web/app.js"])
def test_health_and_the_page_need_no_key(app, path):
    assert ask(app, path, {}).status_code == 200


def test_a_key_is_refused_before_the_body_is_read(app):
    async def never():
        raise AssertionError("the body is read")

    async def keep(message):
        sent.append(message)

    sent, scope = [], {"type": "http", "method": "POST", "path": "/score/array", "headers": []}
    asyncio.run(surrounded(app, Access([KEY]))(scope, never, keep))
    assert sent[0]["status"] == 401


def test_pages_of_a_named_origin_may_ask_with_a_key_and_read_refusals(app):
    wish = {
        "origin": ORIGIN,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    asking = client(app, keys=[KEY], origins=[ORIGIN])
    permitted = asking.ask("OPTIONS", "/score/array", headers=wish)
    refused = asking.post("/score/array", json=BODY, headers={"origin": ORIGIN})
    stranger = asking.ask("OPTIONS", "/score/array", headers={**wish, "origin": "https://else.example"})
    assert permitted.status_code == 200
    assert refused.status_code == 401
    assert permitted.headers["access-control-allow-origin"] == refused.headers["access-control-allow-origin"] == ORIGIN
    assert "x-request-id" in refused.headers["access-control-expose-headers"].lower()
    assert stranger.status_code == 400
    assert "access-control-allow-origin" not in stranger.headers


def test_no_origin_is_allowed_by_default(app):
    asking = client(app)
    answer = asking.get("/models", headers={"origin": ORIGIN})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        (access.KEYS, "short", "ODDGLYPH_API_KEY: expected keys of at least 16 printable ASCII characters"),
        (access.KEYS, f"{KEY}, with a blank within", "ODDGLYPH_API_KEY: expected keys"),
        (access.ORIGINS, "page.example", "ODDGLYPH_CORS_ORIGINS: expected origins such as https://example.org, got"),
        (access.ORIGINS, f"{ORIGIN}/path", f"got '{ORIGIN}/path'"),
    ],
)
def test_a_wrong_setting_is_refused_without_telling_a_key(monkeypatch, name, value, part):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueRangeError, match=part) as refused:
        access.from_environment()
    assert KEY not in str(refused.value)
    assert "short" not in str(refused.value)


def test_settings_are_lists(monkeypatch):
    monkeypatch.setenv(access.KEYS, f" {KEY}, {OTHER},")
    monkeypatch.setenv(access.ORIGINS, f"{ORIGIN},http://[::1]:8080,*")
    assert access.from_environment() == Access([KEY, OTHER], [ORIGIN, "http://[::1]:8080", "*"])
    monkeypatch.delenv(access.KEYS)
    monkeypatch.setenv(access.ORIGINS, "")
    assert access.from_environment() == Access([], [])
