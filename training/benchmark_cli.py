"""The commands `oddglyph-train benchmark`: detection, corruptions."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from service import artifact
from service.detector import Detector
from training import corruptions as suite
from training import data

app = typer.Typer(no_args_is_help=True, help="Measure methods against each other.")
console = Console()

DataRoot = Annotated[Path, typer.Option(envvar="ODDGLYPH_DATA", help="Where data sets are, or are downloaded to.")]
Out = Annotated[Path, typer.Option(help="Where the results go, as .json and .md; those there are kept.")]
ModelsDir = Annotated[Path, typer.Option(envvar="ODDGLYPH_MODELS", help="The folder of published models.")]
DATA_ROOT, MODELS_DIR, OUT = Path("data"), Path("models"), Path("reports/detection")


@app.command()
def detection(
    data_name: Annotated[str, typer.Option("--data", help="As for fit; it needs a test split.")] = "mnist",
    data_root: DataRoot = DATA_ROOT,
    methods: Annotated[str, typer.Option(help="With commas between; an unknown one lists all.")] = "density,pca,knn",
    classes: Annotated[str, typer.Option(help="With commas between; all if not given.")] = "",
    seeds: Annotated[str, typer.Option(help="With commas between.")] = "0",
    protocol: Annotated[Literal["A", "B"], typer.Option(help="A: one class is normal; B: all but one.")] = "A",
    limit: Annotated[int, typer.Option(min=0, help="Fit, calibrate and test on so many images at most; 0: all.")] = 0,
    contamination: Annotated[
        float, typer.Option(min=0, max=0.5, help="Share of other classes among the normal training images.")
    ] = 0.0,
    out: Out = OUT,
) -> None:
    """Compare detectors on one split: fitted and calibrated on training images, judged on the test split."""
    from training import benchmark  # noqa: PLC0415 (it needs PyOD and scikit-image, which nothing else does)

    data_set = data.load(data_name, data_root, 32)
    labels = data_set.indices(classes.split(",") if classes else data_set.class_names)
    names = [data_set.class_names[label] for label in labels]
    numbers = [int(seed) for seed in seeds.split(",")]
    todo = benchmark.tasks(methods.split(","), data_name, protocol, names, numbers, limit, contamination)
    out.parent.mkdir(parents=True, exist_ok=True)
    for result in benchmark.run(todo, data_set, data_root, out.with_suffix(".json")):
        console.print(f"{result.method} {result.class_name} seed {result.seed}: AUROC {100 * result.auroc:.2f} %")
    page = benchmark.table(benchmark.read(out.with_suffix(".json")))
    out.with_suffix(".md").write_text(page)
    console.print(page, soft_wrap=True, highlight=False, markup=False)


@app.command()
def corruptions(
    model: Annotated[str, typer.Argument(help="A published detector of a data set with a test split.")],
    data_root: DataRoot = DATA_ROOT,
    models_dir: ModelsDir = MODELS_DIR,
    limit: Annotated[int, typer.Option(min=1, help="Corrupt so many normal test images.")] = 300,
) -> None:
    """Count alarms of MODEL on corrupted normal and on foreign images, and see whether its heat maps find a damage."""
    published = artifact.load_named(models_dir, model)
    manifest, detector = published.manifest, Detector(published, "cpu")
    data_set = data.load(manifest.provenance.data, data_root, manifest.image_size, invert=manifest.provenance.invert)
    normal = data_set.test.of(data_set.indices(manifest.normal_classes))[:limit]
    table = Table("corruption", "severity", "should be", "alarms at 0.01", "at 0.05", box=None)
    for alarms in suite.measure(detector, normal):
        table.add_row(
            alarms.corruption, f"{alarms.severity:g}", alarms.meaning, f"{alarms.at_01:.3f}", f"{alarms.at_05:.3f}"
        )
    console.print(table)
    shares = ", ".join(f"{damage} {suite.share_of_heat(detector, normal, damage):.2f}" for damage in suite.DAMAGES)
    console.print(f"share of the hottest 5 % of the map inside a damaged disc: {shares}")
