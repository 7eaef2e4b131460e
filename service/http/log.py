"""The log: one line per request, with the id that the answer carries.

Lines are JSON objects, or short text if standard error is a terminal. They hold routes, names of models, counts, times
and kinds of refusals, but no pixels, file names or file contents.
"""

import logging
import os
import sys
from contextvars import ContextVar
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from service.errors import ValueRangeError

LEVEL = "ODDGLYPH_LOG_LEVEL"
LEVELS = ("debug", "info", "warning", "error")
QUIET_ROUTES = {"/livez", "/readyz", "/metrics", "/web"}  # logged as debug, since probes fill a log
SERVER = ("bentoml", "uvicorn.error", "circus")  # BentoML gives these loggers handlers of their own

log = logging.getLogger(__name__)

Facts = dict[str, Any]
_facts: ContextVar[Facts | None] = ContextVar("facts", default=None)


class JsonLines(JsonFormatter):
    """Formats a log record, with the facts noted about its request, as one JSON object."""

    def __init__(self) -> None:
        names = {"levelname": "level", "name": "logger"}
        super().__init__("%(levelname)s %(name)s %(message)s", rename_fields=names, timestamp="time")


class TextLines(JsonLines):
    """Formats a log record as a short line of text: time, level, message, then name=value for each fact."""

    def jsonify_log_record(self, log_data: Facts) -> str:
        """Return the line for `log_data`; a traceback follows on lines of its own."""
        time, level, message = (log_data.pop(name) for name in ("time", "level", "message"))
        trace = log_data.pop("exc_info", None)
        facts = (f"{name}={value}" for name, value in log_data.items() if name != "logger")
        line = " ".join([f"{time:%H:%M:%S}", level, message, *facts])
        return f"{line}\n{trace}" if trace else line


class _RequestId(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if facts := _facts.get():
            record.request_id = facts["request_id"]
        return True


def configure(server_level: int = logging.WARNING) -> None:
    """Send all logs of this process to standard error: from ODDGLYPH_LOG_LEVEL on, and of BentoML from `server_level` on.

    Raises ValueRangeError for a level that is none of LEVELS.
    """
    level = os.environ.get(LEVEL) or "info"
    if level not in LEVELS:
        raise ValueRangeError(f"{LEVEL}: expected one of {', '.join(LEVELS)}, got {level[:40]!r}; change the setting")
    handler = logging.StreamHandler()
    handler.setFormatter(TextLines() if sys.stderr.isatty() else JsonLines())
    handler.addFilter(_RequestId())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("service").setLevel(level.upper())
    for name in SERVER:
        other = logging.getLogger(name)
        other.handlers, other.propagate = [], True
    logging.getLogger("bentoml").setLevel(server_level)


def begin(request_id: str) -> None:
    """Start the facts about the request that the current task answers."""
    _facts.set({"request_id": request_id})


def request_id() -> str:
    """Return the id of the request that the current task answers; "none" outside of requests."""
    facts = _facts.get() or {}
    return str(facts.get("request_id", "none"))


def note(**facts: str | float) -> None:
    """Add `facts` to the line about the current request."""
    (_facts.get() or {}).update(facts)


def note_times(seconds: float, computing_seconds: float) -> None:
    """Add `seconds`, of which `computing_seconds` were spent in computing, to those of the current request."""
    before = _facts.get() or {}
    for name, more in (("waiting_ms", seconds - computing_seconds), ("computing_ms", computing_seconds)):
        note(**{name: round(before.get(name, 0.0) + 1000 * more, 1)})


def facts() -> Facts:
    """Return what was noted about the current request."""
    return dict(_facts.get() or {})


def answered(method: str, route: str, status: int, seconds: float) -> None:
    """Write the line about the current request."""
    level = logging.WARNING if status >= 500 else logging.DEBUG if route in QUIET_ROUTES else logging.INFO
    told = {**facts(), "route": route, "status": status, "total_ms": round(1000 * seconds, 1)}
    told.pop("request_id", None)  # the filter adds it
    log.log(level, "%s %s %d", method[:10], route, status, extra=told)
