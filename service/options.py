"""Options that several subcommands of `oddglyph` share."""

from pathlib import Path
from typing import Annotated

import typer

from service.batch.sinks import Format
from service.loading import complete
from service.published import defaults
from service.published.onnx_model import MAX_BATCH, Device

MODELS_DIR = defaults.models_dir()
BROKEN_SOURCE = 3  # the exit status of `score` if a source breaks off

AnyDetector = Annotated[
    str | None,
    typer.Option(
        help="A detector from `oddglyph models`; or all-DATA, the detectors of all classes of DATA.",
        show_default="mnist-0, else the first",
        autocompletion=complete,
    ),
]
OneDetector = Annotated[
    str | None,
    typer.Option(
        help="A detector from `oddglyph models`.", show_default="mnist-0, else the first", autocompletion=complete
    ),
]
Source = Annotated[
    list[str],
    typer.Argument(metavar="SOURCE", help="Folder, image, glob pattern, IDX, .npy, .npz, .zip, .tar or .parquet."),
]
Invert = Annotated[bool, typer.Option("--invert", help="The images show dark glyphs on a light ground.")]
Key = Annotated[str | None, typer.Option(help="The array of an .npz file.", show_default="the only one")]
Column = Annotated[str | None, typer.Option(help="The column of a .parquet file.", show_default="the only one")]
ModelsDir = Annotated[
    Path,
    typer.Option(envvar="ODDGLYPH_MODELS", help="The folder of published models.", show_default="the shipped ones"),
]
Threads = Annotated[int, typer.Option(min=0, help="Number of threads for the model; 0 for one per core.")]
WhichDevice = Annotated[Device, typer.Option(help="Device to compute on.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print neither progress nor a summary; notes and errors only.")]
JsonSummary = Annotated[bool, typer.Option("--json", help="Print the summary as one line of JSON, on standard error.")]


def _between_0_and_1(share: float | None) -> float | None:
    if share is not None and not 0 < share < 1:
        raise typer.BadParameter(f"expected more than 0 and less than 1, got {share:g}")
    return share


# what `score` is told of its output
Out = Annotated[
    Path | None,
    typer.Option(
        help="A .csv, .jsonl or .parquet file; or a folder, which is filled with Parquet files. A run into a folder that "
        "was interrupted goes on when the command is repeated. Standard output if absent."
    ),
]
OutFormat = Annotated[
    Format | None, typer.Option("--format", help="Format of the output.", show_default="by the name of --out, else csv")
]
BatchSize = Annotated[int, typer.Option(min=1, max=MAX_BATCH, help="Number of images held in memory.")]
ShardRows = Annotated[int, typer.Option(min=1, help="Rows of a file, if --out is a folder.")]
KeepGoing = Annotated[
    bool, typer.Option("--keep-going", help=f"Exit with status 0 instead of {BROKEN_SOURCE} if a source breaks off.")
]

# what is said of p-values
Alpha = Annotated[
    float,
    typer.Option(
        callback=_between_0_and_1,
        help="Images with a p-value of at most this are anomalies; more than 0 and less than 1.",
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="P-values for images of new groups, such as writers; where the groups of the calibration images are known.",
    ),
]
Confidence = Annotated[
    float | None,
    typer.Option(
        callback=_between_0_and_1,
        help="Lower the threshold, so that the calibration images at hand keep alpha with this probability, such as 0.95.",
        show_default="alpha is kept on average over calibration sets",
    ),
]
ControlFdr = Annotated[
    bool,
    typer.Option(
        "--fdr",
        help="Control the false discovery rate (Benjamini-Hochberg): in expectation, at most a share alpha of the "
        "anomalies is normal. Rows wait in a temporary file until the last image.",
    ),
]
WatchDrift = Annotated[
    bool, typer.Option("--drift", help="Say whether the images as a whole are like the calibration images.")
]

# what `calibrate` is told of the images
Groups = Annotated[
    str | None,
    typer.Option(
        help="Which images belong together: `folder`, for SOURCE/GROUP/image.png, or a CSV file of columns id and group.",
        show_default="every image is a group of its own",
    ),
]
Review = Annotated[
    int | None,
    typer.Option(min=1, max=200, help="Only list so many of the oddest images, with their pictures; publish nothing."),
]
Pictures = Annotated[Path, typer.Option(help="Where --review puts the pictures, a .png.")]
Exclude = Annotated[
    Path | None,
    typer.Option(help="A CSV file with a column id: images that are not normal, such as --review finds."),
]
