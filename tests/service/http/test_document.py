"""What /docs.json says is what the service does: media types, statuses, names, and an example for everything."""

import json
import re
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from service.http import examples
from service.http.limits import MAX_NAME_CHARACTERS, MAX_REQUEST_BYTES
from service.http.routes import build_app
from service.version import VERSION

DOCUMENT = build_app().openapi()
OPERATIONS = {
    operation["operationId"]: (method, path, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
}
ELSEWHERE = {"401", "408", "503"}  # test_access.py, test_middleware.py and test_queues.py provoke them
JSON = {"content-type": "application/json"}


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").removeprefix("#/components/schemas/")
    return DOCUMENT["components"]["schemas"][name] if name else schema


def contents() -> dict[str, dict[str, Any]]:
    """Return each media type of each body and answer, by a name for the test."""
    found = {}
    for name, (_, _, operation) in OPERATIONS.items():
        for kind, media in operation.get("requestBody", {"content": {}})["content"].items():
            found[f"{name} body {kind}"] = media
        for status, answer in operation["responses"].items():
            for kind, media in answer["content"].items():
                found[f"{name} {status} {kind}"] = media
    return found


CONTENTS = contents()


def test_operations_are_named_after_what_they_do():
    assert {name: (method, path) for name, (method, path, _) in OPERATIONS.items()} == {
        "alive": ("get", "/livez"),
        "ready": ("get", "/readyz"),
        "metrics": ("get", "/metrics"),
        "list_models": ("get", "/models"),
        "describe_model": ("get", "/models/{name}"),
        "normal_images": ("get", "/models/{name}/normal"),
        "model_picture": ("get", "/models/{name}/pictures/{picture}"),
        "score": ("post", "/score"),
        "score_array": ("post", "/score/array"),
        "reconstruct": ("post", "/reconstruct"),
        "explain": ("post", "/explain"),
        "sample": ("get", "/sample"),
        "walk": ("get", "/sample/walk"),
        "server_metadata": ("get", "/v2/"),
        "server_live": ("get", "/v2/health/live"),
        "server_ready": ("get", "/v2/health/ready"),
        "model_metadata": ("get", "/v2/models/{name}"),
        "model_ready": ("get", "/v2/models/{name}/ready"),
        "infer": ("post", "/v2/models/{name}/infer"),
    }
    assert DOCUMENT["info"]["version"] == VERSION


def test_every_operation_is_in_one_of_the_groups_described():
    described = {tag["name"] for tag in DOCUMENT["tags"]}
    assert {tag for _, _, operation in OPERATIONS.values() for tag in operation["tags"]} == described
    assert {len(operation["tags"]) for _, _, operation in OPERATIONS.values()} == {1}


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_every_property_is_described(name):
    schema = DOCUMENT["components"]["schemas"][name]
    assert schema["description"]
    assert [field for field, said in schema["properties"].items() if not said.get("description")] == []


def test_every_parameter_is_described():
    parameters = [each for _, _, operation in OPERATIONS.values() for each in operation.get("parameters", [])]
    assert len(parameters) > 15
    assert [each["name"] for each in parameters if not each.get("description")] == []


@pytest.mark.parametrize("name", [name for name in CONTENTS if name.endswith(("json", "form-data", "text/plain"))])
def test_every_body_and_answer_has_an_example_that_fits_its_schema(name):
    media = CONTENTS[name]
    schema = resolved(media["schema"])
    shown = schema.get("examples", [media["example"]] if "example" in media else [])
    assert shown
    validator = Draft202012Validator(schema | {"components": DOCUMENT["components"]})
    assert [str(error) for example in shown for error in validator.iter_errors(example)] == []


def test_files_are_multipart_pictures_are_binary_and_metrics_are_text():
    kinds = {
        name: set(operation["requestBody"]["content"])
        for name, (_, _, operation) in OPERATIONS.items()
        if "requestBody" in operation
    }
    forms, bodies = ("score", "reconstruct", "explain"), ("score_array", "infer")
    assert kinds == {key: {"multipart/form-data"} for key in forms} | {key: {"application/json"} for key in bodies}
    answers = {name: set(operation["responses"]["200"]["content"]) for name, (_, _, operation) in OPERATIONS.items()}
    assert answers.pop("metrics") == {"text/plain"}
    either = {"application/json", "image/png"}
    assert {name for name, kinds in answers.items() if kinds == either} == {"reconstruct", "explain", "sample", "walk"}
    assert answers["infer"] == {"application/json", "application/octet-stream"}
    binary = {"type": "string", "format": "binary"}
    assert {json.dumps(media["schema"]) for name, media in CONTENTS.items() if "image/png" in name} == {
        json.dumps(binary)
    }
    assert resolved(CONTENTS["score body multipart/form-data"]["schema"])["properties"]["images"]["items"] == binary


def provoke(pngs) -> dict[str, dict[str, dict[str, Any]]]:
    """Return, for each operation, a request for each status that it is documented with, but for those ELSEWHERE."""
    image = [("images", ("a.png", pngs[0]))]
    broken = {"content": b"--x\r\n", "headers": {"content-type": "multipart/form-data; boundary=x"}}
    large = {"content": bytes(MAX_REQUEST_BYTES + 1)}
    forms = {
        "200": {"files": image},
        "400": broken,
        "404": {"files": image, "data": {"model": "nope"}},
        "413": large,
        "415": {"json": {}},
        "422": {"files": image, "data": {"alhpa": 1}},
    }
    pictures = forms | {"406": {"files": image * 2, "headers": {"accept": "image/png"}}}
    queries = {"200": {}, "404": {"params": {"class": "dog"}}, "422": {"params": {"sed": 1}}}
    models = {
        "200": {"name": "mnist-0"},
        "404": {"name": "nope"},
        "422": {"name": "a" * (MAX_NAME_CHARACTERS + 1)},
    }
    tensor = examples.INFERENCE["inputs"][0]
    return {
        "alive": {"200": {}},
        "ready": {"200": {}},
        "metrics": {"200": {}},
        "list_models": {"200": {}},
        "describe_model": models,
        "normal_images": models,
        "model_picture": models,
        "score": forms,
        "score_array": {
            "200": {"json": {"images": [[[0]]]}},
            "400": {"content": b"{", "headers": JSON},
            "404": {"json": {"images": [[[0]]], "model": "nope"}},
            "413": large,
            "415": {"files": image},
            "422": {"json": {}},
        },
        "reconstruct": pictures,
        "explain": pictures,
        "sample": queries,
        "walk": queries,
        "server_metadata": {"200": {}},
        "server_live": {"200": {}},
        "server_ready": {"200": {}},
        "model_metadata": models,
        "model_ready": models,
        "infer": {
            "200": {"name": "mnist-0", "json": examples.INFERENCE},
            "400": {"name": "mnist-0", "content": b"{"},
            "404": {"name": "nope", "json": examples.INFERENCE},
            "413": {"name": "mnist-0", "json": {"inputs": [tensor | {"shape": [0, 32, 32], "data": []}]}},
            "422": {"name": "mnist-0", "json": {"inputs": []}},
        },
    }


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_status_documented_can_happen(client, pngs, name):
    method, path, operation = OPERATIONS[name]
    requests = provoke(pngs)[name]
    assert requests.keys() == operation["responses"].keys() - ELSEWHERE
    for status, request in requests.items():
        sent = {key: value for key, value in request.items() if key != "name"}
        answer = client.request(method, path.format(name=request.get("name", ""), picture="samples.png"), **sent)
        assert answer.status_code == int(status), answer.text
        kind = re.sub(";.*", "", answer.headers["content-type"])
        assert kind in operation["responses"][status]["content"]


def test_an_answer_of_raw_bytes_is_the_other_kind_documented_for_infer(client):
    body = examples.INFERENCE | {"parameters": {"binary_data_output": True}}
    answer = client.post("/v2/models/mnist-0/infer", json=body)
    assert answer.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(("path", "about"), [("/models/a%0Ab", "model 'a"), ("/nope%0A", "path '/nope")])
def test_a_path_with_a_line_break_is_refused_in_the_form_documented(client, path, about):
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith(about)


@pytest.mark.parametrize("path", ["/sample?n=2&seed=3", "/sample/walk?steps=3"])
def test_accept_decides_how_samples_are_answered_unless_a_format_is_given(client, path):
    as_json = client.get(path, headers={"accept": "application/json"})
    assert as_json.json() == client.get(f"{path}&format=json").json()
    as_png = client.get(f"{path}&format=png", headers={"accept": "application/json"})
    assert as_png.headers["content-type"] == "image/png"
    assert as_png.content == client.get(path).content
