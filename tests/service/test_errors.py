"""The docstring of service.errors draws the real tree of errors, with statuses."""

import re

import service.errors
import training.errors
from service.errors import OddglyphError


def drawn() -> dict[str, tuple[str, int]]:
    """Return parent and status of each error in the docstring, by the error's name."""
    found, parents = {}, ["Exception"]
    for bars, name, status in re.findall(r"^    ([|+ ]*)(\w+Error) +(\d+)", service.errors.__doc__, re.MULTILINE):
        depth = len(bars) // 2
        parents = [*parents[: depth + 1], name]
        found[name] = (parents[depth], int(status))
    return found


def defined(error: type[OddglyphError] = OddglyphError) -> dict[str, tuple[str, int]]:
    found = {error.__name__: (error.__base__.__name__, error.status)}
    for child in error.__subclasses__():
        found |= defined(child)
    return found


def test_the_tree_that_is_drawn_is_the_tree_that_is_defined():
    assert training.errors.MetricError.__base__ is OddglyphError
    assert drawn() == defined()
