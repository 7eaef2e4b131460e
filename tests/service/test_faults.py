"""Workers, models or the parent process of a running service are taken away."""

import os
import shutil
import signal
from pathlib import Path

import httpx
import psutil
import pytest
from artifacts import write_detector
from servers import started, until

BODY = {"images": [[[0] * 28] * 28]}


@pytest.fixture
def models(tmp_path, linear_models):
    return Path(shutil.copytree(linear_models, tmp_path / "published"))


def status(service, path="/readyz"):
    return service.client.get(path, timeout=5).status_code


def messages(service):
    return [line["message"] for line in service.lines()]


def test_killed_workers_are_replaced_logged_and_counted_and_without_models_say_so(tmp_path, models):
    with started(tmp_path, ODDGLYPH_MODELS=str(models), ODDGLYPH_WORKERS="1") as service:
        (killed,) = service.workers()
        models.rename(tmp_path / "away")
        assert service.client.post("/score/array", json=BODY).status_code == 200  # it has them in its memory
        os.kill(killed, signal.SIGKILL)
        until(lambda: status(service) == 503, "no models")
        (replacement,) = service.workers()
        sentence = "service: its models could not be loaded; its log says why, come back later"
        for answer in (service.client.get("/readyz"), service.client.post("/score/array", json=BODY)):
            assert (answer.status_code, answer.json(), answer.headers["retry-after"]) == (
                503,
                {"detail": sentence},
                "1",
            )
        assert status(service, "/livez") == 200
        assert "oddglyph_workers_replaced_total 1.0" in service.client.get("/metrics").text
        assert f"worker {killed} was killed or crashed; worker {replacement} takes its place" in messages(service)
        assert sum("expected a folder of published models, found none" in each for each in messages(service)) == 1
        (tmp_path / "away").rename(models)
        until(lambda: status(service) == 200, "models again", 10)
        assert service.client.post("/score/array", json=BODY).status_code == 200
        assert service.workers() == [replacement]


def test_a_worker_without_models_stays_out_of_the_way_while_another_serves_and_ends_when_told_to(tmp_path, models):
    with started(tmp_path, ODDGLYPH_MODELS=str(models), ODDGLYPH_WORKERS="2") as service:
        until(lambda: sum("worker" in each and "serves" in each for each in messages(service)) == 2, "two workers")
        models.rename(tmp_path / "away")
        os.kill(service.workers()[0], signal.SIGKILL)
        until(lambda: any("models cannot be loaded" in each for each in messages(service)), "a try to load")
        for _ in range(30):  # each on a connection of its own, which any worker may accept
            assert httpx.post(f"{service.client.base_url}/score/array", json=BODY).status_code == 200
        service.process.terminate()
        service.process.wait(20)


def test_workers_leave_the_port_when_their_parent_is_killed(tmp_path, linear_models):
    settings = {"ODDGLYPH_MODELS": str(linear_models), "ODDGLYPH_WORKERS": "2", "TMPDIR": str(tmp_path)}
    with started(tmp_path, **settings) as service:
        workers = [psutil.Process(pid) for pid in service.workers()]
        service.process.kill()
        _, alive = psutil.wait_procs(workers, 20)
        assert not alive
        with pytest.raises(httpx.ConnectError):
            service.client.get("/livez")
        assert "ends, so that the port is free" in "".join(messages(service))
    assert not list(tmp_path.glob("oddglyph-metrics-*"))


def test_an_artifact_that_is_replaced_is_served_after_sighup_and_not_before(tmp_path, models, digits):
    def count():
        return service.client.get("/models/mnist-0").json()["calibration_size"]

    with started(tmp_path, ODDGLYPH_MODELS=str(models), ODDGLYPH_WORKERS="1") as service:
        before = count()
        (old,) = service.workers()
        zeros = digits["x_train"][digits["y_train"] == 0][:30]
        write_detector(tmp_path / "new" / "mnist-0", zeros)
        shutil.rmtree(models / "mnist-0")
        (tmp_path / "new" / "mnist-0").rename(models / "mnist-0")
        score = service.client.post("/score/array", json=BODY)
        assert (score.status_code, count()) == (200, before)
        service.process.send_signal(signal.SIGHUP)
        until(lambda: count() == 15, "the new artifact")
        assert old not in service.workers()
        assert "oddglyph_workers_replaced_total 0.0" in service.client.get("/metrics").text
