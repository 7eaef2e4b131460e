"""Few normal images: what calibration promises and what is detected, over many random draws of them."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from service.atomic import replacing
from service.errors import one_of
from service.images import Pixels
from service.published.conformal import conformal_p_values
from training import recipes
from training.benchmark.baselines import BASELINES, Floats, Score
from training.benchmark.detection import density
from training.data import DataSet, NormalSplit, split_normal
from training.errors import MetricError

ALPHAS = (0.01, 0.05)
SPLIT_SHARE = 0.2  # of the images, which a plain split holds out to calibrate
JUDGED = 500  # normal test images, and as many of other classes, at most


@dataclass(frozen=True)
class Draw:
    """What is asked for: `method` fitted on `images` training images of a class, drawn with the seed `draw`."""

    method: str
    data: str
    class_name: str
    images: int
    draw: int


@dataclass(frozen=True, kw_only=True)
class Outcome(Draw):
    """How well that did; the rates are at each of ALPHAS, and None for a method that is not calibrated."""

    auroc: float
    false_alarms: tuple[float, ...] | None
    detected: tuple[float, ...] | None
    seconds: float


Fit = Callable[[NormalSplit, int], tuple[Score, Floats | None]]


def by_all(normal: NormalSplit, seed: int) -> tuple[Score, Floats | None]:
    """Return `density` fitted on all images, and the scores of all by models that have not seen them."""
    return _density(normal, seed)


def by_split(normal: NormalSplit, seed: int) -> tuple[Score, Floats | None]:
    """Return `density` fitted on most images, and the scores of the others."""
    held_out = np.arange(len(normal.pixels)) < round(SPLIT_SHARE * len(normal.pixels))  # they are in random order
    rest = NormalSplit(normal.pixels[~held_out], normal.groups[~held_out], normal.held_out[~held_out])
    score, _ = _density(rest, seed)
    return score, score(normal.pixels[held_out])


def uncalibrated(normal: NormalSplit, seed: int) -> tuple[Score, Floats | None]:
    """Return `hog-knn` fitted on all images, for its AUROC only."""
    return BASELINES["hog-knn"](normal.pixels, seed), None


METHODS: dict[str, Fit] = {"density": by_all, "density-split": by_split, "hog-knn": uncalibrated}


def tasks(
    methods: Iterable[str], data_name: str, class_names: Sequence[str], sizes: Iterable[int], draws: int
) -> list[Draw]:
    """Return `draws` draws of each size, the classes in turn, for every method; MetricError for an unknown method."""
    wanted = tuple(methods)
    for name in wanted:
        if name not in METHODS:
            raise MetricError(f"method {name}: {one_of(name, METHODS, 'choose from them')}")
    return [
        Draw(method, data_name, class_names[draw % len(class_names)], size, draw)
        for size in sizes
        for draw in range(draws)
        for method in wanted
    ]


def run(todo: Sequence[Draw], data_set: DataSet, path: Path) -> Iterator[Outcome]:
    """Yield the outcome of each draw that the JSON file `path` does not hold yet, and add it there."""
    outcomes = read(path)
    done = {_asked(outcome) for outcome in outcomes}
    for draw in todo:
        if draw in done:
            continue
        outcomes.append(measure(draw, data_set))
        with replacing(path) as temporary:
            temporary.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1) + "\n")
        yield outcomes[-1]


def read(path: Path) -> list[Outcome]:
    """Return the outcomes in the JSON file `path`; none if there is no such file."""
    return [Outcome(**line) for line in json.loads(path.read_text())] if path.exists() else []


def measure(draw: Draw, data_set: DataSet) -> Outcome:
    """Return how well the draw's method does on test images of all classes; MetricError if there are too few images."""
    rng = np.random.default_rng(draw.draw)
    label = data_set.indices([draw.class_name])[0]
    start = time.perf_counter()
    score, calibration = METHODS[draw.method](_drawn(draw, data_set, label, rng), draw.draw)
    normal, anomalous = (score(pixels) for pixels in _judged(data_set, label, rng))
    labels = np.arange(len(normal) + len(anomalous)) >= len(normal)
    return Outcome(
        **asdict(draw),
        auroc=float(roc_auc_score(labels, np.concatenate([normal, anomalous]))),
        false_alarms=_alarms(normal, calibration),
        detected=_alarms(anomalous, calibration),
        seconds=round(time.perf_counter() - start, 1),
    )


def _density(normal: NormalSplit, seed: int) -> tuple[Score, Floats]:
    judge, calibration = density(normal, recipes.DensityRecipe(), seed)
    return lambda pixels: judge(pixels)["score"], calibration


def _drawn(draw: Draw, data_set: DataSet, label: int, rng: np.random.Generator) -> NormalSplit:
    train = data_set.train
    of_class = np.flatnonzero(train.labels == label)
    if len(of_class) < draw.images:
        raise MetricError(
            f"class {draw.class_name}: expected at least {draw.images} training images, got {len(of_class)}; "
            "lower --sizes"
        )
    chosen = rng.choice(of_class, draw.images, replace=False)
    return split_normal(train.pixels[chosen], draw.draw, None if train.groups is None else train.groups[chosen])


def _judged(data_set: DataSet, label: int, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """Return at most JUDGED normal test images, and as many of other classes."""
    test = data_set.test
    normal, others = (np.flatnonzero((test.labels == label) == wanted) for wanted in (True, False))
    if not len(normal) or not len(others):
        raise MetricError(
            f"data set {data_set.name}: expected normal and anomalous images in the test split, got "
            f"{len(normal):,} and {len(others):,}; add some"
        )
    first, second = (test.pixels[rng.permutation(indices)[:JUDGED]] for indices in (normal, others))
    return first, second


def _alarms(scores: Floats, calibration: Floats | None) -> tuple[float, ...] | None:
    """Return the share of `scores` with a p-value of at most each of ALPHAS."""
    if calibration is None:
        return None
    p_values = conformal_p_values(scores, np.sort(calibration))
    return tuple(float(np.mean(p_values <= alpha)) for alpha in ALPHAS)


def table(outcomes: Sequence[Outcome]) -> str:
    """Return Markdown: a row for each data set, size and method; means over draws, ± their standard error."""
    rates = [f"{what} at {alpha:g}" for alpha in ALPHAS for what in ("false alarms", "detected")]
    head = ["data", "images", "method", "AUROC, %", *rates, "seconds", "draws"]
    keys = sorted({(one.data, one.images) for one in outcomes})
    rows = [head, ["---"] * len(head)]
    for data, images in keys:
        for method in METHODS:
            group = [one for one in outcomes if (one.data, one.images, one.method) == (data, images, method)]
            if group:
                rows.append([data, f"{images:,}", f"`{method}`", *_cells(group)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _cells(group: Sequence[Outcome]) -> list[str]:
    rates = [
        _mean([values[k] for one in group if (values := getattr(one, name)) is not None], 4)
        for k in range(len(ALPHAS))
        for name in ("false_alarms", "detected")
    ]
    auroc = _mean([100 * one.auroc for one in group], 2)
    return [auroc, *rates, f"{np.mean([one.seconds for one in group]):.0f}", str(len(group))]


def _mean(values: Sequence[float], digits: int) -> str:
    """Return the mean and its standard error, or "-" of nothing."""
    if not values:
        return "-"
    array: NDArray[np.float64] = np.asarray(values)
    error = array.std(ddof=1) / np.sqrt(len(array)) if len(array) > 1 else float("nan")
    return f"{array.mean():.{digits}f} ± {error:.{digits}f}"


def _asked(outcome: Outcome) -> Draw:
    return Draw(outcome.method, outcome.data, outcome.class_name, outcome.images, outcome.draw)
