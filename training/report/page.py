"""Many published models on one page: tables of their metrics, and their pictures, as Markdown and as HTML."""

import base64
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from markdown_it import MarkdownIt

from service.atomic import replacing
from service.published import artifact
from service.published.artifact import Artifact
from service.published.manifest import Kind, Metric
from training.report import generators

DETECTOR_COLUMNS = (
    "l_con",
    "auroc.l_con",
    "auroc.latent",
    "auroc.score",
    "average_precision.score",
    "detection_rate.alpha_0.05",
)
PICTURES = (artifact.SAMPLES, artifact.EMBEDDING, artifact.SCORES, artifact.CONFUSION, artifact.CURVES)
STYLE = "body{font:15px/1.5 system-ui;max-width:70rem;margin:2rem auto;padding:0 1rem}td,th{padding:.2rem .7rem}img{max-width:100%}"


def write(models_dir: Path, out: Path) -> Path:
    """Return the path of report.html, written with report.md into the folder `out` about all models in `models_dir`."""
    models = [artifact.load(path) for path in artifact.find(models_dir)]
    out.mkdir(parents=True, exist_ok=True)
    text = page(models)
    body = MarkdownIt().enable("table").render(text)
    with replacing(out / "report.md") as path:
        path.write_text(text)
    with replacing(out / "report.html") as path:
        path.write_text(
            f"<!doctype html><meta charset=utf-8><title>oddglyph models</title><style>{STYLE}</style>{body}"
        )
    return out / "report.html"


def page(models: Sequence[Artifact]) -> str:
    """Return the page as Markdown, pictures inside."""
    lines = ["# Published models", ""]
    for kind, (title, table, notes) in TABLES.items():
        of_kind = [model for model in models if model.manifest.kind == kind]
        lines += [f"## {title}", "", *_markdown(table(of_kind)), "", "\n\n".join(notes), ""] if of_kind else []
    return "\n".join([*lines, "# One by one", "", *(_model_section(model) for model in models)])


def _metrics_table(columns: Sequence[str], models: Sequence[Artifact]) -> list[list[str]]:
    rows = [[model.manifest.name, *(_metric_cell(model.metrics(), column) for column in columns)] for model in models]
    return [["model", *columns], *rows]


def _markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    head, *body = (f"| {' | '.join(cells)} |" for cells in rows)
    return [head, f"|{' --- |' * len(rows[0])}", *body]


def _model_section(model: Artifact) -> str:
    source = model.manifest.provenance
    how = f"`{source.command}`, seed {source.seed}, {source.device}, {source.train_seconds:,.0f} s, commit {source.commit[:12]}"
    agreement = generators.per_class(model.metrics())
    parts = [f"## {model.manifest.name}", model.manifest.summary, how, agreement, *_pictures(model)]
    return "\n\n".join([*filter(None, parts), ""])


def _metric_cell(metrics: Iterable[Metric], name: str) -> str:
    last = [metric for metric in metrics if metric.name == name][-1:]  # the test split stands after the held-out one
    return "".join(f"{metric.value:.4f} ± {metric.deviation:.4f}" for metric in last)


def _pictures(model: Artifact) -> Iterator[str]:
    for name in PICTURES:
        if name in model.manifest.files:
            data = base64.b64encode(model.file(name).read_bytes()).decode()
            yield f"![{name}](data:image/png;base64,{data})"


TABLES: dict[Kind, tuple[str, Callable[[Sequence[Artifact]], list[list[str]]], Sequence[str]]] = {
    "detector": ("Detectors", partial(_metrics_table, DETECTOR_COLUMNS), ()),
    "generator": ("Generators", generators.table, generators.NOTES),
    "classifier": ("Classifiers", partial(_metrics_table, ("accuracy",)), ()),
}
