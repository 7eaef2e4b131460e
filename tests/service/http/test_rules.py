"""Strict p-values, confidence and an alpha out of reach, over HTTP."""

import numpy as np
import pytest

from service import images
from service.published.artifact import load
from service.published.conformal import Rule
from service.published.detector import Detector


def files(pngs):
    return [("images", (f"{index}.png", png)) for index, png in enumerate(pngs)]


def score(client, pngs, **options):
    answer = client.post("/score", files=files(pngs), data=options)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("options", [{"strict": True, "alpha": 0.2}, {"confidence": 0.9, "alpha": 0.3}])
def test_rows_are_those_of_the_detector_under_the_rule(client, linear_models, pngs, options):
    detector = Detector(load(linear_models / "mnist-1"), "cpu", 1)
    answer = score(client, pngs, model="mnist-1", **options)
    decision = detector.decide(Rule(**options))
    pixels = np.stack([images.decode(png, 32) for png in pngs])
    expected = detector.score(pixels).rows([f"{index}.png" for index in range(10)], decision)
    found = [(row["id"], row["p_value"], row["is_anomaly"]) for row in answer["results"]]
    assert found == [(row.id, row.p_value, row.is_anomaly) for row in expected]
    assert {name: answer.get(name) for name in options} == options
    assert answer.get("threshold") == (decision.threshold if "confidence" in options else None)
    assert "note" not in answer
    body = {"images": pixels.tolist(), "model": "mnist-1", **options}
    by_array = client.post("/score/array", json=body).json()
    assert [row["is_anomaly"] for row in by_array["results"]] == [row.is_anomaly for row in expected]


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"strict": True}, "strict: expected calibration images in known groups, got none in mnist-0"),
        (
            {"strict": True, "model": "all-mnist"},
            "strict: expected calibration images in known groups, got none in mnist-0",
        ),
        (
            {"strict": True, "model": "mnist-1"},
            "strict: expected at least 19 normal groups for alpha 0.05, got 10 groups",
        ),
        ({"confidence": 0.95}, "confidence 0.95: expected at least 59 normal images for alpha 0.05, got 20 images"),
        ({"confidence": 1.5}, "confidence: "),
        (
            {"strict": True, "confidence": 0.9, "model": "mnist-1"},
            "strict and confidence: expected at most one of them",
        ),
        ({"strict": "maybe"}, "strict: "),
    ],
)
def test_what_the_calibration_cannot_give_is_refused(client, pngs, digits, options, part):
    answer = client.post("/score", files=files(pngs[:1]), data=options)
    assert answer.status_code == 422
    assert part in answer.json()["detail"]
    body = {"images": digits["x_test"][:1].tolist(), **options}
    of_text = answer.json()["detail"].replace("'1.5'", "1.5").replace(", unable to interpret input", "")
    assert client.post("/score/array", json=body).json()["detail"] == of_text


@pytest.mark.parametrize("alpha", [0.01, 1e-320])
def test_an_alpha_out_of_reach_is_noted(client, pngs, alpha):
    answer = score(client, pngs, alpha=alpha)
    assert (
        f"no image can be an anomaly at alpha {alpha:g}: with 20 normal images no p-value is below 1/21"
        in answer["note"]
    )
    assert not any(row["is_anomaly"] for row in answer["results"])
    assert "note" not in score(client, pngs)


def test_a_model_says_what_its_p_values_promise(client):
    models = {model["name"]: model for model in client.get("/models").json()["models"]}
    assert models["mnist-0"]["smallest_p_value"] == models["all-mnist"]["smallest_p_value"] == 1 / 21
    promised = client.get("/models/mnist-1").json()["guarantee"]
    assert (promised["method"], promised["images"], promised["groups"]) == ("held-out images", 20, 10)
    assert (promised["smallest_p_value"], promised["smallest_strict_p_value"]) == (1 / 21, 1 / 11)
    assert "alpha" in promised["statement"]
    assert client.get("/models/colours").json()["guarantee"] is None
