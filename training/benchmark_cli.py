"""The commands `oddglyph-train benchmark`: detection."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from training import data

app = typer.Typer(no_args_is_help=True, help="Measure methods against each other.")
console = Console()

DataRoot = Annotated[Path, typer.Option(envvar="ODDGLYPH_DATA", help="Where data sets are, or are downloaded to.")]
Out = Annotated[Path, typer.Option(help="Where the results go, as .json and .md; those there are kept.")]
DATA_ROOT, OUT = Path("data"), Path("reports/detection")


@app.callback()
def choose() -> None:
    """Measure methods against each other."""


@app.command()
def detection(
    data_name: Annotated[str, typer.Option("--data", help="As for fit; it needs a test split.")] = "mnist",
    data_root: DataRoot = DATA_ROOT,
    methods: Annotated[str, typer.Option(help="With commas between; an unknown one lists all.")] = "density,pca,knn",
    classes: Annotated[str, typer.Option(help="With commas between; all if not given.")] = "",
    seeds: Annotated[str, typer.Option(help="With commas between.")] = "0",
    protocol: Annotated[Literal["A", "B"], typer.Option(help="A: one class is normal; B: all but one.")] = "A",
    limit: Annotated[int, typer.Option(min=0, help="Fit, calibrate and test on so many images at most; 0: all.")] = 0,
    out: Out = OUT,
) -> None:
    """Compare detectors on one split: fitted and calibrated on training images, judged on the test split."""
    from training import benchmark  # noqa: PLC0415 (it needs PyOD and scikit-image, which nothing else does)

    data_set = data.load(data_name, data_root, 32)
    wanted = classes.split(",") if classes else data_set.class_names
    numbers = [int(seed) for seed in seeds.split(",")]
    todo = benchmark.tasks(methods.split(","), data_set, protocol, wanted, numbers, limit)
    out.parent.mkdir(parents=True, exist_ok=True)
    for result in benchmark.run(todo, data_set, data_root, out.with_suffix(".json")):
        console.print(f"{result.method} {result.class_name} seed {result.seed}: AUROC {100 * result.auroc:.2f} %")
    page = benchmark.table(benchmark.read(out.with_suffix(".json")))
    out.with_suffix(".md").write_text(page)
    console.print(page, soft_wrap=True, highlight=False, markup=False)
