"""Memory that was used once is given back to the system."""

import subprocess
import sys

import pytest
from servers import REPOSITORY

RESIDENT = """
from pathlib import Path
def resident():
    return int(next(line for line in Path("/proc/self/status").open() if line.startswith("VmRSS")).split()[1]) // 1024
"""


def megabytes(code, *arguments):
    command = [sys.executable, "-c", RESIDENT + code, *map(str, arguments)]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True)
    return [int(word) for word in result.stdout.split()]


pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the allocator is glibc's")


def test_free_memory_between_used_blocks_is_given_back():
    code = """
from service import memory
blocks = [bytearray(50_000) for _ in range(4000)]
kept = blocks[::200]
del blocks
before = resident()
memory.give_back()
print(before, resident())
"""
    before, after = megabytes(code)
    assert before > 180
    assert after < before - 120


def test_large_blocks_are_given_back_at_once_however_many_there_were():
    code = """
from service import memory
memory.bound()
before = resident()
for megabytes in (8, 16, 30, 30):
    large = [bytearray(megabytes * 2**20 - 100) for _ in range(4)]
    kept = bytearray(100_000)
    del large
print(before, resident())
"""
    before, after = megabytes(code)
    assert after < before + 10


def test_a_model_keeps_no_memory_of_its_largest_batch(models_dir):
    code = """
import sys
import numpy as np
from service import memory
from service.published import artifact
from service.published.detector import Detector
detector = Detector(artifact.load(Path(sys.argv[1])), "cpu", 1)
memory.give_back()
before = resident()
detector.score(np.zeros((256, 32, 32), np.uint8))
memory.give_back()
print(before, resident())
"""
    before, after = megabytes(code, models_dir / "mnist-0")
    assert after < before + 20


def test_a_resting_process_gives_back_what_it_does_not_use():
    code = """
import time
from service import memory
memory.LOOK_SECONDS = 0.1
memory.give_back_regularly()
blocks = [bytearray(50_000) for _ in range(4000)]
kept = blocks[::200]
del blocks
before = resident()
time.sleep(0.6)
print(before, resident())
"""
    before, after = megabytes(code)
    assert after < before - 120
