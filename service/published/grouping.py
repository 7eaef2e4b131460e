"""Which images belong together: told by the folder that an image lies in, or by a CSV file of columns id and group."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from service.errors import SourceError

FOLDER = "folder"  # in place of the name of a file


def first_folder(place: str) -> str | None:
    """Return the first folder of the path `place`, "ann" of "ann/1.png"; None if it has none."""
    parts = PurePosixPath(place).parts
    return parts[0] if len(parts) > 1 else None


def read_groups(path: Path) -> dict[str, str]:
    """Return the group of each image by its id, from a CSV file; SourceError for another file, or an id with two groups."""
    groups: dict[str, str] = {}
    for line, (name, group) in enumerate(_rows(path, ("id", "group")), start=2):
        if groups.setdefault(name, group) != group:
            raise SourceError(f"{path}, line {line}: expected one group for {name}, got {groups[name]} and {group}")
    return groups


def read_ids(path: Path) -> list[str]:
    """Return the column id of a CSV file; SourceError for another file."""
    return [name for (name,) in _rows(path, ("id",))]


def numbered(groups: Sequence[str]) -> NDArray[np.int64]:
    """Return a number for each of `groups` [n], the same for the same name."""
    return np.unique(np.asarray(groups, np.str_), return_inverse=True)[1].astype(np.int64)


def _rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    wanted = " and ".join(columns)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            missing = set(columns) - set(table.fieldnames or ())
            if missing:
                raise SourceError(
                    f"{path}: expected a CSV file with the columns {wanted}, got no {min(missing)}; add it"
                )
            for line, row in enumerate(table, start=2):
                if not all(row[name] for name in columns):
                    raise SourceError(f"{path}, line {line}: expected values for {wanted}, got none; fill the line")
                yield tuple(row[name] for name in columns)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SourceError(f"{path}: expected a CSV file with the columns {wanted}, got: {reason}; check it") from None
