"""The service starts, or says why not; a bento is complete; no usage report is sent."""

import json
import re
import shutil
import socket
import subprocess
import sys
import tomllib

import psutil
import pytest
import yaml
from servers import REPOSITORY, environment, serving, started


def run(*arguments, home, folder=REPOSITORY, **settings):
    command = [sys.executable, *map(str, arguments)]
    environ = environment(home, **settings)
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=120, check=False)


def start(home, **settings):
    return run("-m", "bentoml", "serve", "--host", "127.0.0.1", "--port", "0", home=home, **settings)


def tamper(folder, linear_models):
    shutil.copytree(linear_models, folder)
    with (folder / "colours" / "generator.onnx").open("ab") as file:
        file.write(b"x")
    return folder


def test_a_damaged_model_stops_the_start_with_one_sentence(tmp_path, linear_models):
    models = tamper(tmp_path / "models", linear_models)
    result = start(tmp_path, ODDGLYPH_MODELS=str(models))
    assert result.returncode == 1
    sentence = f"oddglyph does not start: {models}/colours/generator.onnx: expected sha256 "
    assert [line.startswith(sentence) for line in result.stderr.splitlines()] == [True]
    assert "Traceback" not in result.stdout


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"ODDGLYPH_MODELS": "no-such-folder"}, "no-such-folder: expected a folder of published models, found none"),
        ({"ODDGLYPH_DEVICE": "tpu"}, "ODDGLYPH_DEVICE: expected one of auto, cpu, cuda, got 'tpu'"),
        ({"ODDGLYPH_WORKERS": "0"}, "ODDGLYPH_WORKERS: expected 1 to 256, got '0'"),
        ({"ODDGLYPH_WORKERS": "many"}, "ODDGLYPH_WORKERS: expected 1 to 256, got 'many'"),
        ({"ODDGLYPH_API_KEY": "secret"}, "ODDGLYPH_API_KEY: expected keys of at least 16 printable ASCII characters"),
        ({"ODDGLYPH_CORS_ORIGINS": "me"}, "ODDGLYPH_CORS_ORIGINS: expected origins such as https://example.org"),
        ({"ODDGLYPH_LOG_LEVEL": "loud"}, "ODDGLYPH_LOG_LEVEL: expected one of debug, info, warning, error, got 'loud'"),
        ({"ODDGLYPH_SERVE": "mnist-0, nope"}, "model 'nope': expected one of: "),
    ],
)
def test_a_wrong_setting_stops_the_start_with_one_sentence(tmp_path, settings, part):
    result = start(tmp_path, **settings)
    assert result.returncode == 1
    assert [part in line for line in result.stderr.splitlines()] == [True]


def test_a_port_in_use_stops_the_start_with_one_sentence(tmp_path, linear_models):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        serve = ("-m", "bentoml", "serve", "--port", taken.getsockname()[1])
        result = run(*serve, home=tmp_path, ODDGLYPH_MODELS=str(linear_models))
    sentence = "oddglyph does not start: cannot listen there: Address already in use; choose another --port"
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == sentence
    assert "Traceback" not in result.stdout + result.stderr


def test_only_this_machine_reaches_the_service_unless_told_otherwise(tmp_path, linear_models):
    with started(tmp_path, ODDGLYPH_MODELS=str(linear_models), ODDGLYPH_WORKERS="1") as service:
        sockets = psutil.Process(service.process.pid).net_connections("inet")
    assert {each.laddr.ip for each in sockets if each.status == psutil.CONN_LISTEN} == {"127.0.0.1"}


def test_a_bento_serves_from_an_empty_folder(tmp_path, linear_models):
    project, home, empty = tmp_path / "project", tmp_path / "home", tmp_path / "empty"
    home.mkdir()
    empty.mkdir()
    shutil.copytree(REPOSITORY / "service", project / "service")
    shutil.copytree(linear_models, project / "models")
    shutil.copy(REPOSITORY / "bentofile.yaml", project)
    built = run("-m", "bentoml", "build", "--output", "tag", home=home, folder=project)
    assert built.returncode == 0, built.stderr
    shutil.rmtree(project)
    with serving(home, built.stdout.strip().removeprefix("__tag__:"), folder=empty) as client:
        names = [model["name"] for model in client.get("/models").json()["models"]]
        assert names == ["mnist-0", "mnist-1", "verdict-0", "all-mnist", "black-and-white", "colours"]
        assert client.post("/score/array", json={"images": [[[0] * 28] * 28]}).status_code == 200
        assert "oddglyph" in client.get("/").text
    assert not list(empty.iterdir())


def test_a_bento_installs_what_the_package_installs():
    bentofile = yaml.safe_load((REPOSITORY / "bentofile.yaml").read_text())
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert bentofile["python"]["packages"] == project["dependencies"]


def test_the_lowest_versions_are_those_that_the_advisories_ask_for():
    rows = re.findall(r"^\| ([A-Za-z0-9-]+) \| ([0-9.]+) \|", (REPOSITORY / "SECURITY.md").read_text(), re.MULTILINE)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    floors = [re.match(r"([a-z0-9-]+)>=([0-9.]+)", dependency).groups() for dependency in project["dependencies"]]
    assert len(rows) == 5
    assert {(name.lower(), version) for name, version in rows} <= set(floors)


@pytest.mark.parametrize(("wish", "expected"), [({}, True), ({"BENTOML_DO_NOT_TRACK": "False"}, False)])
def test_usage_reports_are_off_unless_asked_for(tmp_path, wish, expected):
    code = """
import json
from bentoml._internal.utils.analytics.usage_stats import do_not_track
do_not_track()  # as `bentoml serve` does before it imports the service
import service.api
print(json.dumps(do_not_track()))
"""
    result = run("-c", code, home=tmp_path, **wish)
    assert json.loads(result.stdout) is expected


def test_a_start_opens_no_connection_and_looks_no_host_up(tmp_path, linear_models):
    code = """
import sys

def refuse(event, _):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        raise SystemExit(event)

sys.addaudithook(refuse)
import service.api
service.api.Oddglyph.inner.verify()
"""
    result = run("-c", code, home=tmp_path, ODDGLYPH_MODELS=str(linear_models))
    assert result.returncode == 0, result.stderr


def test_the_service_starts_where_bentoml_hides_its_usage_reports_elsewhere(tmp_path):
    code = """
import sys
import bentoml
sys.modules["bentoml._internal.utils.analytics.usage_stats"] = None
import service.api
"""
    result = run("-c", code, home=tmp_path)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"ODDGLYPH_DEVICE": "cpu"}, "cpu_count"),
        ({"ODDGLYPH_DEVICE": "cuda"}, 1),
        ({"ODDGLYPH_DEVICE": "cuda", "ODDGLYPH_WORKERS": "3"}, 3),
    ],
)
def test_there_is_a_worker_for_each_core_or_a_single_one_for_cuda(tmp_path, settings, expected):
    code = "import json, service.api; print(json.dumps(service.api.Oddglyph.config['workers']))"
    assert json.loads(run("-c", code, home=tmp_path, **settings).stdout) == expected


def test_a_gpu_that_is_found_gets_a_single_worker(tmp_path):
    code = """
import json
from service.published import onnx_model
onnx_model.cuda_is_usable = lambda: True
import service.api
print(json.dumps(service.api.Oddglyph.config["workers"]))
"""
    assert json.loads(run("-c", code, home=tmp_path).stdout) == 1


def test_two_services_of_one_user_serve_what_they_are_told_and_count_for_themselves(tmp_path, linear_models):
    def start(name):
        return serving(
            tmp_path,
            ODDGLYPH_MODELS=str(linear_models),
            ODDGLYPH_SERVE=name,
            ODDGLYPH_WORKERS="1",
            TMPDIR=str(tmp_path),
        )

    body = {"images": [[[0] * 28] * 28]}
    with start("mnist-0") as first:
        assert [model["name"] for model in first.get("/models").json()["models"]] == ["mnist-0"]
        assert first.post("/score/array", json=body).status_code == 200
        with start("mnist-1") as second:
            assert second.post("/score/array", json=body).json()["model"] == "mnist-1"
            assert first.post("/score/array", json=body).status_code == 200
            assert 'oddglyph_images_scored_total{model="mnist-0"} 2.0' in first.get("/metrics").text
            counted = second.get("/metrics").text
            assert 'oddglyph_images_scored_total{model="mnist-1"} 1.0' in counted
            assert "mnist-0" not in counted
    assert not list(tmp_path.glob("oddglyph-metrics-*"))


def test_the_service_loads_and_scores_where_torch_cannot_be_imported(tmp_path, linear_models):
    code = """
import importlib, pathlib, pkgutil, sys
for name in ("torch", "torchvision", "onnx", "lightning_fabric", "training"):
    sys.modules[name] = None  # importing it now raises ModuleNotFoundError
import numpy, service
for module in pkgutil.walk_packages(service.__path__, "service."):
    importlib.import_module(module.name)
from service.published import artifact, detector
model = detector.Detector(artifact.load(pathlib.Path(sys.argv[1])), "cpu", 1)
print(len(model.score(numpy.zeros((2, 32, 32), numpy.uint8)).p_value))
"""
    result = run("-c", code, linear_models / "mnist-0", home=tmp_path)
    assert result.stdout == "2\n", result.stderr
