"""`oddglyph serve`: the HTTP service, in place of this process."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from service import address
from service.options import MODELS_DIR, ModelsDir, WhichDevice

EXAMPLES = "Examples:\n\noddglyph serve\n\noddglyph serve --port 8080 --models-dir my-models"


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all addresses.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port to listen on.")] = 3000,
    models_dir: ModelsDir = MODELS_DIR,
    device: WhichDevice = "auto",
) -> None:
    """Serve the published models over HTTP until interrupted.

    The exit status is 4 if the address is not free.
    """
    address.check(host, port)
    settings = {"ODDGLYPH_MODELS": str(models_dir.resolve()), "ODDGLYPH_DEVICE": device}
    options = ["--working-dir", str(Path(__file__).parents[2]), "--host", host, "--port", str(port)]
    command = [sys.executable, "-m", "bentoml", "serve", "service.api:Oddglyph", *options]
    os.execve(sys.executable, command, os.environ | settings)
