"""Memory that goes back to the system once it is free: glibc's allocator keeps most of it by default.

On other systems than Linux with glibc these functions do nothing.
"""

import ctypes
import os
import threading
import time

LOOK_SECONDS = 2.0
WORK_SECONDS = 0.02  # of computing, below which there is nothing to give back

# Parameters of mallopt(3). Each arena keeps memory of its own, so there are few. Blocks above a fixed size, such as images
# and batches, come from the system and go back to it at once; glibc would raise that size with every such block.
PARAMETERS = {"M_ARENA_MAX": (-8, 2), "M_TRIM_THRESHOLD": (-1, 2**20), "M_MMAP_THRESHOLD": (-3, 2**22)}


def bound() -> None:
    """Make this process keep less free memory."""
    for number, value in PARAMETERS.values():
        _call("mallopt", number, value)


def give_back() -> None:
    """Return free memory to the system."""
    _call("malloc_trim", 0)


def give_back_regularly() -> None:
    """Start a thread that returns free memory whenever the process has computed and now rests."""
    threading.Thread(target=_watch, name="memory", daemon=True).start()


def _watch() -> None:
    given_back = used = time.process_time()
    while True:
        time.sleep(LOOK_SECONDS)
        before, used = used, time.process_time()
        if used - before < WORK_SECONDS < used - given_back:
            give_back()
            given_back = used


def _call(name: str, *numbers: int) -> None:
    function = getattr(ctypes.CDLL(None), name, None) if os.name == "posix" else None
    if function:
        function(*numbers)
