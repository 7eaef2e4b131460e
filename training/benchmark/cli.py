"""The commands `oddglyph-train benchmark`: detection, few-images, corruptions."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from training.errors import MetricError
from training.options import DATA_ROOT, MODELS_DIR, Changes, DataRoot, ModelsDir
from training.switches import IMAGE_SIZE

if TYPE_CHECKING:
    from service.images import Pixels
    from service.published.manifest import Manifest

app = typer.Typer(
    no_args_is_help=True,
    help="Measure methods against each other.",
    epilog="Examples:\n\noddglyph-train benchmark detection --methods density,pca",
)
console = Console()

Out = Annotated[Path, typer.Option(help="Results go to OUT.json and OUT.md. Finished results there are kept.")]
OUT = Path("reports/detection")


@app.command(epilog="Examples:\n\noddglyph-train benchmark detection --methods density,pca --classes 0,8 --limit 500")
def detection(
    data_name: Annotated[str, typer.Option("--data", help="As for fit; it needs a test split.")] = "mnist",
    data_root: DataRoot = DATA_ROOT,
    methods: Annotated[str, typer.Option(help="With commas between; an unknown name lists all.")] = "density,pca,knn",
    classes: Annotated[str, typer.Option(help="With commas between; all if not given.")] = "",
    seeds: Annotated[str, typer.Option(help="With commas between.")] = "0",
    protocol: Annotated[Literal["A", "B"], typer.Option(help="A: one class is normal; B: all but one.")] = "A",
    limit: Annotated[
        int, typer.Option(min=0, help="The most images to fit and calibrate on, and to test on; 0: all.")
    ] = 0,
    contamination: Annotated[
        float,
        typer.Option(
            min=0, max=0.5, help="Contamination: the share of other classes among the normal training images."
        ),
    ] = 0.0,
    judge_on: Annotated[
        Literal["test", "train"], typer.Option(help="train: held-out training images, to choose between methods.")
    ] = "test",
    changes: Changes = None,
    out: Out = OUT,
) -> None:
    """Compare detectors: fit and calibrate each on training images, judge each on the test split."""
    from training import data_sets
    from training.benchmark import detection, table

    numbers = _numbers("--seeds", seeds)
    data_set = data_sets.load(data_name, data_root, IMAGE_SIZE)
    labels = data_set.indices(classes.split(",") if classes else data_set.class_names)
    names = [data_set.class_names[label] for label in labels]
    wanted = methods.split(",")
    todo = detection.tasks(wanted, data_name, protocol, names, numbers, limit, contamination, judge_on, changes or ())
    out.parent.mkdir(parents=True, exist_ok=True)
    results = out.with_name(f"{out.name}.json")
    for result in detection.run(todo, data_set, results):
        console.print(f"{result.method} {result.class_name} seed {result.seed}: AUROC {100 * result.auroc:.2f} %")
    page = table.table(detection.read(results))
    out.with_name(f"{out.name}.md").write_text(page)
    console.print(page, soft_wrap=True, highlight=False, markup=False)


@app.command(
    "few-images",
    epilog="Examples:\n\noddglyph-train benchmark few-images --methods density --classes 0 --sizes 50 --draws 10",
)
def few_images(
    data_name: Annotated[str, typer.Option("--data", help="As for fit; it needs a test split.")] = "mnist",
    data_root: DataRoot = DATA_ROOT,
    methods: Annotated[
        str, typer.Option(help="With commas between; an unknown name lists all.")
    ] = "density,density-split,hog-knn",
    classes: Annotated[str, typer.Option(help="With commas between; all if not given. Draws take them in turn.")] = "",
    sizes: Annotated[str, typer.Option(help="How many normal images, with commas between.")] = "20,50,100,300",
    draws: Annotated[int, typer.Option(min=1, help="Random draws of each size.")] = 200,
    out: Out = Path("reports/few-images"),
) -> None:
    """Fit and calibrate on few training images, drawn at random many times; count false alarms on the test split."""
    from training import data_sets
    from training.benchmark import few_images

    numbers = _numbers("--sizes", sizes)
    data_set = data_sets.load(data_name, data_root, IMAGE_SIZE)
    labels = data_set.indices(classes.split(",") if classes else data_set.class_names)
    names = [data_set.class_names[label] for label in labels]
    todo = few_images.tasks(methods.split(","), data_name, names, numbers, draws)
    out.parent.mkdir(parents=True, exist_ok=True)
    results = out.with_name(f"{out.name}.json")
    for outcome in few_images.run(todo, data_set, results):
        console.print(f"{outcome.method} {outcome.class_name}, {outcome.images} images, draw {outcome.draw}")
    page = few_images.table(few_images.read(results))
    out.with_name(f"{out.name}.md").write_text(page)
    console.print(page, soft_wrap=True, highlight=False, markup=False)


@app.command(epilog="Examples:\n\noddglyph-train benchmark corruptions mnist-0 mnist-8")
def corruptions(
    models: Annotated[list[str], typer.Argument(help="Published detectors of data sets with a test split.")],
    data_root: DataRoot = DATA_ROOT,
    models_dir: ModelsDir = MODELS_DIR,
    limit: Annotated[int, typer.Option(min=1, help="The number of normal test images to corrupt.")] = 300,
) -> None:
    """Count alarms of MODELS on damaged images and on another data set; check that heat maps find the damage."""
    from service.published import artifact
    from service.published.detector import Detector
    from training.benchmark import corruptions as suite

    alarms: list[suite.Alarms] = []
    shares: list[str] = []
    for model in models:
        detector = Detector(artifact.load_named(models_dir, model), "cpu")
        normal, foreign = _test_images(detector.manifest, data_root, limit)
        alarms += suite.measure(detector, normal, foreign)
        found = {damage: suite.share_of_heat(detector, normal, damage) for damage in suite.DAMAGES}
        shares.append(f"| {model} | {' | '.join(f'{share:.2f}' for share in found.values())} |")
    head = f"| share of the hottest 5 % inside a disc | {' | '.join(suite.DAMAGES)} |"
    heat = "\n".join([head, "|---" * (1 + len(suite.DAMAGES)) + "|", *shares])
    console.print(suite.table(alarms), heat, sep="\n", soft_wrap=True, highlight=False, markup=False)


def _numbers(option: str, text: str) -> list[int]:
    """Return the whole numbers in `text`; MetricError, which names the `option`, if it holds anything else."""
    numbers = text.split(",")
    if not all(number.strip().isdecimal() for number in numbers):
        raise MetricError(f"{option} {text}: expected whole numbers with commas between; for example {option} 20,50")
    return [int(number) for number in numbers]


def _test_images(manifest: "Manifest", root: Path, limit: int) -> "tuple[Pixels, Pixels]":
    """Return up to `limit` normal test images, drawn at random, and as many of another data set."""
    import numpy as np

    from training import data_sets

    trained_on, size = manifest.provenance.data, manifest.image_size
    normal = data_sets.load(trained_on, root, size, invert=manifest.provenance.invert)
    other = data_sets.load("mnist" if trained_on != "mnist" else "fashion-mnist", root, size)
    rng = np.random.default_rng(0)  # parts of a test split may come from different sources, as MNIST's halves do
    drawn, foreign = (
        rng.permutation(pixels)[:limit]
        for pixels in (normal.test.of(normal.indices(manifest.normal_classes)), other.test.pixels)
    )
    if not len(drawn):
        raise MetricError(f"data set {trained_on}: expected normal images in a test split, found none; add some")
    return drawn, foreign
