"""One example for each body and answer in /docs.json; a test checks each against its schema."""

from typing import Any

from service.published.guarantee import STATEMENTS
from service.version import VERSION

FILE = "GIF89a\x01\0\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;"  # a pixel, in what text can hold
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="  # one black pixel
UNREADABLE = "image: expected PNG, JPEG, WEBP, BMP, GIF, got 19 bytes of text; convert it first"

OPTIONS: dict[str, Any] = {"model": "mnist-0", "invert": False}
IMAGE_FORM: dict[str, Any] = {"images": [FILE], **OPTIONS}
EXPLAIN_FORM: dict[str, Any] = {**IMAGE_FORM, "kind": "heat"}
SCORE_FORM: dict[str, Any] = {**IMAGE_FORM, "alpha": 0.05}
ARRAY_BODY: dict[str, Any] = {"images": [[[0, 0, 0], [0, 255, 0], [0, 0, 0]]], **OPTIONS, "alpha": 0.05}

ROW: dict[str, Any] = {
    "id": "zero.png",
    "l_con": 0.0198914,
    "latent": 1.0460503,
    "density": 1.4713743,
    "score": 1.4713743,
    "p_value": 0.17182817182817184,
    "is_anomaly": False,
}
ERROR_ROW: dict[str, Any] = {"id": "notes.txt", "error": UNREADABLE}
SCORES: dict[str, Any] = {"model": "mnist-0", "alpha": 0.05, "results": [ROW, ERROR_ROW]}
PICTURES: dict[str, Any] = {"model": "mnist-0", "results": [{"id": "zero.png", "png": PNG}, ERROR_ROW]}
EXPLANATIONS: dict[str, Any] = {
    "model": "mnist-0",
    "results": [{"id": "zero.png", "png": PNG, "input": PNG, "reconstruction": PNG}, ERROR_ROW],
}
SAMPLES: dict[str, Any] = {"model": "cifar10-cond", "results": [{"id": "0", "png": PNG, "class": "cat"}]}

SUMMARY: dict[str, Any] = {
    "name": "mnist-0",
    "kind": "detector",
    "summary": "0 of mnist as normal; one encoder for image, reconstruction and latent",
    "image_size": 32,
    "is_default": True,
    "normal_classes": ["0"],
    "members": [],
    "class_names": [],
    "calibration_size": 1000,
    "smallest_p_value": 0.000999000999000999,
    "device": "cpu",
    "reconstructs": True,
}
MODELS: dict[str, Any] = {"models": [SUMMARY]}
DETAILS: dict[str, Any] = {
    **SUMMARY,
    "guarantee": {
        "method": "held-out images",
        "images": 1000,
        "groups": None,
        "smallest_p_value": 0.000999000999000999,
        "smallest_strict_p_value": None,
        "statement": STATEMENTS["held-out images"],
    },
    "metrics": [
        {
            "name": "auroc.score",
            "value": 0.9996,
            "deviation": 0.0002,
            "deviation_of": "bootstrap",
            "samples": 10_000,
            "data": "mnist",
            "split": "test",
            "implementation": "sklearn.metrics.roc_auc_score",
        }
    ],
    "recipe": {"name": "shared-aae", "epochs": 25},
    "provenance": {
        "created": "2026-11-01T12:00:00+00:00",
        "commit": "096e6d6f00000000000000000000000000000000",
        "published_commit": "096e6d6f00000000000000000000000000000000",
        "command": "oddglyph-train fit shared-aae --normal-class 0",
        "seed": 0,
        "data": "mnist",
        "data_sha256": "0" * 64,
        "invert": False,
        "device": "cpu",
        "train_seconds": 1200.0,
        "versions": {"torch": "2.9.0"},
    },
    "pictures": ["curves.png", "samples.png", "scores.png"],
}
NORMAL: dict[str, Any] = {
    "model": "mnist-0",
    "scores": [-1.75, -0.15603355, 7.377935],
    "images": [{"png": PNG, "p_value": 0.924}],
}
REFUSAL: dict[str, Any] = {"detail": "model 'mnist': expected one of: mnist-0, mnist-1; see GET /models"}
METRICS = 'oddglyph_images_scored_total{model="mnist-0"} 80.0\n'

SERVER: dict[str, Any] = {"name": "oddglyph", "version": VERSION, "extensions": ["binary_tensor_data"]}
HEALTH: dict[str, Any] = {"live": True}
TENSORS: dict[str, Any] = {
    "name": "mnist-0",
    "versions": ["1"],
    "platform": "onnxruntime_onnx",
    "inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [-1, 32, 32]}],
    "outputs": [{"name": "p_value", "datatype": "FP64", "shape": [-1]}],
}
INFERENCE: dict[str, Any] = {
    "inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [1, 32, 32], "data": [0] * 32 * 32}],
    "outputs": [{"name": "p_value"}],
}
INFERRED: dict[str, Any] = {
    "model_name": "mnist-0",
    "model_version": "1",
    "outputs": [{"name": "p_value", "datatype": "FP64", "shape": [1], "data": [0.17182817182817184]}],
}
ERROR: dict[str, Any] = {"error": "outputs: expected some of score, p_value, got 'scores'"}
