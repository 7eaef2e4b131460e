"""Files that are there whole or not at all."""

import contextlib
import glob
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where what a killed process leaves has to be removed by hand
    fcntl = None  # type: ignore[assignment]

SUFFIX = ".part"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place, synced to disk, if the block ends without an error.

    Links are followed and the permissions of an existing file kept. A device or pipe is yielded itself, since
    replacing it would break what others use. What killed processes have left of earlier attempts is removed.

        with replacing(Path("scores.csv")) as path:
            path.write_text("whole, or not there at all")
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        yield target
        return
    _remove_stale(target)
    temporary, lock = _create(target)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
        os.close(lock)


def _create(target: Path) -> tuple[Path, int]:
    """Return a new empty file and its descriptor; while that is open, the file is locked and so known to be in use."""
    while True:
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}{SUFFIX}")
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        if _lock(descriptor) and os.fstat(descriptor).st_nlink:
            break
        os.close(descriptor)  # another process took the file for a stale one before it was locked
    if target.exists():
        temporary.chmod(stat.S_IMODE(target.stat().st_mode))
    return temporary, descriptor


def _remove_stale(target: Path) -> None:
    for left in target.parent.glob(f".{glob.escape(target.name)}.{'?' * 8}{SUFFIX}"):
        with contextlib.suppress(OSError):  # of another user, say: the run does not depend on it
            descriptor = os.open(left, os.O_RDWR | os.O_NOFOLLOW)
            try:
                if _lock(descriptor):
                    left.unlink()
            finally:
                os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Return whether no other process holds the lock, which the system releases however a process ends."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
