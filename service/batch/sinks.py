"""Output files: rows as CSV, JSON Lines or Parquet, pixels as PNG or .npy. A file appears only when it is complete."""

import codecs
import csv
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar, get_args, get_type_hints

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from service import images
from service.atomic import replacing
from service.errors import SourceError
from service.images import Pixels
from service.published.detector import Row

Format = Literal["csv", "jsonl", "parquet"]
Name = TypeVar("Name", bound=str)
ROW_GROUP = 65_536  # rows of Parquet held in memory
COLUMNS = tuple(field.name for field in fields(Row) if field.name != "p_values")  # a mapping fits no column
PARQUET_TYPES = {str: pa.string(), bool: pa.bool_(), float: pa.float32()}


def _schema() -> pa.Schema:
    hints = get_type_hints(Row)
    types = {
        name: next(part for part in (*get_args(hints[name]), hints[name]) if part in PARQUET_TYPES) for name in COLUMNS
    }
    double = {"p_value": pa.float64()}  # a quotient of two counts; the other figures are the model's float32
    return pa.schema([(name, double.get(name, PARQUET_TYPES[kind])) for name, kind in types.items()])


SCHEMA = _schema()


def columns_of(row: Row) -> dict[str, Any]:
    """Return the values of `row` by COLUMNS."""
    return {name: getattr(row, name) for name in COLUMNS}


def choose_format(out: Path | None, name: Format | None) -> Format:
    """Return the format `name`; for None the format by the suffix of `out`, or CSV for standard output.

    Raises SourceError for a suffix that names no format.
    """
    return name or ("csv" if out is None else _told_by_suffix(out, WRITERS))


def check(out: Path | None, sources: Sequence[Path]) -> None:
    """Raise SourceError if `out` cannot be written or is one of `sources`. None is standard output, which must be open."""
    if out is None:
        if sys.stdout is None:
            raise SourceError("standard output: is closed; give --out FILE")
        return
    if out.is_dir() or not out.parent.is_dir():
        raise SourceError(
            f"{out}: expected a file name in a folder that exists; make the folder or choose another name"
        )
    if any(out.exists() and source.samefile(out) for source in sources):
        raise SourceError(f"{out}: is also a source, and would be overwritten; choose another name")


def write(rows: Iterable[Row], out: Path | None, format_: Format) -> None:
    """Write `rows` to the file `out`, or to standard output for None. If anything fails, `out` stays as it was."""
    with _opened(out) as file:
        WRITERS[format_](rows, file)


def write_table(table: pa.Table, out: Path) -> None:
    """Write a `table` of SCHEMA to the Parquet file `out`, which stays as it was if anything fails."""
    with _opened(out) as file:
        parquet.write_table(table, file, row_group_size=ROW_GROUP)


def check_pixels(out: Path) -> None:
    """Raise SourceError if `write_pixels` cannot write to `out`."""
    check(out, [])
    _told_by_suffix(out, PIXEL_WRITERS)


def write_pixels(pixels: Pixels, out: Path) -> None:
    """Write uint8 `pixels` [N, H, W, 3] to `out`: a .png gets one nearly square grid, a .npy the array."""
    with _opened(out) as file:
        PIXEL_WRITERS[_told_by_suffix(out, PIXEL_WRITERS)](pixels, file)


def _told_by_suffix(out: Path, known: Mapping[Name, Any]) -> Name:
    suffix = out.suffix.lower().removeprefix(".")
    name = next((name for name in known if name == suffix), None)
    if name is None:
        names = " or ".join(f".{name}" for name in known)
        raise SourceError(f"{out}: expected a name that ends in {names}; choose another name")
    return name


@contextmanager
def _opened(out: Path | None) -> Iterator[BinaryIO]:
    try:
        if out is None:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        else:
            with replacing(out) as temporary, temporary.open("wb") as file:
                yield file
    except BrokenPipeError:  # the reader has closed the pipe, as `head` does
        raise
    except OSError as error:
        where = out or "standard output"
        raise SourceError(f"{where}: cannot be written: {error.strerror or error}; choose another place") from None


def _write_csv(rows: Iterable[Row], file: BinaryIO) -> None:
    text = codecs.getwriter("utf-8")(file)
    plain, careful = (csv.writer(text, lineterminator="\n", quoting=how) for how in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    plain.writerow(COLUMNS)
    for row in rows:
        values = [json.dumps(value) if isinstance(value, bool) else value for value in columns_of(row).values()]
        has_return = any(isinstance(value, str) and "\r" in value for value in values)  # csv quotes line feeds only
        (careful if has_return else plain).writerow(values)


def _write_jsonl(rows: Iterable[Row], file: BinaryIO) -> None:
    file.writelines(json.dumps(columns_of(row), allow_nan=False).encode() + b"\n" for row in rows)


def _write_parquet(rows: Iterable[Row], file: BinaryIO) -> None:
    pending = iter(rows)
    with parquet.ParquetWriter(file, SCHEMA) as writer:
        while group := list(islice(pending, ROW_GROUP)):
            writer.write_table(pa.Table.from_pylist([columns_of(row) for row in group], SCHEMA))


def _write_png(pixels: Pixels, file: BinaryIO) -> None:
    file.write(images.encode_png(images.grid(pixels, columns=math.ceil(math.sqrt(len(pixels))))))


def _write_npy(pixels: Pixels, file: BinaryIO) -> None:
    np.save(file, pixels)


WRITERS: dict[Format, Callable[[Iterable[Row], BinaryIO], None]] = {
    "csv": _write_csv,
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
}
PIXEL_WRITERS: dict[str, Callable[[Pixels, BinaryIO], None]] = {"png": _write_png, "npy": _write_npy}
