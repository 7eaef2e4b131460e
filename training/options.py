"""Options that several commands share; free of torch, as is every module that a command imports before it runs."""

from pathlib import Path
from typing import Annotated

import typer

DATA_ROOT, MODELS_DIR = Path("data"), Path("models")

DataRoot = Annotated[Path, typer.Option(envvar="ODDGLYPH_DATA", help="Where data sets are, or are downloaded to.")]
ModelsDir = Annotated[Path, typer.Option(envvar="ODDGLYPH_MODELS", help="The folder of published models.")]
