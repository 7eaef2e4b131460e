"""What /docs.json says is what the service does: media types, statuses, names, and an example for everything."""

import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

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
        "metrics": ("get", "/metrics"),
        "list_models": ("get", "/models"),
        "describe_model": ("get", "/models/{name}"),
        "score": ("post", "/score"),
        "score_array": ("post", "/score/array"),
        "reconstruct": ("post", "/reconstruct"),
        "explain": ("post", "/explain"),
        "sample": ("get", "/sample"),
        "walk": ("get", "/sample/walk"),
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


@pytest.mark.parametrize("name", [name for name in CONTENTS if "image/png" not in name])
def test_every_body_and_answer_has_an_example_that_fits_its_schema(name):
    media = CONTENTS[name]
    schema = resolved(media["schema"])
    examples = schema.get("examples", [media["example"]] if "example" in media else [])
    assert examples
    resource = DRAFT202012.create_resource(DOCUMENT)
    registry = Registry().with_resource("", resource)
    validator = Draft202012Validator({"$ref": "#/components/schemas/Row"} | schema if False else schema, registry=registry)
    for example in examples:
        assert list(validator.iter_errors(example)) == []


def test_files_are_multipart_pictures_are_binary_and_metrics_are_text():
    kinds = {name: set(operation["requestBody"]["content"]) for name, (_, _, operation) in OPERATIONS.items() if "requestBody" in operation}
    assert kinds == dict.fromkeys(("score", "reconstruct", "explain"), {"multipart/form-data"}) | {"score_array": {"application/json"}}
    answers = {name: set(operation["responses"]["200"]["content"]) for name, (_, _, operation) in OPERATIONS.items()}
    assert answers.pop("metrics") == {"text/plain"}
    either = {"application/json", "image/png"}
    assert {name for name, kinds in answers.items() if kinds == either} == {"reconstruct", "explain", "sample", "walk"}
    binary = {"type": "string", "format": "binary"}
    assert {json.dumps(media["schema"]) for name, media in CONTENTS.items() if "image/png" in name} == {json.dumps(binary)}
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
    return {
        "metrics": {"200": {}},
        "list_models": {"200": {}},
        "describe_model": {"200": {"name": "mnist-0"}, "404": {"name": "nope"}, "422": {"name": "a" * (MAX_NAME_CHARACTERS + 1)}},
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
    }


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_status_documented_can_happen(client, pngs, name):
    method, path, operation = OPERATIONS[name]
    requests = provoke(pngs)[name]
    assert requests.keys() == operation["responses"].keys() - ELSEWHERE
    for status, request in requests.items():
        answer = client.request(method, path.replace("{name}", request.pop("name", "")), **request)
        assert answer.status_code == int(status), answer.text
        kind = re.sub(";.*", "", answer.headers["content-type"])
        assert kind in operation["responses"][status]["content"]


@pytest.mark.parametrize("path", ["/sample?n=2&seed=3", "/sample/walk?steps=3"])
def test_accept_decides_how_samples_are_answered_unless_a_format_is_given(client, path):
    as_json = client.get(path, headers={"accept": "application/json"})
    assert as_json.json() == client.get(f"{path}&format=json").json()
    as_png = client.get(f"{path}&format=png", headers={"accept": "application/json"})
    assert as_png.headers["content-type"] == "image/png"
    assert as_png.content == client.get(path).content
