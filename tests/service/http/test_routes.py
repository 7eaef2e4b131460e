"""The answers of a running service to good requests."""

import base64
import io
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from artifacts import CLASS_NAMES
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from service import images
from service.http.limits import MAX_REQUEST_BYTES
from service.published.artifact import load
from service.published.detector import Detector
from service.published.generator import Generator

SCORES = ("l_con", "latent", "density", "score", "p_value")


@pytest.fixture(scope="module")
def detector(linear_models):
    return Detector(load(linear_models / "mnist-0"), "cpu", 1)


def files(pngs, name="images"):
    return [(name, (f"{index}.png", png)) for index, png in enumerate(pngs)]


def pixels_of(png):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png) if isinstance(png, str) else png)))


def score(client, pngs, **options):
    answer = client.post("/score", files=files(pngs), data=options)
    assert answer.status_code == 200, answer.text
    return answer.json()


def columns(results):
    return {name: np.array([result[name] for result in results]) for name in SCORES}


def test_scores_are_those_of_the_detector(client, detector, pngs):
    answer = score(client, pngs)
    expected = detector.score(np.stack([images.decode(png, 32) for png in pngs]))
    assert (answer["model"], answer["alpha"]) == ("mnist-0", 0.05)
    assert [result["id"] for result in answer["results"]] == [f"{index}.png" for index in range(10)]
    for name, found in columns(answer["results"]).items():
        np.testing.assert_allclose(found, getattr(expected, name), rtol=1e-5)


def test_files_and_arrays_get_the_same_scores(client, digits):
    by_file = score(client, [images.encode_png(image) for image in digits["x_test"][:7]])
    body = {"images": digits["x_test"][:7].tolist(), "model": "mnist-0", "alpha": 0.05}
    by_array = client.post("/score/array", json=body).json()
    assert [result["id"] for result in by_array["results"]] == [str(index) for index in range(7)]
    for name, found in columns(by_array["results"]).items():
        np.testing.assert_allclose(found, columns(by_file["results"])[name], rtol=1e-5)


def test_a_score_does_not_depend_on_who_else_asks(client, pngs):
    alone = columns([score(client, [png])["results"][0] for png in pngs])
    with ThreadPoolExecutor(16) as pool:
        crowd = list(pool.map(lambda index: score(client, [pngs[index % 10]])["results"][0], range(160)))
    for name, found in columns(crowd).items():
        np.testing.assert_allclose(found, np.tile(alone[name], 16), rtol=1e-5)


def test_is_anomaly_says_whether_p_is_at_most_alpha(client, pngs):
    p_values = columns(score(client, pngs)["results"])["p_value"]
    assert ((p_values > 0) & (p_values <= 1)).all()
    for alpha in (float(p_values.min()), 0.3, 0.99):
        results = score(client, pngs, alpha=alpha)["results"]
        assert [result["is_anomaly"] for result in results] == (p_values <= alpha).tolist()


def test_options_may_stand_in_the_form_or_in_the_query(client, pngs):
    in_form = score(client, pngs, model="mnist-1", alpha=0.25)
    in_query = client.post("/score?model=mnist-1&alpha=0.25", files=files(pngs)).json()
    assert in_form == in_query
    assert (in_form["model"], in_form["alpha"]) == ("mnist-1", 0.25)


def test_invert_undoes_dark_on_light(client, digits):
    light = [images.encode_png(image) for image in digits["x_test"][:3]]
    dark = [images.encode_png(255 - image) for image in digits["x_test"][:3]]
    assert score(client, dark, invert="true")["results"] == score(client, light)["results"]
    assert score(client, dark)["results"] != score(client, light)["results"]


def test_one_image_is_reconstructed_and_explained_as_png(client, detector, pngs):
    pixels = images.decode(pngs[5], 32)[None]
    made = pixels_of(client.post("/reconstruct", files=files(pngs[5:6])).content)
    heat = pixels_of(client.post("/explain", files=files(pngs[5:6])).content)
    np.testing.assert_array_equal(made, detector.reconstruct(pixels)[0])
    np.testing.assert_array_equal(heat, images.colour_heat(detector.explain(pixels)[0]))


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html,application/json;q=0.9"])
def test_many_images_are_explained_as_json(client, detector, pngs, accept):
    answer = client.post("/explain", files=files(pngs), headers={"accept": accept}).json()
    for png, result in zip(pngs, answer["results"], strict=True):
        seen = images.decode(png, 32)
        np.testing.assert_array_equal(pixels_of(result["input"]), seen)
        np.testing.assert_array_equal(pixels_of(result["reconstruction"]), detector.reconstruct(seen[None])[0])
        np.testing.assert_array_equal(pixels_of(result["png"]), images.colour_heat(detector.explain(seen[None])[0]))


def test_an_image_is_explained_by_its_difference_from_the_reconstruction(client, detector, pngs):
    pixels = np.stack([images.decode(png, 32) for png in pngs])
    expected = np.abs(pixels.astype(int) - detector.reconstruct(pixels)) / 255
    answer = client.post("/explain?kind=difference", files=files(pngs)).json()
    for result, difference in zip(answer["results"], expected, strict=True):
        np.testing.assert_array_equal(pixels_of(result["png"]), images.colour_heat(difference))
    in_form = client.post("/explain", files=files(pngs), data={"kind": "difference"}).json()
    assert in_form == answer != client.post("/explain", files=files(pngs)).json()
    assert client.post("/explain?kind=magic", files=files(pngs)).status_code == 422


def test_a_detector_without_an_autoencoder_scores_and_explains(client, detector, pngs):
    results, others = (score(client, pngs, model=model)["results"] for model in ("verdict-0", "mnist-0"))
    known = {"l_con", "latent"}
    assert results == [{name: other[name] for name in other if name not in known} for other in others]
    heat, expected = (
        client.post("/explain", files=files(pngs), data={"model": model}).json()["results"]
        for model in ("verdict-0", "mnist-0")
    )
    assert heat == [{name: other[name] for name in other if name != "reconstruction"} for other in expected]


@pytest.mark.parametrize("path", ["/reconstruct", "/explain?kind=difference"])
def test_what_needs_an_autoencoder_is_refused_in_a_sentence_where_there_is_none(client, pngs, path):
    answer = client.post(path, files=files(pngs[:1]), data={"model": "verdict-0"})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(
        "model verdict-0: expected a detector with an autoencoder, got one without"
    )


def with_bad_ones(pngs):
    """Return files of which the first and the third cannot be read."""
    bad = [("images", ("text.png", b"no image")), ("images", ("cut.png", pngs[1][:50]))]
    good = files(pngs)
    return [bad[0], good[0], bad[1], *good[1:]]


def test_an_image_that_cannot_be_read_is_an_error_beside_the_other_scores(client, pngs):
    results = client.post("/score", files=with_bad_ones(pngs)).json()["results"]
    assert [row["id"] for row in results] == ["text.png", "0.png", "cut.png", *(f"{k}.png" for k in range(1, 10))]
    assert [row for row in results if "error" not in row] == score(client, pngs)["results"]
    assert {name for row in results if "error" in row for name in row} == {"id", "error"}
    assert results[0]["error"].startswith("image: expected PNG, JPEG, WEBP, BMP, GIF, got 8 bytes")
    assert results[2]["error"].startswith("image: is damaged")


@pytest.mark.parametrize("path", ["/reconstruct", "/explain"])
def test_an_image_that_cannot_be_read_is_an_error_beside_the_other_pictures(client, pngs, path):
    results = client.post(path, files=with_bad_ones(pngs)).json()["results"]
    good = client.post(path, files=files(pngs)).json()["results"]
    assert [row for row in results if "error" not in row] == good
    assert [set(results[k]) for k in (0, 2)] == [{"id", "error"}] * 2


def test_accept_decides_for_one_image(client, pngs):
    for path in ("/reconstruct", "/explain"):
        as_json = client.post(path, files=files(pngs[:1]), headers={"accept": "application/json"}).json()
        as_png = client.post(path, files=files(pngs[:1]), headers={"accept": "image/png"})
        assert as_png.headers["content-type"] == "image/png"
        assert base64.b64decode(as_json["results"][0]["png"]) == as_png.content


def test_the_same_seed_gives_the_same_bytes(client, linear_models):
    generator = Generator(load(linear_models / "colours"), "cpu", 1)
    answers = [client.get("/sample", params={"class": "cat", "n": 16, "seed": 7}).content for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    np.testing.assert_array_equal(pixels_of(answers[0]), images.grid(generator.sample("cat", 16, 7), 4))


def test_image_k_does_not_depend_on_n(client):
    results = [client.get(f"/sample?n={n}&seed=7&format=json").json()["results"] for n in (1, 5, 40)]
    assert results[0] == results[2][:1]
    assert results[1] == results[2][:5]
    assert [result["class"] for result in results[1]] == [CLASS_NAMES[k % 3] for k in range(5)]


def test_a_walk_is_a_row_from_one_seed_to_the_other(client):
    query = {"class": "frog", "start": 3, "end": 4, "steps": 5}
    row = pixels_of(client.get("/sample/walk", params=query).content)
    images_of_row = client.get("/sample/walk", params={**query, "format": "json"}).json()["results"]
    assert row.shape == (32, 5 * 32, 3)
    np.testing.assert_array_equal(row, np.concatenate([pixels_of(step["png"]) for step in images_of_row], axis=1))
    start = client.get("/sample", params={"class": "frog", "n": 1, "seed": 3}).content
    np.testing.assert_array_equal(row[:, :32], pixels_of(start))
    assert {step["class"] for step in images_of_row} == {"frog"}


def test_models_are_listed_and_described(client):
    models = {model["name"]: model for model in client.get("/models").json()["models"]}
    assert list(models) == ["mnist-0", "mnist-1", "verdict-0", "all-mnist", "black-and-white", "colours"]
    assert [name for name, model in models.items() if model["is_default"]] == ["mnist-0", "colours"]
    assert models["mnist-0"]["normal_classes"] == ["0"]
    assert models["mnist-0"]["calibration_size"] == 20
    assert [name for name, model in models.items() if model["reconstructs"]] == ["mnist-0", "mnist-1", "all-mnist"]
    assert models["colours"]["class_names"] == list(CLASS_NAMES)
    assert models["black-and-white"]["class_names"] == []
    details = client.get("/models/mnist-0").json()
    assert models["mnist-0"].items() <= details.items()
    assert {"metrics", "recipe", "provenance"} <= details.keys()


def test_the_document_names_the_limits(client):
    document = client.get("/docs.json").json()
    assert {"/score", "/score/array", "/reconstruct", "/explain", "/sample", "/sample/walk", "/models"} <= set(
        document["paths"]
    )
    array = document["paths"]["/score/array"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(array["properties"]) == {"images", "model", "invert", "alpha", "strict", "confidence"}
    assert "256" in document["components"]["schemas"]["ScoreForm"]["properties"]["images"]["description"]


def test_health_and_page(client):
    assert client.get("/livez").status_code == client.get("/readyz").status_code == 200
    page = client.get("/")
    assert page.status_code == 200
    assert "oddglyph" in page.text
    assert "http://" not in page.text
    assert "https://" not in page.text
    for asset in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert client.get(f"/{asset}").status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/docs.json", "/metrics", "/models", "/models/mnist-0", "/sample?n=1", "/web/app.js"]
)
def test_head_answers_what_get_answers_without_a_body(client, path):
    head, get = client.head(path), client.get(path)
    assert head.status_code == get.status_code == 200
    assert head.content == b""
    assert head.headers["content-type"] == get.headers["content-type"]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/score", "OPTIONS, POST"), ("/sample", "GET, HEAD, OPTIONS"), ("/web/app.js", "GET, HEAD, OPTIONS")],
)
def test_options_names_the_methods(client, path, allowed):
    answer = client.options(path)
    assert (answer.status_code, answer.headers["allow"], answer.content) == (204, allowed, b"")
    assert client.options("/made-up-path").status_code == 404


@pytest.mark.parametrize(
    "path", ["/", "/web/app.js", "/web/icon.svg", "/models", "/docs.json", "/made-up-path", "/score"]
)
def test_every_answer_says_what_a_browser_may_do_with_it(client, path):
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'self'" in headers["content-security-policy"]


def test_metrics_count_over_all_workers_and_only_known_routes(client, pngs):
    def read():
        families = text_string_to_metric_families(client.get("/metrics").text)
        return {
            (sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples
        }

    before = read()
    for _ in range(8):  # more requests than workers
        score(client, pngs, alpha=0.99)
    client.get("/made-up-path")
    client.get("/web/app.js")
    client.delete("/reconstruct")
    client.post("/score/array", content=bytes(MAX_REQUEST_BYTES + 1))
    after = read()

    def grown(*key):
        return after[key] - before.get(key, 0)

    assert grown("oddglyph_images_scored_total", "mnist-0") == 80
    assert 0 < grown("oddglyph_anomalies_total", "mnist-0") <= 80
    assert grown("oddglyph_requests_total", "/score", "200") == 8
    assert grown("oddglyph_requests_total", "unmatched", "404") == 1
    assert grown("oddglyph_request_seconds_count", "mnist-0", "/score", "200") == 8
    assert grown("oddglyph_requests_total", "/web", "200") == 1
    assert grown("oddglyph_requests_total", "/reconstruct", "405") == 1
    assert grown("oddglyph_requests_total", "/score/array", "413") == 1
    assert not any("made-up" in label for key in after for label in key)
