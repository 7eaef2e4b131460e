"""`oddglyph score`."""

import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from service import terminal
from service.batch import shards, sinks, sources
from service.batch.score import BATCH_SIZE, Tally, check_plain, control_fdr, in_words, score_items
from service.commands.loading import load_detector
from service.errors import SourceError
from service.options import (
    MODELS_DIR,
    Alpha,
    Column,
    Confidence,
    ControlFdr,
    Invert,
    Key,
    ModelsDir,
    Source,
    Strict,
    Threads,
    WatchDrift,
    WhichDevice,
)
from service.published.conformal import DEFAULT_ALPHA, Rule
from service.published.drift import DriftMonitor
from service.published.onnx_model import MAX_BATCH
from service.terminal import stderr

BROKEN_SOURCE = 3

AnyDetector = Annotated[
    str | None,
    typer.Option(
        help="A detector from `oddglyph models`; or all-DATA, the detectors of all classes of DATA.",
        show_default="mnist-0, else the first",
    ),
]


def score(
    source: Source,
    model: AnyDetector = None,
    models_dir: ModelsDir = MODELS_DIR,
    out: Annotated[
        Path | None,
        typer.Option(
            help="A .csv, .jsonl or .parquet file; or a folder, which is filled with Parquet files. A run into a folder that "
            "was interrupted goes on when the command is repeated. Standard output if absent."
        ),
    ] = None,
    format_: Annotated[
        sinks.Format | None,
        typer.Option("--format", help="Format of the output.", show_default="by the name of --out, else csv"),
    ] = None,
    alpha: Alpha = DEFAULT_ALPHA,
    strict: Strict = False,
    confidence: Confidence = None,
    fdr: ControlFdr = False,
    drift: WatchDrift = False,
    invert: Invert = False,
    key: Key = None,
    column: Column = None,
    device: WhichDevice = "auto",
    threads: Threads = 0,
    batch_size: Annotated[
        int, typer.Option(min=1, max=MAX_BATCH, help="Number of images held in memory.")
    ] = BATCH_SIZE,
    shard_rows: Annotated[int, typer.Option(min=1, help="Rows of a file, if --out is a folder.")] = shards.SHARD_ROWS,
    keep_going: Annotated[
        bool,
        typer.Option("--keep-going", help=f"Exit with status 0 instead of {BROKEN_SOURCE} if a source breaks off."),
    ] = False,
) -> None:
    """Score images. An image that cannot be read becomes a row with an error.

    For example: oddglyph score digits/ --out scores.csv
    """
    choice, paths = sources.Choice(key, column), sources.find(source)
    folder, written_as = _destination(out, format_, paths)
    sources.check(paths, choice)
    detector, rule = load_detector(model, models_dir, device, threads), Rule(alpha, strict, confidence)
    decision = detector.decide(rule)
    check_plain(rule, "--fdr", wanted=fdr)
    check_plain(rule, "--drift", wanted=drift)
    if decision.note:
        stderr.print(f"oddglyph: note: {decision.note}")
    to_terminal = out is None and sys.stdout.isatty()
    tally = Tally(monitor=DriftMonitor(detector.calibration_sets) if drift else None)
    losses, started = sources.Losses(), time.monotonic()
    score_all = partial(score_items, detector=detector, decision=decision, invert=invert, batch_size=batch_size)
    with terminal.progress(disable=to_terminal or sys.stderr is None or not sys.stderr.isatty()) as progress:
        items = iter(progress.track(sources.stream(paths, choice, losses), description="images"))
        if folder:
            how = {**asdict(choice), **asdict(rule), "invert": invert, "batch_size": batch_size}
            names, models = [path.as_posix() for path in paths], shards.fingerprints(detector)
            job = shards.Job(names, models, shard_rows, alpha if fdr else None, how)
            shards.write(folder, job, items, score_all, tally)
        else:
            rows = tally.count(control_fdr(score_all(items), alpha) if fdr else score_all(items))
            if to_terminal and format_ is None:
                terminal.show(rows)
            else:
                sinks.write(rows, out, written_as)
    rate = tally.images / (time.monotonic() - started)
    stderr.print(
        f"images: {tally.images:,}, anomalies: {tally.anomalies:,} ({in_words(rule, decision, fdr=fdr)}), unreadable: {tally.errors:,}, "
        f"{losses}images/s: {rate:,.0f}, model: {detector.name}, out: {out or 'standard output'}"
    )
    if tally.monitor:
        stderr.print(f"drift: {tally.monitor.drift}")
    if losses.broken and not keep_going:
        raise typer.Exit(BROKEN_SOURCE)


def _destination(out: Path | None, name: sinks.Format | None, paths: list[Path]) -> tuple[Path | None, sinks.Format]:
    """Return the folder to write into, None for a file or standard output, and the format; SourceError if it cannot be."""
    if out is None or not shards.is_folder(out):
        written_as = sinks.choose_format(out, name)
        sinks.check(out, paths)
        return None, written_as
    if name not in (None, "parquet"):
        raise SourceError(f"{out}: expected parquet for the files of a folder, got {name}; leave out --format")
    return out, "parquet"
