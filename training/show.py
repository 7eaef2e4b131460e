"""`oddglyph-train list` and `show`: the recipes, and the fields of one of them, for people and programs."""

import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from training import recipes
from training.meanings import MEANINGS
from training.options import Changes

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
LIST_EXAMPLES = "Examples:\n\noddglyph-train list\n\noddglyph-train list --json"
SHOW_EXAMPLES = "Examples:\n\noddglyph-train show shared-aae\n\noddglyph-train show shared-aae --set epochs=50 --set density.strokes.hull=32"


def complete(incomplete: str) -> Iterator[str]:
    """Yield the names of recipes that begin with `incomplete`, for a shell."""
    yield from (name for name in recipes.RECIPES if name.startswith(incomplete))


Recipe = Annotated[str, typer.Argument(help="A recipe from `oddglyph-train list`.", autocompletion=complete)]


def list_recipes(as_json: AsJson = False) -> None:
    """List the recipes."""
    if as_json:
        typer.echo(json.dumps([recipe.model_dump(mode="json") for recipe in recipes.RECIPES.values()], indent=2))
        return
    _print_table(["recipe", "what it is", "paper"], [[r.name, r.summary, r.paper] for r in recipes.RECIPES.values()])


def show(recipe: Recipe, changes: Changes = None, as_json: AsJson = False) -> None:
    """Show the fields of RECIPE that --set changes: value and meaning. With --set, as they would be."""
    resolved = recipes.resolve(recipe, changes or ())
    if as_json:
        typer.echo(json.dumps(resolved.model_dump(mode="json"), indent=2))
        return
    Console(highlight=False).print(f"{resolved.name}: {resolved.summary} ({resolved.paper})", markup=False)
    _print_table(["field", "value", "meaning"], _fields(resolved.model_dump(mode="json")))


def _fields(values: dict[str, Any], group: str = "") -> Iterator[list[str]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _fields(value, f"{group}{name}.")
        elif group or name not in recipes.IDENTITY:
            yield [group + name, _as_set(value), MEANINGS[group + name]]


def _as_set(value: object) -> str:
    """Return `value` as --set takes it."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return json.dumps(value) if isinstance(value, bool) else "null" if value is None else f"{value}"


def _print_table(head: list[str], rows: "Iterator[list[str]] | list[list[str]]") -> None:
    known = list(rows)
    first = Column(head[0], min_width=max(len(row[0]) for row in known))  # so that no name is cut
    table = Table(first, *head[1:], box=None)
    for row in known:
        table.add_row(*map(Text, row))
    Console(highlight=False).print(table)
