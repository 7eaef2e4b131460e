"""`oddglyph models`: one line for each published model, or all about one of them."""

import json
from pathlib import Path, PurePath
from typing import Annotated, Any

import typer

from service import terminal
from service.errors import UnknownModelError, one_of
from service.loading import complete
from service.options import MODELS_DIR, ModelsDir
from service.published import artifact, group
from service.published.artifact import Artifact
from service.published.conformal import DEFAULT_ALPHA
from service.published.guarantee import guarantee_of
from service.published.manifest import Manifest

MAX_LINE = 27  # characters for what a model is for, so that a line has at most 80
EXAMPLES = "Examples:\n\noddglyph models\n\noddglyph models mnist-0\n\noddglyph models --json"


def models(
    name: Annotated[
        str | None, typer.Argument(help="Only this one.", show_default="all", autocompletion=complete)
    ] = None,
    models_dir: ModelsDir = MODELS_DIR,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all metrics.")] = False,
) -> None:
    """List the published models, or describe one: what it is for, how good it is, what its p-values promise.

    A group, such as all-mnist, asks the detectors of all classes.
    """
    descriptions = _descriptions(models_dir)
    if name is not None and name not in descriptions:
        told = one_of(name, descriptions, "publish one")
        raise UnknownModelError(f"model {name!r}: {told}")
    chosen = [descriptions[name]] if name else list(descriptions.values())
    for folder in () if name else artifact.incomplete(models_dir):
        terminal.stderr.print(f"oddglyph: {folder} is left out, for it holds no {artifact.MANIFEST}")
    if as_json:
        typer.echo(json.dumps(chosen[0] if name else chosen, indent=2))
    elif name:
        terminal.card(_card(chosen[0]))
    else:
        head = ["name", "kind", "for", "AUROC"]
        typer.echo(terminal.aligned([head, *(_line(model) for model in chosen)]))
        terminal.stderr.print(f"models in {models_dir}; `oddglyph models NAME` describes one")


def _descriptions(models_dir: Path) -> dict[str, dict[str, Any]]:
    """Return what is known of each group and each model, by name: groups first, then detectors, then the others."""
    published = [artifact.load(path) for path in artifact.find(models_dir)]
    by_name = {each.manifest.name: _describe(each) for each in sorted(published, key=_by_kind)}
    groups = group.members(each.manifest for each in published)
    return {
        name: _describe_group(name, [by_name[member] for member in members]) for name, members in groups.items()
    } | by_name


def _by_kind(published: Artifact) -> tuple[bool, bool, str]:
    kind = published.manifest.kind
    return kind != "detector", kind != "generator", published.manifest.name


def _describe(published: Artifact) -> dict[str, Any]:
    manifest = published.manifest
    guarantee = guarantee_of(published) if manifest.kind == "detector" else None
    return {
        **manifest.model_dump(include={"name", "kind", "summary", "normal_classes", "class_names", "calibration"}),
        "data": PurePath(manifest.provenance.data).name,
        "members": [],
        "bytes": sum(published.file(name).stat().st_size for name in manifest.files),
        "calibration_size": guarantee and guarantee.images,
        "guarantee": guarantee and guarantee.model_dump(),
        "reconstructs": manifest.reconstructs,
        "trained": _origin(manifest),
        "metrics": [metric.model_dump() for metric in published.metrics()],
    }


def _describe_group(name: str, members: list[dict[str, Any]]) -> dict[str, Any]:
    classes = [member["normal_classes"][0] for member in members]
    return {
        **members[0],
        "name": name,
        "kind": "group",
        "summary": f"says which of {', '.join(classes)}, if any, an image looks like",
        "normal_classes": classes,
        "calibration": None,
        "members": [member["name"] for member in members],
        "bytes": sum(member["bytes"] for member in members),
        "calibration_size": min(member["calibration_size"] for member in members),
        "guarantee": None,
        "reconstructs": all(member["reconstructs"] for member in members),
        "trained": "",
        "metrics": [],
    }


def _origin(manifest: Manifest) -> str:
    source = manifest.provenance
    return f"{source.created}, {source.train_seconds / 60:,.0f} min on {source.device}: {source.command}"


def _for(model: dict[str, Any]) -> str:
    """Return what `model` is for, in few words."""
    classes = model["normal_classes"] or model["class_names"]
    named = ", ".join(classes)
    listed = named if len(classes) < 2 or len(named) + len(model["data"]) < MAX_LINE - 4 else f"{len(classes)} classes"
    return f"{listed} of {model['data']}" if model["kind"] != "generator" or classes else model["data"]


def _line(model: dict[str, Any]) -> list[str]:
    auroc = _metric(model, "auroc.score")
    return [model["name"], model["kind"], _for(model), f"{auroc['value']:.4f}" if auroc else ""]


def _metric(model: dict[str, Any], name: str) -> dict[str, Any] | None:
    return next((metric for metric in model["metrics"] if metric["name"] == name), None)


def _card(model: dict[str, Any]) -> list[list[str]]:
    classes = ", ".join(model["normal_classes"] or model["class_names"])
    guarantee, size = model["guarantee"], model["calibration_size"]
    command = "sample --model {} --out images.png" if model["kind"] == "generator" else "score --model {} SOURCE"
    rows = {
        "name": f"{model['name']}, a {model['kind']}",
        "summary": model["summary"],
        "normal" if model["normal_classes"] else "classes": f"{classes} of {model['data']}",
        "members": ", ".join(model["members"]),
        "calibration": f"{size:,} normal images; no p-value is below {1 / (size + 1):.2g}" if size else "",
        "promise": guarantee["statement"] if guarantee else "",
        "quality": _quality(model),
        "trained": model["trained"],
        "size": f"{model['bytes'] / 1e6:.1f} MB",
        "next": "" if model["kind"] == "classifier" else f"oddglyph {command.format(model['name'])}",
    }
    return [[name, text] for name, text in rows.items() if text]


def _quality(model: dict[str, Any]) -> str:
    shown = {
        "auroc.score": "AUROC",
        f"detection_rate.alpha_{DEFAULT_ALPHA:g}": f"anomalies detected at {DEFAULT_ALPHA:g}",
        f"false_alarm_rate.alpha_{DEFAULT_ALPHA:g}": f"false alarms at {DEFAULT_ALPHA:g}",
        "accuracy": "accuracy",
    }
    found = [(words, metric) for name, words in shown.items() if (metric := _metric(model, name))]
    return "; ".join(f"{words} {metric['value']:.4f} ± {metric['deviation']:.4f}" for words, metric in found)
