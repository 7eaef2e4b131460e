"""The command `oddglyph-train`.

A command imports what it needs when it runs: `--help` and `list` answer at once, without torch.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from service.errors import OddglyphError
from service.published import artifact
from training import recipes
from training.benchmark import cli as benchmark
from training.errors import RecipeError
from training.options import DATA_ROOT, MODELS_DIR, DataRoot, ModelsDir
from training.switches import EMBEDDING_NETWORK, NETWORKS, Device, NetworkName

if TYPE_CHECKING:
    from service.published.manifest import Metric
    from training.measure.generation import Judge
    from training.run.folder import Request

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Fit models, measure them, and publish them for `oddglyph` to serve.",
)
app.add_typer(benchmark.app, name="benchmark")
console = Console()

Networks = Annotated[
    list[str], typer.Option("--network", help=f"Generators: {', '.join(NETWORKS)}; give several if you like.")
]
Changes = Annotated[list[str] | None, typer.Option("--set", help="Change a field of the recipe: FIELD=VALUE.")]
Samples = Annotated[int, typer.Option(min=100, max=10_000, help="Generators: images to measure on.")]
InceptionWeights = Annotated[
    Path | None, typer.Option(help="The file of torch-fidelity's weights, where they cannot be downloaded.")
]
EmbeddingNetwork = Annotated[
    NetworkName, typer.Option(help="Generators: what sees the images for two-sample accuracy, t-SNE and UMAP.")
]
JUDGES = ["lite0", "cifar-net"]
SAMPLES = 10_000


@app.command("list")
def list_recipes() -> None:
    """List the recipes."""
    table = Table("recipe", "what it is", "paper", box=None)
    for recipe in recipes.RECIPES.values():
        table.add_row(recipe.name, recipe.summary, recipe.paper)
    console.print(table)


@app.command()
def fit(
    recipe: Annotated[str, typer.Argument(help="A recipe from `oddglyph-train list`.")],
    normal_class: Annotated[
        str | None, typer.Option(help="Autoencoders: class names or indices that are normal, with commas between.")
    ] = None,
    data_name: Annotated[
        str | None,
        typer.Option("--data", help="mnist, fashion-mnist, kmnist, emnist, cifar10, a folder or .npz; GANs: cifar10."),
    ] = None,
    data_root: DataRoot = DATA_ROOT,
    invert: Annotated[bool, typer.Option(help="The images show dark glyphs on a light ground.")] = False,
    changes: Changes = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides weights, order, held-out parts.")] = 0,
    device: Annotated[Device, typer.Option(help="Where to train.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="The run folder; runs/RECIPE-DATA-CLASS-sSEED if not given.")] = None,
    resume: Annotated[bool, typer.Option(help="Continue the run from its last checkpoint.")] = False,
    publish_as: Annotated[
        str | None, typer.Option("--publish", help="Publish the finished run under this name.")
    ] = None,
    models_dir: ModelsDir = MODELS_DIR,
) -> None:
    """Train RECIPE: an autoencoder on the images of the normal classes, a GAN or a classifier on all."""
    from training import parallel
    from training.fit import Job, train

    if publish_as is not None:
        artifact.require_free(models_dir, publish_as)
    resolved = recipes.resolve(recipe, changes or ())
    one_class = resolved.family == "autoencoder"
    if one_class != (normal_class is not None):
        raise RecipeError(
            f"recipe {recipe}: expected {'a' if one_class else 'no'} --normal-class for {resolved.family}s; see fit --help"
        )
    data_name = data_name or ("mnist" if one_class else "cifar10")
    job = Job(
        recipe=resolved,
        data=data_name,
        data_root=data_root,
        normal_classes=tuple(normal_class.split(",")) if normal_class else (),
        invert=invert,
        seed=seed,
        device=device,
    )
    parts = (recipe, Path(data_name).stem, *([normal_class.replace(",", ".")] if normal_class else []), f"s{seed}")
    path = out or Path("runs") / "-".join(parts)
    train(job, path, resume=resume)
    if publish_as is None:
        console.print(f"run {path}: finished; publish it with `oddglyph-train publish {path}`")
    elif parallel.rank() == 0:
        publish(path, publish_as, models_dir, data_root)


@app.command()
def publish(
    run: Annotated[Path, typer.Argument(help="A finished run folder.")],
    name: Annotated[
        str | None, typer.Option(help="The model's name; after data, class or recipe if not given.")
    ] = None,
    models_dir: ModelsDir = MODELS_DIR,
    data_root: DataRoot = DATA_ROOT,
    replace: Annotated[bool, typer.Option(help="Replace the artifact of this name.")] = False,
    network: Networks = JUDGES,
    embedding_network: EmbeddingNetwork = EMBEDDING_NETWORK,
    samples: Samples = SAMPLES,
    inception_weights: InceptionWeights = None,
) -> None:
    """Export RUN to ONNX, prove the export, measure, and put it into the models folder."""
    from training.publish.classifier import publish_classifier
    from training.publish.detector import publish_detector
    from training.publish.finished import Target, finished
    from training.publish.generator import publish_generator
    from training.run.folder import Run

    done = finished(Run(run))
    target = Target(models_dir, name or _name_of(done.request), replace)
    target.require_free()
    family = done.recipe.family
    if family == "classifier":
        published = publish_classifier(done, target, data_root)
    elif family == "gan":
        judge = _judge(done.request.data, network, models_dir, data_root, samples, inception_weights, embedding_network)
        published = publish_generator(done, target, judge.measure)
    else:
        published = publish_detector(done, target, data_root)
    _show(published.metrics())
    console.print(f"published {published.path}")


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="A published model's name.")],
    models_dir: ModelsDir = MODELS_DIR,
    data_root: DataRoot = DATA_ROOT,
    network: Networks = JUDGES,
    embedding_network: EmbeddingNetwork = EMBEDDING_NETWORK,
    samples: Samples = SAMPLES,
    inception_weights: InceptionWeights = None,
) -> None:
    """Measure MODEL again on its data set, by running its ONNX file."""
    from service.published.detector import Detector
    from service.published.generator import Generator
    from training import data
    from training.measure import detection, networks
    from training.publish.classifier import accuracy_metrics
    from training.publish.finished import data_of

    loaded = artifact.load_named(models_dir, model)
    manifest = loaded.manifest
    if manifest.kind == "detector":
        detector = Detector(loaded, "cpu")
        source, size = manifest.provenance, manifest.image_size
        data_set, normal = data_of(source, manifest.normal_classes, size, data_root)
        metrics = detection.judge(detector, data_set, normal).metrics()
    elif manifest.kind == "generator":
        judge = _judge(
            manifest.provenance.data, network, models_dir, data_root, samples, inception_weights, embedding_network
        )
        metrics = judge.measure(Generator(loaded, "cpu"))
    else:
        data_set = data.load_colour(manifest.provenance.data, data_root)
        metrics = accuracy_metrics(networks.published(loaded)(data_set.test.pixels).logits, data_set)
    _show(metrics)


@app.command()
def report(
    models_dir: ModelsDir = MODELS_DIR,
    out: Annotated[Path, typer.Option(help="Where report.md and report.html go.")] = Path("reports"),
) -> None:
    """Write one page about all published models: a table of their metrics, and their pictures."""
    from training.report import page

    console.print(f"report {page.write(models_dir, out)}")


@app.command()
def suite(
    name: Annotated[str, typer.Argument(help="q1: all GANs.")],
    data_root: DataRoot = DATA_ROOT,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the recipes' own.")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Instead of the recipes' own.")] = None,
    images: Annotated[int | None, typer.Option(min=100, help="Train on so many images only.")] = None,
    changes: Changes = None,
    seeds: Annotated[int, typer.Option(min=1, help="Models per recipe.")] = 3,
    device: Annotated[Device, typer.Option(help="Where to train.")] = "auto",
    network: Networks = JUDGES,
    embedding_network: EmbeddingNetwork = EMBEDDING_NETWORK,
    samples: Samples = SAMPLES,
    inception_weights: InceptionWeights = None,
    embeds: Annotated[bool, typer.Option("--embeddings/--no-embeddings", help="Draw t-SNE and UMAP.")] = True,
    models_dir: ModelsDir = MODELS_DIR,
    out: Annotated[Path, typer.Option(help="The suite's folder; run it again to go on.")] = Path("suites/q1"),
) -> None:
    """Train, publish, measure and report every recipe of a suite; what is finished is not done again."""
    from training import suite as suites
    from training.report import page

    scale = {"epochs": epochs, "width": width, "images": images}
    scaling = [f"{field}={value}" for field, value in scale.items() if value is not None]
    wanted = suites.Suite(name, [*scaling, *(changes or ())], seeds)
    jobs = wanted.jobs(data_root, device)
    judge = _judge(wanted.data, network, models_dir, data_root, samples, inception_weights, embedding_network)
    models = suites.run(jobs, out, judge.measure if embeds else lambda generator, _: judge.measure(generator))
    console.print(f"report {page.write(models, out)}")


def main() -> None:
    """Run the command; what goes wrong for a user is one sentence and exit status 1."""
    try:
        app()
    except OddglyphError as error:
        Console(stderr=True).print(f"oddglyph-train: error: {error}", soft_wrap=True, highlight=False, markup=False)
        sys.exit(1)


def _name_of(request: "Request") -> str:
    """Return what a model is called if nobody says: after data and normal classes, or data and recipe."""
    recipe, family = request.recipe["name"], request.recipe["family"]
    words = {"classifier": recipe, "gan": f"{request.data} {recipe}"}
    text = words.get(family, f"{Path(request.data).stem} {' '.join(request.normal_classes)}")
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _judge(
    data_name: str,
    network: Sequence[str],
    models_dir: Path,
    data_root: Path,
    samples: int,
    inception_weights: Path | None,
    embedding_network: NetworkName,
) -> "Judge":
    from training import data
    from training.measure import generation

    data_set = data.load_colour(data_name, data_root)
    return generation.make(data_set, network, models_dir, samples, inception_weights, embedding_network)


def _show(metrics: "Sequence[Metric]") -> None:
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
