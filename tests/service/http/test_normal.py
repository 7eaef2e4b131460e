"""What a detector compares images with, and the pictures of a model, over HTTP."""

import base64
import io

import numpy as np
from PIL import Image

from service.http.normal import USUAL
from service.published.artifact import load


def test_the_scores_are_those_of_the_calibration_and_give_the_p_values(client, linear_models, pngs):
    normal = client.get("/models/mnist-0/normal").json()
    np.testing.assert_allclose(normal["scores"], load(linear_models / "mnist-0").calibration(), rtol=1e-6)
    result = client.post("/score", files=[("images", ("0.png", pngs[0]))]).json()["results"][0]
    at_least = sum(score >= result["score"] for score in normal["scores"])
    assert result["p_value"] == (1 + at_least) / (len(normal["scores"]) + 1)


def test_the_images_are_golden_inputs_that_look_normal(client, linear_models):
    found = client.get("/models/mnist-0/normal").json()["images"]
    golden = load(linear_models / "mnist-0").golden()[0]["pixels"]
    assert found
    for image in found:
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(image["png"]))))
        assert (golden == pixels).all(axis=(1, 2)).any()
        assert image["p_value"] >= USUAL


def test_a_group_names_its_members_instead(client):
    answer = client.get("/models/all-mnist/normal")
    assert answer.status_code == 404
    assert answer.json()["detail"] == "detector 'all-mnist': is a group; ask for one of: mnist-0, mnist-1"


def test_a_picture_is_the_file_of_the_model(client, linear_models):
    assert client.get("/models/mnist-0").json()["pictures"] == ["samples.png"]
    answer = client.get("/models/mnist-0/pictures/samples.png")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.content == (linear_models / "mnist-0" / "samples.png").read_bytes()


def test_no_other_file_is_a_picture(client):
    for name in ("manifest.json", "golden.npz", "..%2fmanifest.json", "none.png"):
        answer = client.get(f"/models/mnist-0/pictures/{name}")
        assert answer.status_code == 404
    answer = client.get("/models/all-mnist/pictures/samples.png")
    assert answer.json()["detail"] == "picture 'samples.png': expected one of: none is there; see GET /models/all-mnist"
