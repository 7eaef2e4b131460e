"""`oddglyph models`."""

import json
from typing import Annotated, Any

import typer
from rich.table import Table

from service.options import MODELS_DIR, ModelsDir
from service.published import artifact
from service.published.artifact import Artifact
from service.published.guarantee import guarantee_of
from service.terminal import stderr, stdout


def models(
    name: Annotated[str | None, typer.Argument(help="Only this one.", show_default="all")] = None,
    models_dir: ModelsDir = MODELS_DIR,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all metrics.")] = False,
) -> None:
    """List the published models, or describe one: what its p-values promise."""
    names = [name] if name else [path.name for path in artifact.find(models_dir)]
    descriptions = [_describe(artifact.load_named(models_dir, each)) for each in names]
    for folder in () if name else artifact.incomplete(models_dir):
        stderr.print(f"oddglyph: {folder} is left out, for it holds no {artifact.MANIFEST}")
    if as_json:
        typer.echo(json.dumps(descriptions[0] if name else descriptions, indent=2))
        return
    table = Table("name", "kind", "summary", "MB", "calibrated on", "AUROC", box=None)
    for model in descriptions:
        auroc = next((f"{metric['value']:.4f}" for metric in model["metrics"] if metric["name"] == "auroc.score"), "")
        megabytes = f"{model['bytes'] / 1e6:.1f}"
        table.add_row(
            model["name"], model["kind"], model["summary"], megabytes, str(model["calibration_size"] or ""), auroc
        )
    stdout.print(table)
    if name and descriptions[0]["guarantee"]:
        stdout.print(descriptions[0]["guarantee"]["statement"])


def _describe(published: Artifact) -> dict[str, Any]:
    manifest = published.manifest
    guarantee = guarantee_of(published) if manifest.kind == "detector" else None
    return {
        **manifest.model_dump(include={"name", "kind", "summary", "normal_classes", "class_names", "calibration"}),
        "bytes": sum(published.file(name).stat().st_size for name in manifest.files),
        "calibration_size": guarantee and guarantee.images,
        "guarantee": guarantee and guarantee.model_dump(),
        "reconstructs": manifest.reconstructs,
        "metrics": [metric.model_dump() for metric in published.metrics()],
    }
