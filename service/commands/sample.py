"""`oddglyph sample`: generated images, as one picture or as an array."""

from pathlib import Path
from typing import Annotated

import typer

from service.batch import sinks
from service.loading import complete, load
from service.options import MODELS_DIR, ModelsDir, Threads, WhichDevice
from service.published.generator import MAX_SEED, Generator

MAX_SAMPLES = 10_000
EXAMPLES = (
    "Examples:\n\noddglyph sample --class cat --count 16 --seed 7 --out cats.png\n\n"
    "oddglyph sample --count 1000 --out images.npy"
)


def sample(
    out: Annotated[
        Path, typer.Option(help="A .png file, one grid of all images; or a .npy file, an array [N, H, W, 3].")
    ],
    class_name: Annotated[
        str | None, typer.Option("--class", help="Name or index of a class.", show_default="all in turn")
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=MAX_SAMPLES, help="Number of images.")] = 16,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="The same seed gives the same images.")] = 0,
    model: Annotated[
        str | None,
        typer.Option(
            help="A generator from `oddglyph models`.",
            show_default="cifar10-cond, else the first",
            autocompletion=complete,
        ),
    ] = None,
    models_dir: ModelsDir = MODELS_DIR,
    device: WhichDevice = "auto",
    threads: Threads = 0,
) -> None:
    """Generate images."""
    sinks.check_pixels(out)
    generator = Generator(load(model, "generator", models_dir), device, threads)
    sinks.write_pixels(generator.sample(class_name, count, seed), out)
