"""What `oddglyph` shows on a terminal: sentences, a progress bar, and a table of rows."""

from collections.abc import Iterator
from itertools import islice

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from service.batch import sinks
from service.published.detector import Row

TABLE_ROWS = 50

stdout, stderr = Console(highlight=False), Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


def progress(*, disable: bool) -> Progress:
    """Return a progress bar on standard error: description, count and time; nothing if `disable`."""
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f}"), TimeElapsedColumn()
    return Progress(*columns, console=Console(stderr=True), disable=disable)


def show(rows: Iterator[Row]) -> None:
    """Print the first TABLE_ROWS of `rows` as a table, and the number of the other rows."""
    table = Table(*sinks.COLUMNS, box=None)
    for row in islice(rows, TABLE_ROWS):
        table.add_row(*map(_cell, sinks.columns_of(row).values()), style="red" if row.is_anomaly else None)
    rest = sum(1 for _ in rows)
    stdout.print(table)
    if rest:
        stdout.print(f"... and {rest:,} more rows; give --out FILE to keep all rows, or --format csv to print them")


def _cell(value: str | float | bool | None) -> Text:
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    return Text("" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value))
