"""Our detectors against the detectors of scikit-learn and PyOD, on the same split."""

import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from service.atomic import replacing
from service.images import Pixels
from service.published.conformal import conformal_p_values
from service.published.detector import Detector
from training import data, recipes
from training.benchmark.baselines import BASELINES, Floats, Score
from training.data import DataSet, NormalSplit
from training.density.fitting import fit_density
from training.density.model import to_light
from training.density.neighbours import BATCH
from training.errors import MetricError
from training.fit import Job, make_fabric, train
from training.measure.detection import false_alarm_interval
from training.publish.detector import publish_detector
from training.publish.finished import Target, finished

DENSITIES = {
    "density": recipes.DensityRecipe(),
    "density-trimmed": recipes.DensityRecipe(contamination=0.1),  # the default guess of PyOD's detectors
}
RECIPES = tuple(name for name, recipe in recipes.RECIPES.items() if recipe.family == "autoencoder")
METHODS = (*DENSITIES, *BASELINES, *RECIPES)
Protocol = Literal["A", "B"]
JudgedOn = Literal["test", "train"]
OTHER_IMAGES = 3000  # training images of other classes that a method is judged on
CALIBRATION_SHARE, MAX_CALIBRATION = 0.2, 1000  # of methods that hold images out


@dataclass(frozen=True)
class Task:
    """What a method is asked for: in protocol A one class is normal, in B all but one; `limit` 0 means all images.

    `contamination` is the share of images of other classes among the normal training images, calibration included.
    Judged on "train", a method is tested on normal training images that were set aside and on OTHER_IMAGES training images
    of other classes. This serves to choose between methods without looking at the test split.
    """

    method: str
    data: str
    protocol: Protocol
    class_name: str
    seed: int
    limit: int = 0
    contamination: float = 0.0
    judged_on: JudgedOn = "test"


@dataclass(frozen=True, kw_only=True)
class Result(Task):
    """How well a method did. Rates are at the conformal p-value 0.01, except false_alarms_05."""

    auroc: float
    average_precision: float
    detected: float
    false_alarms: float
    false_alarms_05: float
    inside: bool
    seconds: float
    images_per_second: float | None = None  # of scoring; older files of results lack it


def tasks(
    methods: Iterable[str],
    data_name: str,
    protocol: Protocol,
    class_names: Iterable[str],
    seeds: Iterable[int],
    limit: int,
    contamination: float,
    judged_on: JudgedOn = "test",
) -> list[Task]:
    """Return one task for each method, class and seed; MetricError for an unknown method."""
    wanted, names = tuple(methods), tuple(class_names)
    unknown = set(wanted) - set(METHODS)
    whole = [name for name in wanted if name in RECIPES]
    if contamination and whole:
        raise MetricError(
            f"--contamination: expected a method that takes contaminated images, got {', '.join(whole)}; leave it at 0"
        )
    if unknown:
        raise MetricError(f"method {min(unknown)}: expected one of {', '.join(METHODS)}; choose from them")
    return [
        Task(method, data_name, protocol, name, seed, limit, contamination, judged_on)
        for seed in seeds
        for name in names
        for method in wanted
    ]


def run(todo: Sequence[Task], data_set: DataSet, root: Path, path: Path) -> Iterator[Result]:
    """Yield the result of each task that the JSON file `path` does not hold yet, and add it there."""
    results = read(path)
    done = {Task(*(getattr(result, field.name) for field in fields(Task))) for result in results}
    for task in todo:
        if task in done:
            continue
        results.append(measure(task, data_set, root))
        with replacing(path) as temporary:
            temporary.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")
        yield results[-1]


def read(path: Path) -> list[Result]:
    """Return the results in the JSON file `path`; none if there is no such file."""
    return [Result(**line) for line in json.loads(path.read_text())] if path.exists() else []


def measure(task: Task, data_set: DataSet, root: Path) -> Result:
    """Return how well the task's method does after it was fitted and calibrated on training images.

    MetricError if the images that it is judged on are not of both kinds, normal and anomalous.
    """
    label = data_set.indices([task.class_name])[0]
    normal_labels = [k for k in range(len(data_set.class_names)) if (k == label) == (task.protocol == "A")]
    normal = _limited(_normal(task, data_set, normal_labels), task.limit)
    if task.judged_on == "test":
        pixels, anomalous = _judged_on_test(task, data_set, normal_labels)
    else:
        normal, held_out = _set_aside(normal, MAX_CALIBRATION // 2)
        pixels, anomalous = _judged_on_train(task, data_set, normal_labels, held_out)
    _require_both_kinds(task, anomalous)
    start = time.perf_counter()
    score, calibration = _fit(task, data_set, normal_labels, normal, root)
    fitted = time.perf_counter()
    scores = score(pixels)
    end = time.perf_counter()
    return _result(task, scores, np.sort(calibration), anomalous, (end - start, end - fitted))


def _require_both_kinds(task: Task, anomalous: NDArray[np.bool_]) -> None:
    if anomalous.all() or not anomalous.any():
        raise MetricError(
            f"data set {task.data}: expected normal and anomalous images in the {task.judged_on} split, got "
            f"{(~anomalous).sum():,} and {anomalous.sum():,}; add some, or raise --limit"
        )


def _normal(task: Task, data_set: DataSet, labels: Sequence[int]) -> NormalSplit:
    """Return the training images of `labels`, contaminated by images of other classes, with their groups."""
    train = data_set.train
    groups = np.arange(len(train.labels)) if train.groups is None else train.groups
    pure, others = (np.flatnonzero(np.isin(train.labels, labels) == wanted) for wanted in (True, False))
    count = round(len(pure) * task.contamination / (1 - task.contamination))
    chosen = np.concatenate([pure, np.random.default_rng(task.seed).choice(others, count, replace=False)])
    return data.split_normal(train.pixels[chosen], task.seed, groups[chosen])


def _set_aside(normal: NormalSplit, most: int) -> tuple[NormalSplit, Pixels]:
    """Return `normal` without CALIBRATION_SHARE of its images, at most about `most`, in whole groups; and those images."""
    names, counts = np.unique(normal.groups, return_counts=True)
    order = np.random.default_rng(1).permutation(len(names))
    wanted = min(most, int(len(normal.pixels) * CALIBRATION_SHARE))
    whole = names[order[: max(1, int(np.searchsorted(np.cumsum(counts[order]), wanted, side="right")))]]
    aside = np.isin(normal.groups, whole)
    return NormalSplit(normal.pixels[~aside], normal.groups[~aside], normal.held_out[~aside]), normal.pixels[aside]


def _judged_on_test(task: Task, data_set: DataSet, labels: Sequence[int]) -> tuple[Pixels, NDArray[np.bool_]]:
    """Return test images, and which of them are anomalous."""
    order = np.random.default_rng(0).permutation(len(data_set.test.labels))[: task.limit or None]
    return data_set.test.pixels[order], ~np.isin(data_set.test.labels[order], labels)


def _judged_on_train(
    task: Task, data_set: DataSet, labels: Sequence[int], held_out: Pixels
) -> tuple[Pixels, NDArray[np.bool_]]:
    """Return normal images that were set aside with training images of other classes, and which are anomalous."""
    others = np.flatnonzero(~np.isin(data_set.train.labels, labels))
    chosen = data_set.train.pixels[np.random.default_rng(0).permutation(others)[: task.limit or OTHER_IMAGES]]
    pixels = np.concatenate([held_out, chosen])
    return pixels, np.arange(len(pixels)) >= len(held_out)


def table(results: Sequence[Result]) -> str:
    """Return Markdown: for each setting a table of all methods, with means over classes and seeds, AUROC in %."""
    sections: dict[str, list[Result]] = {}
    for result in results:
        sections.setdefault(_setting(result), []).append(result)
    return "\n".join(f"{setting}\n\n{_section(group)}" for setting, group in sections.items())


def _setting(task: Task) -> str:
    images = f"at most {task.limit:,} images" if task.limit else "all images"
    judged = "" if task.judged_on == "test" else ", judged on training images"
    return f"{task.data}, protocol {task.protocol}, {images}, contamination {task.contamination:g}{judged}"


def _section(results: Sequence[Result]) -> str:
    names = list(dict.fromkeys(result.class_name for result in results))
    methods = dict.fromkeys(result.method for result in results)
    head = ["method", *names, "mean AUROC", "worst", "detected", "false alarms", "at 0.05"]
    head += ["inside", "seconds", "images/s", "seeds"]
    lines = [head, ["---"] * len(head)]
    lines += [_line(method, [result for result in results if result.method == method], names) for method in methods]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _line(method: str, results: Sequence[Result], names: Sequence[str]) -> list[str]:
    by_class = [[r.auroc for r in results if r.class_name == name] for name in names]
    classes = [100 * float(np.mean(values)) if values else float("nan") for values in by_class]
    by_seed = [np.mean([r.auroc for r in results if r.seed == seed]) for seed in {r.seed for r in results}]
    speeds = [r.images_per_second for r in results if r.images_per_second is not None]
    return [
        method,
        *(f"{value:.2f}" for value in classes),
        f"{100 * np.mean(by_seed):.2f} ± {100 * np.std(by_seed):.2f}",
        f"{np.nanmin(classes):.2f}",
        f"{np.mean([r.detected for r in results]):.3f}",
        f"{np.mean([r.false_alarms for r in results]):.4f}",
        f"{np.mean([r.false_alarms_05 for r in results]):.4f}",
        f"{sum(r.inside for r in results)}/{len(results)}",
        f"{np.mean([r.seconds for r in results]):.0f}",
        f"{np.mean(speeds):.0f}" if speeds else "-",
        str(len(by_seed)),
    ]


def _result(
    task: Task, scores: Floats, calibration: Floats, anomalous: NDArray[np.bool_], seconds: tuple[float, float]
) -> Result:
    """Return the measures of `scores`; `seconds` are for the whole task and for scoring alone."""
    p_values = conformal_p_values(scores, calibration)
    false_alarms = float(np.mean(p_values[~anomalous] <= 0.01))
    low, high = false_alarm_interval(len(calibration), 0.01, int((~anomalous).sum()))
    return Result(
        **asdict(task),
        auroc=float(roc_auc_score(anomalous, scores)),
        average_precision=float(average_precision_score(anomalous, scores)),
        detected=float(np.mean(p_values[anomalous] <= 0.01)),
        false_alarms=false_alarms,
        false_alarms_05=float(np.mean(p_values[~anomalous] <= 0.05)),
        inside=low <= false_alarms <= high,
        seconds=round(seconds[0], 1),
        images_per_second=round(len(scores) / seconds[1]),
    )


def _fit(task: Task, data_set: DataSet, labels: Sequence[int], normal: NormalSplit, root: Path) -> tuple[Score, Floats]:
    """Return the fitted method's score, and its values for normal images that it was not fitted on."""
    if task.method in DENSITIES:
        return density(normal, DENSITIES[task.method], task.seed)
    if task.method in BASELINES:
        fitted_on, calibration = _set_aside(normal, MAX_CALIBRATION)
        score = BASELINES[task.method](fitted_on.pixels, task.seed)
        return score, score(calibration)
    return _whole(task, [data_set.class_names[label] for label in labels], root)


def density(normal: NormalSplit, recipe: recipes.DensityRecipe, seed: int) -> tuple[Score, Floats]:
    """Return the score by the density of our detectors alone, without an autoencoder, and its calibration scores."""
    fitted = fit_density(normal, recipe, seed, make_fabric("auto"))

    def score(pixels: Pixels) -> Floats:
        with torch.no_grad():
            parts = [fitted.density(batch)[0] for batch in to_light(pixels).split(BATCH)]
        return np.asarray(torch.cat(parts).numpy(), np.float64)

    return score, np.asarray(fitted.scores.numpy(), np.float64)


def _whole(task: Task, classes: Sequence[str], root: Path) -> tuple[Score, Floats]:
    """Return the combined score of the recipe that the task's method names, trained, published and run as ONNX."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        job = Job(recipes.resolve(task.method), task.data, root, tuple(classes), seed=task.seed, device="auto")
        artifact = publish_detector(finished(train(job, path / "run")), Target(path / "models", "model"), root)
        detector = Detector(artifact, "cpu")
    calibration = np.asarray(detector.calibration, np.float64)
    return lambda pixels: np.asarray(detector.score(pixels).score, np.float64), calibration


def _limited(normal: NormalSplit, limit: int) -> NormalSplit:
    kept = slice(limit or None)
    return NormalSplit(normal.pixels[kept], normal.groups[kept], normal.held_out[kept])
