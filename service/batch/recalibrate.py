"""What `oddglyph calibrate` does: score normal images of one's own, let a person look at the oddest, publish them."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from service import images
from service.atomic import replacing
from service.batch import sources
from service.batch.score import score_items
from service.batch.sources import Choice, Item
from service.batch.tally import Losses, Tally
from service.errors import SourceError
from service.images import Pixels
from service.published import artifact, calibration, grouping
from service.published.artifact import Artifact
from service.published.conformal import DEFAULT_ALPHA, CalibrationSet, Rule
from service.published.detector import Detector, Row
from service.published.manifest import Calibration

PICTURES_A_ROW = 10


@dataclass(frozen=True)
class Given:
    """The images that a person gives as normal: `sources` as named, the `paths` found, and how to read them.

    `groups` says which images belong together: "folder", or the name of a CSV file. `exclude` is a CSV file of images to
    leave out.
    """

    sources: tuple[str, ...]
    paths: tuple[Path, ...]
    choice: Choice
    invert: bool
    groups: str | None = None
    exclude: Path | None = None

    def items(self) -> Iterator[Item]:
        """Yield the images, not decoded yet."""
        return sources.stream(self.paths, self.choice, Losses())

    def place(self, name: str) -> str:
        """Return the id `name` of an image relative to the source that the image lies in."""
        inside = [path.as_posix() + "/" for path in self.paths if name.startswith(path.as_posix() + "/")]
        return name.removeprefix(max(inside, key=len, default=""))


@dataclass(frozen=True)
class Scored:
    """Normal images after scoring: the `rows` of all, in order, and those `kept` to calibrate on, with their `groups`."""

    rows: list[Row]
    kept: list[Row]
    groups: list[str] | None
    tally: Tally


def review(base: Artifact, given: Given, count: int, pictures: Path) -> tuple[str, str]:
    """Return the `count` oddest of the images `given` as CSV, and a sentence; write their pictures to the file `pictures`."""
    scored = _scored(base, given)
    kept = {row.id for row in scored.kept}
    places = [place for place, row in enumerate(scored.rows) if row.score is not None and row.id in kept]
    chosen = sorted(places, key=lambda place: -(scored.rows[place].score or 0.0))[:count]
    rows = [scored.rows[place] for place in chosen]
    captions = [f"{rank}  p {row.p_value:.2g}\n{given.place(row.id)}" for rank, row in enumerate(rows, start=1)]
    picture = images.captioned(_decoded(given, chosen, base.manifest.image_size), captions, PICTURES_A_ROW)
    with replacing(pictures) as path:
        path.write_bytes(images.encode_png(picture))
    told = (
        f"the {len(rows)} oddest of {len(kept):,} images; pictures: {pictures}; give those that are not normal to --exclude, "
        "and keep those that are normal but odd"
    )
    return _table(rows), told


def publish(base: Artifact, given: Given, models_dir: Path, name: str, *, replace: bool) -> str:
    """Publish `base` again as `models_dir`/`name`, calibrated on the images `given`; return what to tell, line by line.

    SourceError if too few images can be read, an image has no group, or an excluded one is not there; nothing is left then.
    """
    with artifact.staging(models_dir, name, replace=replace) as path:
        scored = _scored(base, given)
        made_of = Calibration(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            base=base.manifest.name,
            sources=given.sources,
            invert=given.invert,
            images=len(scored.kept),
            groups=None if scored.groups is None else len(set(scored.groups)),
            excluded=_readable(scored.rows) - len(scored.kept),
        )
        calibration.write(path, base, _calibration_set(scored), made_of)
    return "\n".join(_summary(base, scored, models_dir / name))


def _scored(base: Artifact, given: Given) -> Scored:
    detector, tally = Detector(base, "cpu"), Tally()
    excluded = set() if given.exclude is None else set(grouping.read_ids(given.exclude))
    table = None if given.groups in (None, grouping.FOLDER) else grouping.read_groups(Path(given.groups or ""))
    decision = detector.decide(Rule())
    rows = list(tally.count(score_items(given.items(), detector, decision, invert=given.invert)))
    names = {row.id: {row.id, given.place(row.id)} for row in rows}
    unknown = excluded.difference(*names.values()) if names else excluded
    if unknown:
        raise SourceError(f"{given.exclude}: expected ids of the images given, got {min(unknown)}; correct it")
    kept = [row for row in rows if row.score is not None and not names[row.id] & excluded]
    groups = None if given.groups is None else [_group(row.id, given, table) for row in kept]
    if groups and len(set(groups)) < 2:
        raise SourceError("groups: expected at least 2 among the normal images, got 1; leave --groups out")
    return Scored(rows, kept, groups, tally)


def _group(name: str, given: Given, table: dict[str, str] | None) -> str:
    place = given.place(name)
    if table is None:
        group = None if place == name else grouping.first_folder(place)
        wanted = "it in the folder of its group, SOURCE/GROUP/image.png, got none; name the folder above as SOURCE"
        return group or _refuse(f"{name}: expected {wanted}")
    return (
        table.get(name) or table.get(place) or _refuse(f"{given.groups}: expected a group for {name}, got none; add it")
    )


def _refuse(sentence: str) -> str:
    raise SourceError(sentence)


def _calibration_set(scored: Scored) -> CalibrationSet:
    scores = np.array([row.score for row in scored.kept], np.float32)
    order = np.argsort(scores, kind="stable")
    return CalibrationSet(scores[order], None if scored.groups is None else grouping.numbered(scored.groups)[order])


def _readable(rows: Sequence[Row]) -> int:
    return sum(row.score is not None for row in rows)


def _summary(base: Artifact, scored: Scored, out: Path) -> Iterator[str]:
    """Yield what is to be told: the counts, what excluding did, and a doubt in the images if there is one."""
    alarms, name = sum(bool(row.is_anomaly) for row in scored.kept), base.manifest.name
    groups = "" if scored.groups is None else f"groups: {len(set(scored.groups)):,}, "
    yield (
        f"normal images: {len(scored.kept):,}, of which {name} calls {alarms:,} anomalies "
        f"(p-value at most {DEFAULT_ALPHA:g}), {groups}unreadable: {scored.tally.errors:,}, out: {out}"
    )
    excluded = _readable(scored.rows) - len(scored.kept)
    if excluded:
        every, kept = (
            calibration.alarm_above(np.sort([row.score for row in rows if row.score is not None]))
            for rows in (scored.rows, scored.kept)
        )
        yield f"excluded: {excluded:,}; an image is an anomaly at {DEFAULT_ALPHA:g} above a score of {kept:.4g}, with them above {every:.4g}"
    doubt = calibration.doubt(alarms, len(scored.kept), len(base.calibration()))
    if doubt:
        yield f"warning: {name}: {doubt} (binomial test, level {calibration.LEVEL:g})"


def _decoded(given: Given, chosen: Sequence[int], size: int) -> Pixels:
    """Return the pixels [n, size, size] of the images at the places `chosen` among those given."""
    wanted = set(chosen)
    found = {
        place: item.pixels(size, invert=given.invert) for place, item in enumerate(given.items()) if place in wanted
    }
    return np.stack([found[place] for place in chosen])


def _table(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("id", "score", "p_value"))
    table.writerows((row.id, row.score, row.p_value) for row in rows)
    return text.getvalue()
