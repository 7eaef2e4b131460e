"""The worker processes of a service: killed ones are counted, models are waited for, and all end with their parent.

Each worker has a file worker-PID in the folder of the metrics from its start to its orderly end. A file without a process
is left by a worker that was killed or crashed. The file says SERVING once the worker has its models.
"""

import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import psutil

from service.errors import OddglyphError
from service.http.prometheus import FOLDER, REPLACED, forget

PARENT = "ODDGLYPH_PARENT_PID"
SERVING = "serving"
RETRY_SECONDS = 2.0
PARENT_SECONDS = 1.0

T = TypeVar("T")

log = logging.getLogger(__name__)


def lead() -> None:
    """Make this process the parent, with which the workers end that it starts."""
    os.environ[PARENT] = str(os.getpid())


def join() -> None:
    """Sign on as a worker: log and count the workers that were killed, and end once the parent has ended."""
    _file().write_text("")
    for pid, file in _files():
        if not psutil.pid_exists(pid) and _removed(file):
            forget(pid)
            REPLACED.inc()
            log.error("worker %d was killed or crashed; worker %d takes its place", pid, os.getpid())
    threading.Thread(target=_follow_parent, daemon=True).start()


def leave() -> None:
    """Sign off. If the parent was killed, remove the folder of the metrics, which the parent would have removed."""
    _file().unlink(missing_ok=True)
    forget(os.getpid())
    if _is_orphan():
        shutil.rmtree(os.environ[FOLDER], ignore_errors=True)


def load(models: Callable[[], T], use: Callable[[T], None]) -> None:
    """Call `use` with the result of `models`; if that fails, try again every RETRY_SECONDS.

    As long as other workers serve, this function does not return, so that this worker accepts no requests. If none
    serves, it returns, and a thread goes on trying. The worker then answers that it has no models.
    """
    if _try(models, use, logging.ERROR):
        return
    with _ended_by_sigterm():
        while _others_serve():
            time.sleep(RETRY_SECONDS)
            if _try(models, use, logging.DEBUG):
                return
    log.error("no worker has models: requests are answered with status 503 until they can be loaded")
    threading.Thread(target=_retry, args=(models, use), daemon=True).start()


def _try(models: Callable[[], T], use: Callable[[T], None], level: int) -> bool:
    try:
        use(models())
    except (OddglyphError, OSError) as error:
        log.log(level, "the models cannot be loaded; next try in %g seconds: %s", RETRY_SECONDS, error)
        return False
    _file().write_text(SERVING)
    log.info("worker %d serves", os.getpid())
    return True


def _retry(models: Callable[[], T], use: Callable[[T], None]) -> None:
    while not _try(models, use, logging.DEBUG):
        time.sleep(RETRY_SECONDS)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Make SIGTERM end the process at once, since the server handles the signal only once it has started."""

    def end(*_: object) -> None:
        leave()
        os._exit(0)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _follow_parent() -> None:
    while not _is_orphan():
        time.sleep(PARENT_SECONDS)
    log.error("the parent process has ended; worker %d ends, so that the port is free", os.getpid())
    os.kill(os.getpid(), signal.SIGTERM)


def _is_orphan() -> bool:
    return os.environ.get(PARENT, str(os.getppid())) != str(os.getppid())


def _others_serve() -> bool:
    return any(pid != os.getpid() and psutil.pid_exists(pid) and _text(file) == SERVING for pid, file in _files())


def _file() -> Path:
    return Path(os.environ[FOLDER], f"worker-{os.getpid()}")


def _files() -> Iterator[tuple[int, Path]]:
    return ((int(file.name.removeprefix("worker-")), file) for file in Path(os.environ[FOLDER]).glob("worker-*"))


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except FileNotFoundError:
        return ""


def _removed(file: Path) -> bool:
    """Remove `file`; return whether this worker did it, so that each killed worker is counted once."""
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    return True
