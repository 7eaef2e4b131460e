"""`oddglyph calibrate`: the p-values of a published detector, for normal images of one's own."""

from pathlib import Path
from typing import Annotated

import typer

from service.batch import recalibrate, sinks, sources
from service.loading import load
from service.options import (
    MODELS_DIR,
    Column,
    Exclude,
    Groups,
    Invert,
    Key,
    ModelsDir,
    OneDetector,
    Pictures,
    Quiet,
    Review,
    Source,
)
from service.published import artifact
from service.terminal import stderr

EXAMPLES = (
    "Examples:\n\noddglyph calibrate my-zeros/ --model mnist-0 --name my-zeros --review 20\n\n"
    "oddglyph calibrate my-zeros/ --model mnist-0 --name my-zeros --exclude odd.csv"
)


def calibrate(
    source: Source,
    name: Annotated[str, typer.Option(help="Name of the new detector.")],
    model: OneDetector = None,
    models_dir: ModelsDir = MODELS_DIR,
    groups: Groups = None,
    review: Review = None,
    pictures: Pictures = Path("review.png"),
    exclude: Exclude = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an existing model of this name.")] = False,
    invert: Invert = False,
    key: Key = None,
    column: Column = None,
    quiet: Quiet = False,
) -> None:
    """Re-calibrate a detector on your own normal images.

    The new detector has p-values for images like yours. Nothing is trained.
    """
    choice, paths = sources.Choice(key, column), sources.find(source)
    sources.check(paths, choice)
    given = recalibrate.Given(tuple(source), tuple(paths), choice, invert, groups, exclude)
    base = load(model, "detector", models_dir)
    if review:
        sinks.check(pictures, paths)
        table, told = recalibrate.review(base, given, review, pictures)
        typer.echo(table, nl=False)
    else:
        artifact.require_free(models_dir, name, replace=replace)
        told = recalibrate.publish(base, given, models_dir, name, replace=replace)
    if not quiet:
        stderr.print(told)
