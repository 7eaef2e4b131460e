"""Files that are replaced whole or not at all."""

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
except ImportError:  # Windows: a user has to remove by hand what a killed process left
    fcntl = None  # type: ignore[assignment]

SUFFIX = ".part"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces `path`, synced to disk, if the block ends without an error.

    Links are followed, and an existing file keeps its permissions. A device or pipe is yielded itself, since other
    programs use it. Temporary files that killed processes left are removed. OSError if the folder cannot be written.

        with replacing(Path("scores.csv")) as path:
            path.write_text("id,score")  # scores.csv is replaced at the end of the block
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
    """Return a new empty file and its descriptor, which locks the file, and so marks it as in use, until it is closed."""
    while True:
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}{SUFFIX}")
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        if _lock(descriptor) and os.fstat(descriptor).st_nlink:
            break
        os.close(descriptor)  # another process removed the file as stale before it was locked
    if target.exists():
        temporary.chmod(stat.S_IMODE(target.stat().st_mode))
    return temporary, descriptor


def _remove_stale(target: Path) -> None:
    for left in target.parent.glob(f".{glob.escape(target.name)}.{'?' * 8}{SUFFIX}"):
        with contextlib.suppress(OSError):  # another user's file, for example, does not hinder this run
            descriptor = os.open(left, os.O_RDWR | os.O_NOFOLLOW)
            try:
                if _lock(descriptor):
                    left.unlink()
            finally:
                os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Lock the file; return whether no other process holds its lock. The system releases it however a process ends."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
