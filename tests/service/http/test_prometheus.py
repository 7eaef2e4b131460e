"""Metrics of a served process: what is counted and timed, and by which labels."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.http import prometheus
from service.published.drift import Drift


def samples(client):
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples
    }


def gained(before, after, name, **labels):
    key = (name, *sorted(labels.items()))
    return after.get(key, 0) - before.get(key, 0)


def test_requests_are_timed_by_route_model_and_status(client, digits):
    before = samples(client)
    client.post("/score/array", json={"images": digits["x_test"][:3].tolist()})
    client.post("/score/array", json={"model": "nonesuch", "images": [[[0]]]})
    after = samples(client)
    labels = {"route": "/score/array", "status": "200", "model": "mnist-0"}
    assert gained(before, after, "oddglyph_request_seconds_count", **labels) == 1
    assert gained(before, after, "oddglyph_request_seconds_bucket", **labels, le="10.0") == 1
    labels = {"route": "/score/array", "status": "404", "model": "none"}
    assert gained(before, after, "oddglyph_request_seconds_count", **labels) == 1
    for name in ("waiting", "computing"):
        assert gained(before, after, f"oddglyph_{name}_seconds_count", model="mnist-0") == 1
    assert gained(before, after, "oddglyph_batch_images_sum") == 3
    assert gained(before, after, "oddglyph_requests_refused_total", reason="UnknownModelError") == 1
    assert after["oddglyph_images_in_flight",] == 0
    assert after["oddglyph_requests_in_flight",] == 1  # the request for the metrics
    assert after["oddglyph_model_load_seconds", ("model", "mnist-0")] > 0


def test_labels_are_never_what_a_client_chose(client):
    names = {"strange-model", "strange-route", "strange-key"}
    client.post("/score/array", json={"model": "strange-model", "images": [[[0]]]})
    client.get("/strange-route")
    client.post("/score/array", json={"strange-key": 1})
    client.post("/score", files={"images": ("strange-key", b"no image")})
    assert not [name for name in names if name in client.get("/metrics").text]


def test_drift_is_shown_by_metrics_and_model(client, digits):
    others = digits["x_test"][digits["y_test"] > 1][:40]
    for _ in range(3):
        client.post("/score/array", json={"model": "mnist-1", "images": others.tolist()})
    drift = client.get("/models/mnist-1").json()["drift"]
    assert drift.keys() == {"raised", "evidence", "shift", "share"}
    assert drift["shift"] > 1
    assert 0.2 < drift["share"] <= 1
    after = samples(client)
    assert after["oddglyph_drift_shift", ("model", "mnist-1")] == pytest.approx(drift["shift"])
    assert after["oddglyph_drift_raised", ("model", "mnist-1")] == drift["raised"]
    assert client.get("/models/colours").json()["drift"] is None


def test_a_monitor_without_images_shows_nothing():
    prometheus.show_drift("unseen", Drift(0, 0.0, is_raised=False, shift=None, share=None))
    assert prometheus.read("unseen") == {"drift_raised": 0, "drift_evidence": 0}
