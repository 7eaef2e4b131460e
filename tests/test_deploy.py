"""What is shipped for operation: it parses, names metrics that exist, and its alerts are raised when they should be."""

import json
import re
import shutil
import subprocess
from itertools import chain
from pathlib import Path

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from service.http import prometheus

DEPLOY = Path(__file__).parents[1] / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.suffix in (".yml", ".yaml", ".json"))


def metric_names():
    """Return the names of all samples that the service may expose."""
    for metric in vars(prometheus).values():
        if isinstance(metric, MetricWrapperBase):
            [family] = metric.describe()
            ends = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
            yield from (family.name + end for end in ends)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_parse_and_name_metrics_that_exist(path):
    text = path.read_text()
    assert list(yaml.safe_load_all(text))  # JSON is YAML, too
    assert set(re.findall(r"\boddglyph_\w+", text)) <= set(metric_names())


def test_every_metric_is_on_the_dashboard_or_has_an_alert_but_for_a_few():
    shown = "".join(path.read_text() for path in FILES)
    missing = {name.rsplit("_", 1)[0] for name in metric_names() if name.rsplit("_", 1)[0] not in shown}
    assert missing <= {"oddglyph_connections", "oddglyph_connections_dropped", "oddglyph_model_load", "oddglyph_drift"}


def test_panels_of_the_dashboard_do_not_overlap():
    dashboard = json.loads((DEPLOY / "grafana" / "dashboards" / "oddglyph.json").read_text())
    panels = dashboard["panels"]
    cells = list(
        chain.from_iterable(
            ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"]))
            for at in (panel["gridPos"] for panel in panels)
        )
    )
    assert len(cells) == len(set(cells))
    assert len({panel["id"] for panel in panels}) == len(panels)


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool (Debian: prometheus) is not installed")
@pytest.mark.parametrize("command", [["check", "config", "prometheus.yml"], ["test", "rules", "alerts_test.yml"]])
def test_alerts_are_raised_when_they_should_be(command):
    result = subprocess.run(
        ["promtool", *command], cwd=DEPLOY / "prometheus", capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
