"""The command `oddglyph`; each subcommand has a file in service/commands."""

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
EXAMPLES = (
    "Examples:\n\noddglyph score digits/ --out scores.csv\n\noddglyph models\n\noddglyph serve\n\n"
    "Exit statuses: 0 success; 1 an error, told in one sentence; 2 wrong usage; 3 a source broke off; 4 the port is taken; "
    "130 interrupted."
)

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
app.command(epilog=score.EXAMPLES)(score.score)
app.command(epilog=calibrate.EXAMPLES)(calibrate.calibrate)
app.command(epilog=sample.EXAMPLES)(sample.sample)
app.command(epilog=serve.EXAMPLES)(serve.serve)
app.command(epilog=models.EXAMPLES)(models.models)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"oddglyph {VERSION}")
        raise typer.Exit


@app.callback(epilog=EXAMPLES)
def options(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Score small images with a published model, or generate images."""


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
