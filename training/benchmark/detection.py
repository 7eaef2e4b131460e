"""Our detectors against the detectors of scikit-learn and PyOD, on the same split."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from service.atomic import replacing
from service.errors import one_of
from service.images import Pixels
from service.published.conformal import conformal_p_values
from training import data, recipes
from training.benchmark.baselines import BASELINES, Floats
from training.data import DataSet, NormalSplit
from training.density.fitting import fit_density
from training.density.model import to_light
from training.density.neighbours import BATCH
from training.errors import MetricError
from training.export import run_torch
from training.fit import make_fabric, train_autoencoder
from training.measure.detection import false_alarm_interval
from training.publish.detector_graph import calibration_scores, graph_of

TOLERANT = recipes.DensityRecipe().strokes.model_copy(update={"tolerance": recipes.DensityRecipe().surfaces.tolerance})
DENSITIES = {
    "density": recipes.DensityRecipe(),
    "density-trimmed": recipes.DensityRecipe(contamination=0.1),  # the default guess of PyOD's detectors
    "density-core": recipes.DensityRecipe(strokes=TOLERANT),  # of digits, too, images far from the core are left out
}
RECIPES = tuple(name for name, recipe in recipes.RECIPES.items() if isinstance(recipe, recipes.AutoencoderRecipe))
METHODS = (*DENSITIES, *BASELINES, *RECIPES)
Protocol = Literal["A", "B"]
JudgedOn = Literal["test", "train"]
OTHER_IMAGES = 3000  # training images of other classes that a method is judged on
CALIBRATION_SHARE, MAX_CALIBRATION = 0.2, 1000  # of methods that hold images out
Parts = dict[str, Floats]  # "score", and what else a recipe gives each image, by name
Judge = Callable[[Pixels], Parts]


@dataclass(frozen=True)
class Task:
    """What a method is asked for: in protocol A one class is normal, in B all but one; `limit` 0 means all images.

    `contamination` is the share of images of other classes among the normal training images, calibration included.
    Judged on "train", a method is tested on normal training images that were set aside and on OTHER_IMAGES training images
    of other classes. This serves to choose between methods without looking at the test split. `changes`
    to the fields of a recipe are written like "epochs=5 latent_size=64".
    """

    method: str
    data: str
    protocol: Protocol
    class_name: str
    seed: int
    limit: int = 0
    contamination: float = 0.0
    judged_on: JudgedOn = "test"
    changes: str = ""

    @property
    def label(self) -> str:
        """What a table calls the method."""
        return f"{self.method} {self.changes}".strip()


@dataclass(frozen=True, kw_only=True)
class Result(Task):
    """How well a method did. Rates are at the conformal p-value 0.01, except false_alarms_05.

    `parts` has the AUROC of what a recipe gives each image besides its score: l_con, latent and density.
    """

    auroc: float
    average_precision: float
    detected: float
    false_alarms: float
    false_alarms_05: float
    inside: bool
    seconds: float
    images_per_second: float | None = None  # of scoring; older files of results lack it
    parts: dict[str, float] = field(default_factory=dict)


def tasks(
    methods: Iterable[str],
    data_name: str,
    protocol: Protocol,
    class_names: Iterable[str],
    seeds: Iterable[int],
    limit: int,
    contamination: float,
    judged_on: JudgedOn = "test",
    changes: Sequence[str] = (),
) -> list[Task]:
    """Return one task for each method, class and seed; MetricError for an unknown method, RecipeError for bad `changes`.

    `changes` are for the recipes among the methods.
    """
    wanted, names = tuple(methods), tuple(class_names)
    unknown = set(wanted) - set(METHODS)
    if unknown:
        raise MetricError(f"method {min(unknown)}: {one_of(min(unknown), METHODS, 'choose from them')}")
    changed = {method: " ".join(changes) if method in RECIPES else "" for method in wanted}
    if changes and not any(changed.values()):
        raise MetricError(f"--set: expected a recipe among the methods, got {', '.join(wanted)}; leave it out")
    for method in changed.keys() & set(RECIPES):
        recipes.resolve(method, changes)
    return [
        Task(method, data_name, protocol, name, seed, limit, contamination, judged_on, changed[method])
        for seed in seeds
        for name in names
        for method in wanted
    ]


def run(todo: Sequence[Task], data_set: DataSet, path: Path) -> Iterator[Result]:
    """Yield the result of each task that the JSON file `path` does not hold yet, and add it there."""
    results = read(path)
    done = {Task(*(getattr(result, field.name) for field in fields(Task))) for result in results}
    for task in todo:
        if task in done:
            continue
        results.append(measure(task, data_set))
        with replacing(path) as temporary:
            temporary.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")
        yield results[-1]


def read(path: Path) -> list[Result]:
    """Return the results in the JSON file `path`; none if there is no such file."""
    return [Result(**line) for line in json.loads(path.read_text())] if path.exists() else []


def measure(task: Task, data_set: DataSet) -> Result:
    """Return how well the task's method does after it was fitted and calibrated on training images.

    MetricError if the images that it is judged on are not of both kinds, normal and anomalous.
    """
    label = data_set.indices([task.class_name])[0]
    normal_labels = [k for k in range(len(data_set.class_names)) if (k == label) == (task.protocol == "A")]
    normal = _normal(task, data_set, normal_labels)
    if task.judged_on == "test":
        pixels, anomalous = _judged_on_test(task, data_set, normal_labels)
    else:
        normal, held_out = _set_aside(normal, MAX_CALIBRATION // 2)
        pixels, anomalous = _judged_on_train(task, data_set, normal_labels, held_out)
    _require_both_kinds(task, anomalous)
    normal = _contaminated(task, data_set, normal_labels, normal)
    start = time.perf_counter()
    judge, calibration = _fit(task, normal)
    fitted = time.perf_counter()
    parts = judge(pixels)
    end = time.perf_counter()
    return _result(task, parts, np.sort(calibration), anomalous, (end - start, end - fitted))


def _require_both_kinds(task: Task, anomalous: NDArray[np.bool_]) -> None:
    if anomalous.all() or not anomalous.any():
        raise MetricError(
            f"data set {task.data}: expected normal and anomalous images in the {task.judged_on} split, got "
            f"{(~anomalous).sum():,} and {anomalous.sum():,}; add some, or raise --limit"
        )


def _normal(task: Task, data_set: DataSet, labels: Sequence[int]) -> NormalSplit:
    """Return training images of `labels`, at most `task.limit`, with their groups."""
    train = data_set.train
    groups = np.arange(len(train.labels)) if train.groups is None else train.groups
    chosen = np.flatnonzero(np.isin(train.labels, labels))[: task.limit or None]
    return data.split_normal(train.pixels[chosen], task.seed, groups[chosen])


def _contaminated(task: Task, data_set: DataSet, labels: Sequence[int], normal: NormalSplit) -> NormalSplit:
    """Return `normal`, followed by training images of other classes that are not judged: `task.contamination` of all."""
    count = round(len(normal.pixels) * task.contamination / (1 - task.contamination))
    if not count:
        return normal
    train = data_set.train
    others = np.flatnonzero(~np.isin(train.labels, labels))
    if task.judged_on == "train":
        others = np.setdiff1d(others, _judged_others(task, data_set, labels))
    chosen = np.random.default_rng(task.seed).choice(others, count, replace=False)
    groups = np.arange(len(train.labels)) if train.groups is None else train.groups
    return data.split_normal(
        np.concatenate([normal.pixels, train.pixels[chosen]]),
        task.seed,
        np.concatenate([normal.groups, groups[chosen]]),
    )


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
    pixels = np.concatenate([held_out, data_set.train.pixels[_judged_others(task, data_set, labels)]])
    return pixels, np.arange(len(pixels)) >= len(held_out)


def _judged_others(task: Task, data_set: DataSet, labels: Sequence[int]) -> NDArray[np.intp]:
    """Return the positions of the training images of other classes that a method is judged on."""
    others = np.flatnonzero(~np.isin(data_set.train.labels, labels))
    return np.random.default_rng(0).permutation(others)[: task.limit or OTHER_IMAGES]


def _result(
    task: Task, parts: Parts, calibration: Floats, anomalous: NDArray[np.bool_], seconds: tuple[float, float]
) -> Result:
    """Return the measures of the scores among `parts`; `seconds` are for the whole task and for scoring alone."""
    scores = parts["score"]
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
        parts={name: float(roc_auc_score(anomalous, part)) for name, part in parts.items() if name != "score"},
    )


def _fit(task: Task, normal: NormalSplit) -> tuple[Judge, Floats]:
    """Return what the fitted method gives images, and its calibration scores."""
    if task.method in DENSITIES:
        return density(normal, DENSITIES[task.method], task.seed)
    if task.method in BASELINES:
        fitted_on, calibration = _set_aside(normal, MAX_CALIBRATION)
        score = BASELINES[task.method](fitted_on.pixels, task.seed)
        return lambda pixels: {"score": score(pixels)}, score(calibration)
    return _whole(task, normal)


def density(normal: NormalSplit, recipe: recipes.DensityRecipe, seed: int) -> tuple[Judge, Floats]:
    """Return the score by the density of our detectors alone, without an autoencoder, and its calibration scores."""
    fitted = fit_density(normal, recipe, seed, make_fabric("auto"))

    def judge(pixels: Pixels) -> Parts:
        with torch.no_grad():
            parts = [fitted.density(batch)[0] for batch in to_light(pixels).split(BATCH)]
        return {"score": np.asarray(torch.cat(parts).numpy(), np.float64)}

    return judge, np.asarray(fitted.scores.numpy(), np.float64)


def _whole(task: Task, normal: NormalSplit) -> tuple[Judge, Floats]:
    """Return what a detector by the task's recipe gives images, run in torch, and its calibration scores."""
    recipe, fabric = recipes.resolve(task.method, task.changes.split()), make_fabric("auto")
    assert isinstance(recipe, recipes.AutoencoderRecipe)
    learner = train_autoencoder(recipe, normal, task.seed, fabric)
    fitted = fit_density(normal, recipe.density, task.seed, fabric)
    graph = graph_of(recipe, learner.autoencoder.cpu().state_dict(), fitted, normal.validation)

    def judge(pixels: Pixels) -> Parts:
        every = [
            run_torch(graph, {"pixels": pixels[k : k + BATCH]}, graph.OUTPUTS) for k in range(0, len(pixels), BATCH)
        ]
        names = ("score", "l_con", "latent", "density")
        return {name: np.concatenate([part[name] for part in every]).astype(np.float64) for name in names}

    calibration = calibration_scores(graph, normal.pixels[fitted.indices.numpy()], fitted.scores)
    return judge, np.asarray(calibration.numpy(), np.float64)
