"""Many published models on one page: a table of their metrics, and their pictures, as Markdown and as HTML."""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from service import artifact
from service.artifact import Artifact
from service.files import replacing

COLUMNS = (
    "l_con",
    "auroc.l_con",
    "auroc.latent",
    "auroc.score",
    "average_precision.score",
    "detection_rate.alpha_0.05",
)
PICTURES = ("samples.png", "scores.png", "curves.png")
STYLE = "body{font:15px/1.5 system-ui;max-width:70rem;margin:2rem auto;padding:0 1rem}td,th{padding:.2rem .7rem}img{max-width:100%}"


def write(models_dir: Path, out: Path) -> Path:
    """Return the path of report.html, written with report.md into the folder `out` about all models in `models_dir`."""
    models = [artifact.load(path) for path in artifact.find(models_dir)]
    out.mkdir(parents=True, exist_ok=True)
    body = MarkdownIt().enable("table").render(page(models))
    with replacing(out / "report.md") as path:
        path.write_text(page(models))
    with replacing(out / "report.html") as path:
        path.write_text(
            f"<!doctype html><meta charset=utf-8><title>oddglyph models</title><style>{STYLE}</style>{body}"
        )
    return out / "report.html"


def page(models: Sequence[Artifact]) -> str:
    """Return the page as Markdown, pictures inside."""
    rows = [_row(model.manifest.name, *(_shown(model.metrics(), column) for column in COLUMNS)) for model in models]
    head = [_row("model", *COLUMNS), _row(*["---"] * (len(COLUMNS) + 1))]
    return "\n".join(["# Published models", "", *head, *rows, "", *(_section(model) for model in models)])


def _section(model: Artifact) -> str:
    source = model.manifest.provenance
    how = f"`{source.command}`, seed {source.seed}, {source.device}, {source.train_seconds:,.0f} s, commit {source.commit[:12]}"
    return "\n\n".join([f"## {model.manifest.name}", model.manifest.summary, how, *_pictures(model), ""])


def _shown(metrics: Iterable[Mapping[str, Any]], name: str) -> str:
    last = [metric for metric in metrics if metric["name"] == name][-1:]  # the test split stands after the held-out one
    return "".join(f"{metric['value']:.4f} ± {metric['deviation']:.4f}" for metric in last)


def _pictures(model: Artifact) -> Iterator[str]:
    for name in PICTURES:
        if name in model.manifest.files:
            data = base64.b64encode(model.file(name).read_bytes()).decode()
            yield f"![{name}](data:image/png;base64,{data})"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
