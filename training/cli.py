"""The command `oddglyph-train`.

Each command imports what it needs when it runs, so that `--help` and `list` answer at once, without torch.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from service.errors import OddglyphError
from service.published import artifact
from training import recipes, show
from training.benchmark import cli as benchmark
from training.errors import PublishError, RecipeError
from training.interrupted import interruptible
from training.options import (
    DATA_ROOT,
    JUDGES,
    MODELS_DIR,
    SAMPLES,
    Changes,
    DataRoot,
    EmbeddingNetwork,
    Groups,
    InceptionWeights,
    JudgesDir,
    Measuring,
    ModelsDir,
    Networks,
    NormalClass,
    PublishAs,
    ReplacePublished,
    Samples,
    Seed,
)
from training.switches import EMBEDDING_NETWORK, Device

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.published.manifest import Metric

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Fit models, measure them, and publish them for `oddglyph` to serve.",
    epilog="Examples:\n\noddglyph-train list\n\n"
    "oddglyph-train fit shared-aae --data my-glyphs --normal-class good --publish my-glyphs\n\n"
    "Exit statuses: 0 success; 1 an error, told in one sentence; 2 wrong usage; 130 interrupted.",
)
app.command("list", epilog=show.LIST_EXAMPLES)(show.list_recipes)
app.command(epilog=show.SHOW_EXAMPLES)(show.show)
app.add_typer(benchmark.app, name="benchmark")
console = Console()


@app.command(
    epilog="Examples:\n\noddglyph-train fit shared-aae --data my-glyphs --normal-class good --publish my-glyphs\n\n"
    "oddglyph-train fit shared-aae --normal-class 0 --set epochs=10 --resume"
)
def fit(
    recipe: show.Recipe,
    normal_class: NormalClass = None,
    data_name: Annotated[
        str | None,
        typer.Option("--data", help="mnist, fashion-mnist, kmnist, emnist, cifar10, a folder or .npz; GANs: cifar10."),
    ] = None,
    data_root: DataRoot = DATA_ROOT,
    invert: Annotated[bool, typer.Option(help="The images show dark glyphs on a light ground.")] = False,
    groups: Groups = None,
    changes: Changes = None,
    seed: Seed = 0,
    device: Annotated[Device, typer.Option(help="Where to train.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="The run folder; by default runs/RECIPE-DATA-CLASS-sSEED.")] = None,
    resume: Annotated[bool, typer.Option(help="Continue the run from its last checkpoint.")] = False,
    publish_as: PublishAs = None,
    replace: ReplacePublished = False,
    models_dir: ModelsDir = MODELS_DIR,
    network: Networks = JUDGES,
    embedding_network: EmbeddingNetwork = EMBEDDING_NETWORK,
    samples: Samples = SAMPLES,
    judges_dir: JudgesDir = MODELS_DIR,
    inception_weights: InceptionWeights = None,
) -> None:
    """Train RECIPE: a detector on the normal classes, a GAN or a classifier on all classes."""
    from training import parallel
    from training.fit import Job, train
    from training.publish.finished import Target, finished
    from training.publish.publisher import publisher_of

    resolved = recipes.resolve(recipe, changes or ())
    _check_data_options(resolved, normal_class, {"--invert": invert, "--groups": groups})
    _check_replace(publish_as, replace=replace)
    data_name = data_name or ("mnist" if isinstance(resolved, recipes.DetectorRecipe) else "cifar10")
    normal_classes = tuple(normal_class.split(",")) if normal_class else ()
    job = Job(resolved, data_name, data_root, normal_classes, invert, seed, device, groups)
    path = out or Path("runs") / job.run_name
    if publish_as is None:
        with interruptible(path):
            train(job, path, resume=resume)
        console.print(f"run {path}: finished; publish it with `oddglyph-train publish {path}`")
        return
    measuring = Measuring(network, embedding_network, samples, judges_dir, inception_weights)
    publisher = publisher_of(resolved, data_name, Target(models_dir, publish_as, replace), data_root, measuring)
    with interruptible(path):
        run = train(job, path, resume=resume)
    if parallel.rank() == 0:
        _print_published(publisher(finished(run)))


def _check_replace(publish_as: str | None, *, replace: bool) -> None:
    if replace and publish_as is None:
        raise PublishError(
            "--replace: expected --publish NAME beside it, got none; add the name of the model to replace"
        )


@app.command(
    epilog="Examples:\n\noddglyph-train publish runs/shared-aae-mnist-0-s0 --name my-zeros\n\n"
    "oddglyph-train publish runs/shared-aae-mnist-0-s0 --replace"
)
def publish(
    run: Annotated[Path, typer.Argument(help="A finished run folder.")],
    name: Annotated[
        str | None, typer.Option(help="The model's name; by default made from data, class or recipe.")
    ] = None,
    models_dir: ModelsDir = MODELS_DIR,
    data_root: DataRoot = DATA_ROOT,
    replace: Annotated[bool, typer.Option(help="Replace the model of this name.")] = False,
    network: Networks = JUDGES,
    embedding_network: EmbeddingNetwork = EMBEDDING_NETWORK,
    samples: Samples = SAMPLES,
    judges_dir: JudgesDir = MODELS_DIR,
    inception_weights: InceptionWeights = None,
) -> None:
    """Export RUN to ONNX, prove the export, measure, and put it into the models folder."""
    from training.publish.finished import Target, finished
    from training.publish.publisher import default_name, publisher_of
    from training.run.folder import Run

    done = finished(Run(run))
    target = Target(models_dir, name or default_name(done.request), replace)
    measuring = Measuring(network, embedding_network, samples, judges_dir, inception_weights)
    _print_published(publisher_of(done.recipe, done.request.data, target, data_root, measuring)(done))


@app.command(epilog="Examples:\n\noddglyph-train evaluate mnist-0\n\noddglyph-train evaluate mnist-0 --json")
def evaluate(
    model: Annotated[str, typer.Argument(help="A published model's name.")],
    models_dir: ModelsDir = MODELS_DIR,
    data_root: DataRoot = DATA_ROOT,
    groups: Groups = None,
    network: Networks = JUDGES,
    embedding_network: EmbeddingNetwork = EMBEDDING_NETWORK,
    samples: Samples = SAMPLES,
    judges_dir: JudgesDir = MODELS_DIR,
    inception_weights: InceptionWeights = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure the ONNX file of MODEL again on its data set."""
    from service.published.detector import Detector
    from service.published.generator import Generator
    from training import data_sets
    from training.measure import detection, networks
    from training.publish.classifier import accuracy_metrics
    from training.publish.finished import data_of

    loaded = artifact.load_named(models_dir, model)
    manifest = loaded.manifest
    if manifest.kind == "detector":
        detector = Detector(loaded, "cpu")
        source, size = manifest.provenance, manifest.image_size
        data_set, normal = data_of(source, manifest.normal_classes, size, data_root, groups)
        metrics = detection.judge(detector, data_set, normal).metrics()
    elif manifest.kind == "generator":
        measuring = Measuring(network, embedding_network, samples, judges_dir, inception_weights)
        judge = measuring.judge(manifest.provenance.data, data_root)
        metrics = judge.measure(Generator(loaded, "cpu"))
    else:
        data_set = data_sets.load_colour(manifest.provenance.data, data_root)
        metrics = accuracy_metrics(networks.published_classifier(loaded)(data_set.test.pixels).logits, data_set)
    if as_json:
        typer.echo(json.dumps([metric.model_dump() for metric in metrics], indent=2))
    else:
        _print_metrics(metrics)


@app.command(epilog="Examples:\n\noddglyph-train report --out reports")
def report(
    models_dir: ModelsDir = MODELS_DIR,
    out: Annotated[Path, typer.Option(help="Where report.md and report.html go.")] = Path("reports"),
) -> None:
    """Write one page with the metrics and pictures of all published models."""
    from training.report import page

    console.print(f"report {page.write(models_dir, out)}")


@app.command(epilog="Examples:\n\noddglyph-train suite q1 --epochs 2 --width 16 --seeds 1")
def suite(
    name: Annotated[str, typer.Argument(help="q1: all GANs.")],
    data_root: DataRoot = DATA_ROOT,
    epochs: Annotated[int | None, typer.Option(min=1, help="Replaces the recipes' own number of epochs.")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Replaces the recipes' own width.")] = None,
    images: Annotated[int | None, typer.Option(min=100, help="Train only on this many images, the first ones.")] = None,
    changes: Changes = None,
    seeds: Annotated[int, typer.Option(min=1, help="Models per recipe.")] = 3,
    device: Annotated[Device, typer.Option(help="Where to train.")] = "auto",
    network: Networks = JUDGES,
    embedding_network: EmbeddingNetwork = EMBEDDING_NETWORK,
    samples: Samples = SAMPLES,
    judges_dir: JudgesDir = MODELS_DIR,
    inception_weights: InceptionWeights = None,
    embeds: Annotated[bool, typer.Option("--embeddings/--no-embeddings", help="Draw t-SNE and UMAP.")] = True,
    out: Annotated[Path, typer.Option(help="The suite's folder. An interrupted suite continues there.")] = Path(
        "suites/q1"
    ),
) -> None:
    """Train, publish and measure every recipe of a suite; finished models are skipped."""
    from training import suite as suites
    from training.report import page

    scale = {"epochs": epochs, "width": width, "images": images}
    scaling = [f"{field}={value}" for field, value in scale.items() if value is not None]
    wanted = suites.Suite(name, [*scaling, *(changes or ())], seeds)
    jobs = wanted.jobs(data_root, device)
    measuring = Measuring(network, embedding_network, samples, judges_dir, inception_weights)
    judge = measuring.judge(wanted.data, data_root)
    models = suites.run(jobs, out, judge.measure if embeds else lambda generator, _: judge.measure(generator))
    console.print(f"report {page.write(models, out)}")


def main() -> None:
    """Run the command. An error that a user can mend is one sentence and exit status 1."""
    try:
        app()
    except OddglyphError as error:
        Console(stderr=True).print(f"oddglyph-train: error: {error}", soft_wrap=True, highlight=False, markup=False)
        sys.exit(1)


def _check_data_options(recipe: recipes.Recipe, normal_class: str | None, others: dict[str, object]) -> None:
    one_class = isinstance(recipe, recipes.DetectorRecipe)
    kind = "detector" if one_class else recipe.family
    if one_class != (normal_class is not None):
        raise RecipeError(
            f"recipe {recipe.name}: expected {'a' if one_class else 'no'} --normal-class for {kind}s, "
            f"got {'none' if one_class else normal_class!r}; see fit --help"
        )
    for option, value in others.items():
        if value and not one_class:
            raise RecipeError(f"recipe {recipe.name}: expected no {option} for {kind}s, got one; leave it out")


def _print_published(published: artifact.Artifact) -> None:
    _print_metrics(published.metrics())
    guarantee = published.manifest.guarantee
    if guarantee:
        console.print(
            f"p-values: {guarantee.statement} No alarm is possible at an alpha below 1/{guarantee.images + 1}."
        )
    console.print(f"published {published.path}")


def _print_metrics(metrics: "Sequence[Metric]") -> None:
    table = Table(Column("metric", no_wrap=True), "value", "± deviation", "samples", "split", box=None)
    for metric in metrics:
        table.add_row(
            metric.name,
            f"{metric.value:.4f}",
            f"{metric.deviation:.4f}",
            f"{metric.samples:,}",
            metric.split,
        )
    console.print(table)


if __name__ == "__main__":
    main()
