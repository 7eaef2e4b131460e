"""Who may ask: clients with a key, and web pages of other origins. Everybody may ask unless the environment names keys."""

import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import ValueRangeError
from service.http import log
from service.http.middleware import HttpMiddleware
from service.http.refusals import Refusal

KEYS = "ODDGLYPH_API_KEY"
ORIGINS = "ODDGLYPH_CORS_ORIGINS"
MIN_KEY_CHARACTERS = 16
KEY = re.compile(r"[\x21-\x2b\x2d-\x7e]+")  # printable ASCII without blank and comma
ORIGIN = re.compile(r"\*|https?://[A-Za-z0-9._-]+(:\d{1,5})?|https?://\[[0-9a-fA-F:.]+\](:\d{1,5})?")
# Probes have no key. The page asks for the key, and neither the page nor its files hold a secret.
OPEN = ("/", "/livez", "/readyz")
OPEN_UNDER = "/web/"
SENT_HEADERS = ["Authorization", "Content-Type", "X-API-Key", "X-Request-ID"]
SHOWN_HEADERS = ["Retry-After", "X-Request-ID"]


@dataclass(frozen=True)
class Access:
    """The accepted `keys`; everybody may ask if there are none. The pages of `origins` may read answers."""

    keys: Sequence[str] = ()
    origins: Sequence[str] = ()


EVERYBODY = Access()


def from_environment() -> Access:
    """Return the keys in ODDGLYPH_API_KEY and the origins in ODDGLYPH_CORS_ORIGINS; ValueRangeError for a wrong one."""
    keys, origins = _listed(KEYS), _listed(ORIGINS)
    if any(len(key) < MIN_KEY_CHARACTERS or not KEY.fullmatch(key) for key in keys):
        raise ValueRangeError(
            f"{KEYS}: expected keys of at least {MIN_KEY_CHARACTERS} printable ASCII characters without blanks, got "
            "another; use for example the output of `openssl rand -hex 32`"
        )
    for origin in origins:
        if not ORIGIN.fullmatch(origin):
            raise ValueRangeError(
                f"{ORIGINS}: expected origins such as https://example.org, got {origin[:80]!r}; change the setting"
            )
    return Access(keys, origins)


class ApiKeys(HttpMiddleware):
    """Passes requests on that have one of `keys` or are for an open path. Refuses others before their body is read.

    Clients send `Authorization: Bearer KEY` or `X-API-Key: KEY`. The time of the comparison depends only on the length of
    the keys.
    """

    def __init__(self, app: ASGIApp, keys: Sequence[str]) -> None:
        super().__init__(app)
        self._keys = [key.encode() for key in keys]

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it with status 401."""
        sent = _sent(scope)
        is_known = sum(secrets.compare_digest(sent, key) for key in self._keys)  # any() would stop at the first
        if is_known or scope["path"] in OPEN or scope["path"].startswith(OPEN_UNDER):
            await self.app(scope, receive, send)
            return
        found = "another" if sent else "none"
        log.note(refused=f"key: {found}")
        detail = f"key: expected one that this service accepts, got {found}; send `Authorization: Bearer KEY`"
        answer = Refusal(401, detail)
        answer.headers["WWW-Authenticate"] = "Bearer"
        await answer(scope, receive, send)


def _sent(scope: Scope) -> bytes:
    headers: dict[bytes, bytes] = dict(scope["headers"])
    scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
    return key.strip() if scheme.lower() == b"bearer" else headers.get(b"x-api-key", b"")


def _listed(name: str) -> list[str]:
    return [each.strip() for each in os.environ.get(name, "").split(",") if each.strip()]
