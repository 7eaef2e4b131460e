"""The command `oddglyph`: score, calibrate, sample, models, serve."""

import json
import os
import signal
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from service import address, memory, terminal
from service.batch import recalibrate, sinks, sources
from service.batch.score import BATCH_SIZE, Tally, check_fdr, control_fdr, in_words, score_items
from service.errors import AddressError, OddglyphError
from service.options import (
    MODELS_DIR,
    Alpha,
    Column,
    Confidence,
    ControlFdr,
    Exclude,
    Groups,
    Invert,
    Key,
    ModelsDir,
    Pictures,
    Review,
    Source,
    Strict,
    Threads,
    WhichDevice,
)
from service.published import artifact, defaults, group
from service.published.artifact import Artifact
from service.published.conformal import DEFAULT_ALPHA, Rule
from service.published.detector import Detector
from service.published.generator import MAX_SEED, Generator
from service.published.group import Group
from service.published.guarantee import guarantee_of
from service.published.onnx_model import MAX_BATCH, Device
from service.terminal import stderr, stdout

MAX_SAMPLES = 10_000
BROKEN_SOURCE = 3
PORT_IN_USE = 4
SIGNALLED = 128  # plus the number of the signal, as in a shell
INTERRUPTED = SIGNALLED + signal.SIGINT

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

AnyDetector = Annotated[
    str | None,
    typer.Option(
        help="A detector from `oddglyph models`; or all-DATA, the detectors of all classes of DATA.",
        show_default="mnist-0, else the first",
    ),
]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"oddglyph {version('oddglyph')}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Score small images with a published model, or generate images."""


@app.command()
def score(
    source: Source,
    model: AnyDetector = None,
    models_dir: ModelsDir = MODELS_DIR,
    out: Annotated[
        Path | None, typer.Option(help="A .csv, .jsonl or .parquet file; standard output if absent.")
    ] = None,
    format_: Annotated[
        sinks.Format | None,
        typer.Option("--format", help="Format of the output.", show_default="by the name of --out, else csv"),
    ] = None,
    alpha: Alpha = DEFAULT_ALPHA,
    strict: Strict = False,
    confidence: Confidence = None,
    fdr: ControlFdr = False,
    invert: Invert = False,
    key: Key = None,
    column: Column = None,
    device: WhichDevice = "auto",
    threads: Threads = 0,
    batch_size: Annotated[
        int, typer.Option(min=1, max=MAX_BATCH, help="Number of images held in memory.")
    ] = BATCH_SIZE,
    keep_going: Annotated[
        bool,
        typer.Option("--keep-going", help=f"Exit with status 0 instead of {BROKEN_SOURCE} if a source breaks off."),
    ] = False,
) -> None:
    """Score images. An image that cannot be read becomes a row with an error.

    For example: oddglyph score digits/ --out scores.csv
    """
    choice, paths = sources.Choice(key, column), sources.find(source)
    format_of_out = sinks.choose_format(out, format_)
    sinks.check(out, paths)
    sources.check(paths, choice)
    detector, rule = _load_detector(model, models_dir, device, threads), Rule(alpha, strict, confidence)
    decision = detector.decide(rule)
    check_fdr(rule, wanted=fdr)
    if decision.note:
        stderr.print(f"oddglyph: note: {decision.note}")
    to_terminal = out is None and sys.stdout.isatty()
    tally, losses, started = Tally(), sources.Losses(), time.monotonic()
    with terminal.progress(disable=to_terminal or sys.stderr is None or not sys.stderr.isatty()) as progress:
        items = progress.track(sources.stream(paths, choice, losses), description="images")
        rows = score_items(items, detector, decision, invert=invert, batch_size=batch_size)
        rows = tally.count(control_fdr(rows, alpha) if fdr else rows)
        if to_terminal and format_ is None:
            terminal.show(rows)
        else:
            sinks.write(rows, out, format_of_out)
    rate = tally.images / (time.monotonic() - started)
    stderr.print(
        f"images: {tally.images:,}, anomalies: {tally.anomalies:,} ({in_words(rule, decision, fdr=fdr)}), unreadable: {tally.errors:,}, "
        f"{losses}images/s: {rate:,.0f}, model: {detector.name}, out: {out or 'standard output'}"
    )
    if losses.broken and not keep_going:
        raise typer.Exit(BROKEN_SOURCE)


@app.command()
def calibrate(
    source: Source,
    name: Annotated[str, typer.Option(help="Name of the new detector.")],
    model: Annotated[
        str | None, typer.Option(help="A detector from `oddglyph models`.", show_default="mnist-0, else the first")
    ] = None,
    models_dir: ModelsDir = MODELS_DIR,
    groups: Groups = None,
    review: Review = None,
    pictures: Pictures = Path("review.png"),
    exclude: Exclude = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an existing model of this name.")] = False,
    invert: Invert = False,
    key: Key = None,
    column: Column = None,
) -> None:
    """Re-calibrate a detector on your own normal images.

    The new detector has p-values for images like yours. Nothing is trained.

    For example: oddglyph calibrate my-zeros/ --name my-zeros
    """
    choice, paths = sources.Choice(key, column), sources.find(source)
    sources.check(paths, choice)
    given = recalibrate.Given(tuple(source), tuple(paths), choice, invert, groups, exclude)
    base = _load(model, "detector", models_dir)
    if review:
        sinks.check(pictures, paths)
        table, told = recalibrate.review(base, given, review, pictures)
        typer.echo(table, nl=False)
    else:
        artifact.require_free(models_dir, name, replace=replace)
        told = recalibrate.publish(base, given, models_dir, name, replace=replace)
    stderr.print(told)


@app.command()
def sample(
    out: Annotated[
        Path, typer.Option(help="A .png file, one grid of all images; or a .npy file, an array [N, H, W, 3].")
    ],
    class_name: Annotated[
        str | None, typer.Option("--class", help="Name or index of a class.", show_default="all in turn")
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=MAX_SAMPLES, help="Number of images.")] = 16,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="The same seed gives the same images.")] = 0,
    model: Annotated[
        str | None,
        typer.Option(help="A generator from `oddglyph models`.", show_default="cifar10-cond, else the first"),
    ] = None,
    models_dir: ModelsDir = MODELS_DIR,
    device: WhichDevice = "auto",
    threads: Threads = 0,
) -> None:
    """Generate images.

    For example: oddglyph sample --class cat --count 16 --seed 7 --out cats.png
    """
    sinks.check_pixels(out)
    generator = Generator(_load(model, "generator", models_dir), device, threads)
    sinks.write_pixels(generator.sample(class_name, count, seed), out)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all addresses.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port to listen on.")] = 3000,
    models_dir: ModelsDir = MODELS_DIR,
    device: WhichDevice = "auto",
) -> None:
    """Serve the published models over HTTP until interrupted.

    The exit status is 4 if the address is not free.
    """
    address.check(host, port)
    settings = {"ODDGLYPH_MODELS": str(models_dir.resolve()), "ODDGLYPH_DEVICE": device}
    options = ["--working-dir", str(Path(__file__).parents[1]), "--host", host, "--port", str(port)]
    command = [sys.executable, "-m", "bentoml", "serve", "service.api:Oddglyph", *options]
    os.execve(sys.executable, command, os.environ | settings)


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="Only this one.", show_default="all")] = None,
    models_dir: ModelsDir = MODELS_DIR,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with all metrics.")] = False,
) -> None:
    """List the published models, or describe one: what its p-values promise."""
    names = [name] if name else [path.name for path in artifact.find(models_dir)]
    descriptions = [_describe(artifact.load_named(models_dir, each)) for each in names]
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


def _load(name: str | None, kind: Literal["detector", "generator"], models_dir: Path) -> Artifact:
    manifests = map(artifact.read_manifest, artifact.find(models_dir))
    return artifact.load_named(models_dir, name or defaults.model_name(kind, manifests))


def _load_detector(name: str | None, models_dir: Path, device: Device, threads: int) -> Detector | Group:
    paths = artifact.find(models_dir)
    groups = group.members(map(artifact.read_manifest, paths))
    if name not in groups or name in {path.name for path in paths}:
        return Detector(_load(name, "detector", models_dir), device, threads)
    return Group(name, [Detector(artifact.load(models_dir / member), device, threads) for member in groups[name]])


def _describe(published: Artifact) -> dict[str, Any]:
    manifest = published.manifest
    guarantee = guarantee_of(published) if manifest.kind == "detector" else None
    return {
        **manifest.model_dump(include={"name", "kind", "summary", "normal_classes", "class_names", "calibration"}),
        "bytes": sum(published.file(name).stat().st_size for name in manifest.files),
        "calibration_size": guarantee and guarantee.images,
        "guarantee": guarantee and guarantee.model_dump(),
        "metrics": [metric.model_dump() for metric in published.metrics()],
    }


def main() -> None:
    """Run the command. An error is printed as one sentence, and the exit status is 1, or PORT_IN_USE for a taken port."""
    memory.bound()
    for name in ("SIGTERM", "SIGHUP"):  # exit in order, so that temporary files are removed; Windows has no SIGHUP
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda received, _: sys.exit(SIGNALLED + received))
    try:
        app()
    except OddglyphError as error:
        stderr.print(f"oddglyph: error: {error}")
        sys.exit(PORT_IN_USE if isinstance(error, AddressError) else 1)
    except SystemExit as status:
        if status.code == INTERRUPTED:
            stderr.print("oddglyph: interrupted; no file was written")
        raise


if __name__ == "__main__":
    main()
