"""JSON bodies become pixels or are refused, in little time and memory."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from servers import REPOSITORY

from service.http import arrays
from service.http.schemas import ScoreArrayBody

MEGABYTE = 2**20
COSTLY = {
    "one long text among short ones": '{"images": [[["%s", "b", "c"]]]}' % ("a" * 4 * MEGABYTE),
    "one long text among many images": '{{"images": [{}"{}"]}}'.format("[[0]]," * 200, "a" * 4 * MEGABYTE),
    "long integers": '{"images": [[[%s0]]]}' % (("9" * 4000 + ",") * 1000),
    "unknown fields": "{{{}}}".format(",".join(f'"{k}":0' for k in range(900_000))),
    "empty lists": '{"images": [%s[]]}' % ("[]," * 5_000_000),
    "objects": '{"images": [%s{}]}' % ("{}," * 5_000_000),
    "integers": '{"images": [[[%s0]]]}' % ("0," * 8_000_000),
    "a long first row": '{{"images": [[[{}0]]{}]}}'.format("0," * 3_000_000, ",[[0]]" * 255),
}


@pytest.mark.parametrize("body", COSTLY.values(), ids=COSTLY)
def test_a_costly_array_is_refused_soon_and_in_little_memory(body):
    code = """
import resource, sys
from fastapi.exceptions import RequestValidationError
from service.errors import ImageError
from service.http import arrays
from service.http.schemas import ScoreArrayBody
body = sys.stdin.buffer.read()
before = resource.getrusage(resource.RUSAGE_SELF)
try:
    arrays.pixels(arrays.parse(body, ScoreArrayBody).images, 32, invert=False)
except (ImageError, RequestValidationError):
    after = resource.getrusage(resource.RUSAGE_SELF)
    print((after.ru_maxrss - before.ru_maxrss) // 1024, after.ru_utime - before.ru_utime)
"""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, input=body.encode(), cwd=REPOSITORY, capture_output=True, timeout=60, check=True)
    megabytes, seconds = map(float, result.stdout.split())
    assert megabytes < 200
    assert seconds < 3


def test_a_costly_array_leaves_the_service_answering(client):
    body = COSTLY["unknown fields"].encode()
    with ThreadPoolExecutor(2) as pool:
        costly = [
            pool.submit(client.post, "/score/array", content=body, headers={"content-type": "application/json"})
            for _ in range(2)
        ]
        for _ in range(5):
            assert client.post("/score/array", json={"images": [[[0]]]}, timeout=2).status_code == 200
        answers = [answer.result() for answer in costly]
    assert {answer.status_code for answer in answers} <= {422, 503}  # 503 while the service is busy with the other one
    refused = [answer.json()["detail"] for answer in answers if answer.status_code == 422]
    assert refused
    assert all(detail.startswith("body: expected at most 64 characters") for detail in refused)


def test_the_pixels_are_those_that_were_sent():
    sent = np.arange(2 * 32 * 32, dtype=np.uint32).reshape(2, 32, 32) % 256
    body = arrays.parse(b'{"images": %s}' % str(sent.tolist()).encode(), ScoreArrayBody)
    np.testing.assert_array_equal(arrays.pixels(body.images, 32, invert=False), sent)
    np.testing.assert_array_equal(arrays.pixels(body.images, 32, invert=True), 255 - sent)


def test_whole_numbers_written_as_fractions_are_whole_numbers():
    images = arrays.parse(b'{"images": [[[0.0, 255.0], [7, 1e2]]]}', ScoreArrayBody).images
    np.testing.assert_array_equal(arrays.pixels(images, 2, invert=False), [[[0, 255], [7, 100]]])
