"""The application under plain uvicorn, and copies of the service behind a plain proxy."""

import itertools
import socket
import socketserver
import subprocess
import sys
import threading
from contextlib import contextmanager

import httpx
import pytest
from servers import REPOSITORY, environment, free_port, wait_until_ready


@pytest.fixture(scope="module")
def plain(tmp_path_factory, linear_models):
    """A client of the service under uvicorn with two workers, started as the documents say."""
    home = tmp_path_factory.mktemp("uvicorn")
    (home / "metrics").mkdir()
    settings = environment(home, ODDGLYPH_MODELS=str(linear_models), ODDGLYPH_METRICS_DIR=str(home / "metrics"))
    port, log = free_port(), home / "serve.log"
    command = ["uvicorn", "service.http.app:app", "--workers", "2", "--port", str(port)]
    command += ["--http", "service.http.connections:BoundedConnection"]
    with (
        log.open("wb") as file,
        subprocess.Popen(
            [sys.executable, "-m", *command], cwd=REPOSITORY, env=settings, stdout=file, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
                wait_until_ready(client, process, log)
                yield client
        finally:
            process.terminate()


def copy(source, target):
    while data := source.recv(2**16):
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)


class Forward(socketserver.BaseRequestHandler):
    """Sends each connection to the next of the server's `turns`, as a plain load balancer does."""

    def handle(self):
        with socket.create_connection(("127.0.0.1", next(self.server.turns))) as target:
            back = threading.Thread(target=copy, args=(target, self.request))
            back.start()
            copy(self.request, target)
            back.join()


@contextmanager
def proxy(ports):
    """Yield the port of a proxy before `ports`."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Forward) as server:
        server.turns = itertools.cycle(ports)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_plain_uvicorn_answers_as_bentoml_does(plain, client, digits):
    body = {"images": digits["x_test"][:5].tolist()}
    assert plain.post("/score/array", json=body).json() == client.post("/score/array", json=body).json()
    assert plain.get("/docs.json").json() == client.get("/docs.json").json()
    assert plain.get("/sample", params={"n": 4, "seed": 7}).content == client.get("/sample?n=4&seed=7").content
    assert plain.get("/readyz").status_code == 200
    assert "oddglyph_images_scored_total{" in plain.get("/metrics").text


def test_copies_behind_a_proxy_answer_alike(plain, client, digits):
    body = {"images": digits["x_test"][:5].tolist()}
    expected = client.post("/score/array", json=body).json()
    with proxy([plain.base_url.port, client.base_url.port]) as port:
        answers = [
            httpx.post(f"http://127.0.0.1:{port}/score/array", json=body, trust_env=False).json() for _ in range(4)
        ]
    assert answers == [expected] * 4
