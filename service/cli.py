"""The command `oddglyph`: score, calibrate, sample, models, serve."""

import signal
import sys
from typing import Annotated

import typer

from service import memory
from service.commands import calibrate, models, sample, score, serve
from service.errors import AddressError, OddglyphError
from service.terminal import stderr
from service.version import VERSION

PORT_IN_USE = 4
SIGNALLED = 128  # plus the number of the signal, as in a shell
INTERRUPTED = SIGNALLED + signal.SIGINT

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"oddglyph {VERSION}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Score small images with a published model, or generate images."""


for command in (score.score, calibrate.calibrate, sample.sample, serve.serve, models.models):
    app.command()(command)


def main() -> None:
    """Run the command. An error is printed as one sentence, and the exit status is 1, or PORT_IN_USE for a taken port."""
    memory.bound()
    for name in ("SIGTERM", "SIGHUP"):  # exit in order, so that temporary files are removed; Windows has no SIGHUP
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda received, _: sys.exit(SIGNALLED + received))
    try:
        app()
    except OddglyphError as error:
        stderr.print(f"oddglyph: error: {error}")
        sys.exit(PORT_IN_USE if isinstance(error, AddressError) else 1)
    except SystemExit as status:
        if status.code == INTERRUPTED:
            stderr.print("oddglyph: interrupted; no file was written")
        raise


if __name__ == "__main__":
    main()
