"""The Open Inference Protocol: Triton's client understands the answers, and the figures are those of other routes."""

import json

import numpy as np
import pytest
import tritonclient.http as triton
from artifacts import CLASS_NAMES

from service import images
from service.published.artifact import load
from service.published.detector import Detector
from service.published.generator import Generator

BAD = {
    "no inputs": {"inputs": []},
    "another name": {"inputs": [{"name": "images", "datatype": "UINT8", "shape": [1], "data": [1]}]},
    "another type": {"inputs": [{"name": "pixels", "datatype": "FP32", "shape": [1, 32, 32], "data": [0.5] * 1024}]},
    "another shape": {"inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [1, 28, 28], "data": [1] * 784}]},
    "too few": {"inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [1, 32, 32], "data": [1] * 1023}]},
    "too large": {"inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [1, 32, 32], "data": [256] * 1024}]},
    "booleans": {"inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [1, 32, 32], "data": [True] * 1024}]},
    "ragged": {"inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [1, 32, 32], "data": [1, [2]]}]},
    "no image": {"inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [0, 32, 32], "data": []}]},
    "negative": {"inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [-1, 32, 32], "data": []}]},
}


@pytest.fixture(scope="module")
def tritons(client):
    return triton.InferenceServerClient(f"{client.base_url.host}:{client.base_url.port}")


@pytest.fixture(scope="module")
def detector(linear_models):
    return Detector(load(linear_models / "mnist-0"), "cpu", 1)


@pytest.fixture(scope="module")
def fitted(pixels):
    return images.fit(pixels, 32, invert=False)


def infer(tritons, model, tensors, outputs, *, binary):
    inputs = []
    for name, datatype, array in tensors:
        inputs.append(triton.InferInput(name, list(array.shape), datatype))
        inputs[-1].set_data_from_numpy(array, binary_data=binary)
    wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in outputs]
    return tritons.infer(model, inputs, outputs=wanted, request_id="42")


def test_triton_finds_server_and_models_ready(tritons):
    assert tritons.is_server_live()
    assert tritons.is_server_ready()
    assert tritons.get_server_metadata()["name"] == "oddglyph"
    assert tritons.is_model_ready("mnist-0")
    assert tritons.is_model_ready("mnist-0", "1")
    assert not tritons.is_model_ready("mnist-0", "2")
    assert not tritons.is_model_ready("none")
    assert tritons.get_model_metadata("mnist-0")["inputs"] == [
        {"name": "pixels", "datatype": "UINT8", "shape": [-1, 32, 32]}
    ]


@pytest.mark.parametrize("binary", [False, True])
def test_triton_gets_the_scores_and_pictures_of_the_detector(tritons, detector, fitted, binary):
    names = ["heat", "score", "p_value", "l_con", "reconstruction"]
    answer = infer(tritons, "mnist-0", [("pixels", "UINT8", fitted)], names, binary=binary)
    scores, planes = detector.score(fitted), detector.compare(fitted)
    assert answer.get_response()["id"] == "42"
    for name in names[1:4]:
        np.testing.assert_allclose(answer.as_numpy(name), getattr(scores, name), rtol=1e-5)
    np.testing.assert_array_equal(answer.as_numpy("reconstruction"), planes[:, 2])
    np.testing.assert_array_equal(answer.as_numpy("heat"), planes[:, 1])


@pytest.mark.parametrize("binary", [False, True])
def test_triton_gets_the_images_of_a_generator(tritons, linear_models, binary):
    generator = Generator(load(linear_models / "colours"), "cpu", 1)
    z = np.random.default_rng(0).normal(size=(5, generator.latent_size)).astype(np.float32)
    labels = np.arange(5) % len(CLASS_NAMES)
    tensors = [("z", "FP32", z), ("labels", "INT64", labels)]
    answer = infer(tritons, "colours", tensors, ["pixels"], binary=binary)
    np.testing.assert_array_equal(answer.as_numpy("pixels"), generator.generate(z, labels))


def test_every_output_of_every_model_is_as_its_metadata_says(client):
    for model in [each["name"] for each in client.get("/models").json()["models"]]:
        told = client.get(f"/v2/models/{model}").json()
        inputs = [
            {**spec, "shape": (shape := [2, *spec["shape"][1:]]), "data": [0] * int(np.prod(shape))}
            for spec in told["inputs"]
        ]
        answer = client.post(f"/v2/models/{model}/infer", json={"inputs": inputs}).json()
        found = [(each["name"], each["datatype"], [-1, *each["shape"][1:]]) for each in answer["outputs"]]
        assert found == [(each["name"], each["datatype"], each["shape"]) for each in told["outputs"]]
        for each in answer["outputs"]:
            assert each["shape"][0] == 2
            assert len(each["data"]) == np.prod(each["shape"])


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
def test_a_bad_request_is_refused_in_one_sentence(client, body):
    answer = client.post("/v2/models/mnist-0/infer", json=body)
    assert 400 <= answer.status_code < 500
    assert answer.json().keys() == {"error"}
    assert "\n" not in answer.json()["error"]


@pytest.mark.parametrize(("length", "raw"), [("x", b""), ("9" * 30, b""), (None, b"\0" * 10), (None, b"\0" * 1025)])
def test_bytes_that_do_not_fit_their_shape_are_refused(client, length, raw):
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, 32, 32], "parameters": {"binary_data_size": 1024}}
    header = json.dumps({"inputs": [tensor]}).encode()
    headers = {"Inference-Header-Content-Length": length or str(len(header))}
    answer = client.post("/v2/models/mnist-0/infer", content=header + raw, headers=headers)
    assert answer.status_code == 422
    assert "bytes" in answer.json()["error"]


def test_labels_that_are_no_class_are_refused(client):
    size = client.get("/v2/models/colours").json()["inputs"][0]["shape"][1]
    z = {"name": "z", "datatype": "FP32", "shape": [1, size], "data": [0.0] * size}
    for labels, shape in (([99], [1]), ([0, 1], [2])):
        sent = {"inputs": [z, {"name": "labels", "datatype": "INT64", "shape": shape, "data": labels}]}
        answer = client.post("/v2/models/colours/infer", json=sent)
        assert answer.status_code == 422
        assert answer.json()["error"].startswith("labels")
