"""What `oddglyph` shows on a terminal: sentences, a progress bar, and a table of rows."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from service.batch import sinks
from service.published.detector import Row

TABLE_ROWS = 50
MIN_ID, MIN_ERROR, PADDING = 18, 18, 2  # characters
DETAILS = ("l_con", "latent", "density")

stdout, stderr = Console(highlight=False), Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


def progress(*, disable: bool) -> Progress:
    """Return a progress bar on standard error: description, count and time; nothing if `disable`, or on no terminal."""
    disable = disable or sys.stderr is None or not sys.stderr.isatty()
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f}"), TimeElapsedColumn()
    return Progress(*columns, console=Console(stderr=True), disable=disable)


def show(rows: Iterator[Row]) -> None:
    """Print the first TABLE_ROWS of `rows` as a table, and the number of the other rows.

    Columns that are empty in all these rows are left out, and DETAILS where there is no room for them. A long id keeps its
    end, which tells files apart.
    """
    shown = list(islice(rows, TABLE_ROWS))
    cells = [{name: _cell(value) for name, value in sinks.columns_of(row).items()} for row in shown]
    columns = [name for name in sinks.COLUMNS if name == "id" or any(row[name] for row in cells)]
    if _room(columns, cells) < MIN_ID:
        columns = [name for name in columns if name not in DETAILS]
    table = Table(*(Column(name, no_wrap=name != "error") for name in columns), box=None)
    for row, line in zip(shown, cells, strict=True):
        line["id"] = ending(line["id"], max(MIN_ID, _room(columns, cells)))
        table.add_row(*(Text(line[name]) for name in columns), style="red" if row.is_anomaly else None)
    rest = sum(1 for _ in rows)
    stdout.print(table)
    if rest:
        stdout.print(f"... and {rest:,} more rows; give --out FILE to keep all rows, or --format csv to print them")


def ending(text: str, width: int) -> str:
    """Return `text`, or its end after an ellipsis, in at most `width` characters."""
    return text if len(text) <= width else f"…{text[len(text) - width + 1 :]}"


def card(rows: Sequence[Sequence[str]]) -> None:
    """Print `rows` of a name and a text, which is folded beside the names."""
    table = Table.grid("", "", padding=(0, 2))
    for name, text in rows:
        table.add_row(Text(name, no_wrap=True), Text(text))
    stdout.print(table)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return `rows` as lines of text, with all columns but the last padded to one width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)


def _room(columns: Sequence[str], cells: Sequence[Mapping[str, str]]) -> int:
    """Return the characters that the other `columns` leave for the id. An error may be folded."""
    longest = {name: max(len(name), *(len(row[name]) for row in cells)) for name in columns if name != "id"}
    longest |= {"error": min(longest["error"], MIN_ERROR)} if "error" in longest else {}
    return stdout.width - PADDING - sum(PADDING + width for width in longest.values())


def _cell(value: str | float | bool | None) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
