"""`oddglyph score`: images in, rows with scores out, and a summary."""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import typer

from service import terminal
from service.batch import shards, sinks, sources
from service.batch.score import BATCH_SIZE, check_plain, control_fdr, in_words, score_items
from service.batch.sources import Item
from service.batch.tally import Losses, Tally
from service.errors import SourceError
from service.loading import load_detector
from service.options import (
    BROKEN_SOURCE,
    MODELS_DIR,
    Alpha,
    AnyDetector,
    BatchSize,
    Column,
    Confidence,
    ControlFdr,
    Invert,
    JsonSummary,
    KeepGoing,
    Key,
    ModelsDir,
    Out,
    OutFormat,
    Quiet,
    ShardRows,
    Source,
    Strict,
    Threads,
    WatchDrift,
    WhichDevice,
)
from service.published.conformal import DEFAULT_ALPHA, Rule
from service.published.drift import DriftMonitor
from service.terminal import stderr

EXAMPLES = (
    "Examples:\n\noddglyph score digits/ --out scores.csv\n\n"
    "oddglyph score 'scans/*.png' --model all-mnist --invert\n\noddglyph score digits.npz --key x_test --alpha 0.01 --fdr"
)


@dataclass(frozen=True)
class Summary:
    """What a run of `oddglyph score` did, for people as lines, for programs as JSON."""

    images: int
    anomalies: int
    rule: str
    unreadable: int
    broken_sources: int
    passed_over: int
    images_per_second: float
    model: str
    out: str
    drift: str | None

    def __str__(self) -> str:
        """Return a line for people, and a second one if drift was watched."""
        losses = Losses(self.broken_sources, self.passed_over)
        drift = f"\ndrift: {self.drift}" if self.drift else ""
        return (
            f"images: {self.images:,}, anomalies: {self.anomalies:,} ({self.rule}), unreadable: {self.unreadable:,}, "
            f"{losses}images/s: {self.images_per_second:,.0f}, model: {self.model}, out: {self.out}{drift}"
        )


def score(
    source: Source,
    model: AnyDetector = None,
    models_dir: ModelsDir = MODELS_DIR,
    out: Out = None,
    format_: OutFormat = None,
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
    batch_size: BatchSize = BATCH_SIZE,
    shard_rows: ShardRows = shards.SHARD_ROWS,
    keep_going: KeepGoing = False,
    quiet: Quiet = False,
    as_json: JsonSummary = False,
) -> None:
    """Score images. An image that cannot be read becomes a row with an error."""
    choice, paths, rule = sources.Choice(key, column), sources.find(source), Rule(alpha, strict, confidence)
    destination = _destination(out, format_, paths)
    sources.check(paths, choice)
    detector = load_detector(model, models_dir, device, threads)
    decision = detector.decide(rule)
    check_plain(rule, "--fdr", wanted=fdr)
    check_plain(rule, "--drift", wanted=drift)
    if decision.note:
        stderr.print(f"oddglyph: note: {decision.note}")
    tally, losses, started = Tally(), Losses(), time.monotonic()
    if drift:
        tally.monitor = DriftMonitor(detector.calibration_sets)
    score_all = partial(score_items, detector=detector, decision=decision, invert=invert, batch_size=batch_size)
    how = {**asdict(choice), **asdict(rule), "invert": invert, "batch_size": batch_size}
    job = shards.Job(paths, shards.fingerprints(detector), shard_rows, alpha if fdr else None, how)
    _write(sources.stream(paths, choice, losses), score_all, destination, job, tally, quiet=quiet)
    rate = tally.images / (time.monotonic() - started)
    summary = _summary(tally, losses, in_words(rule, decision, fdr=fdr), rate, detector.name, out)
    if as_json or not quiet:
        stderr.print(json.dumps(asdict(summary)) if as_json else str(summary))
    if losses.broken and not keep_going:
        raise typer.Exit(BROKEN_SOURCE)


def _summary(tally: Tally, losses: Losses, rule: str, rate: float, model: str, out: Path | None) -> Summary:
    return Summary(
        images=tally.images,
        anomalies=tally.anomalies,
        rule=rule,
        unreadable=tally.errors,
        broken_sources=losses.broken,
        passed_over=losses.skipped,
        images_per_second=rate,
        model=model,
        out="standard output" if out is None else str(out),
        drift=str(tally.monitor.drift) if tally.monitor else None,
    )


@dataclass(frozen=True)
class _Destination:
    """Where rows go: standard output if `out` is None. As a table if `as_table`, else in `format`."""

    out: Path | None
    format: sinks.Format
    is_folder: bool = False
    as_table: bool = False


def _destination(out: Path | None, name: sinks.Format | None, paths: list[Path]) -> _Destination:
    """Return where rows go; SourceError if they cannot."""
    if out is None or not shards.is_folder(out):
        format_ = sinks.choose_format(out, name)
        sinks.check(out, paths)
        return _Destination(out, format_, as_table=out is None and name is None and sys.stdout.isatty())
    if name not in (None, "parquet"):
        raise SourceError(f"{out}: expected parquet for the files of a folder, got {name}; leave out --format")
    return _Destination(out, "parquet", is_folder=True)


def _write(
    items: Iterator[Item], score: shards.Score, to: _Destination, job: shards.Job, tally: Tally, *, quiet: bool
) -> None:
    """Show progress, unless `quiet`, while `items` are scored and their rows written `to` a place, counted by `tally`."""
    shows_rows = to.out is None and sys.stdout.isatty()
    with terminal.progress(disable=quiet or shows_rows) as progress:
        items = iter(progress.track(items, description="images"))
        if to.out and to.is_folder:
            shards.write(to.out, job, items, score, tally)
            return
        rows = score(items)
        rows = tally.count(rows if job.fdr is None else control_fdr(rows, job.fdr))
        if to.as_table:
            terminal.show(rows)
        else:
            sinks.write(rows, to.out, to.format)
