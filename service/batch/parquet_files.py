"""Checks of a Parquet file's metadata before it is read: which column holds images, and how large its pages are."""

from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from service.errors import SourceError

MAX_PAGE_BYTES = 512 * 2**20
PAGE_ROWS = 1024  # writers check the size of a page once in this many rows


def check_pages(path: Path, file: parquet.ParquetFile, column: str) -> None:
    """Raise SourceError if a page of `column` probably has more than MAX_PAGE_BYTES. A reader must hold a whole page.

    The sizes come from the file's metadata, since the pages themselves cannot be seen before they are read.
    """
    groups = (file.metadata.row_group(index) for index in range(file.metadata.num_row_groups))
    for group in groups:
        chunks = (group.column(index) for index in range(group.num_columns))
        size = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema.split(".")[0] == column)
        page = min(size, PAGE_ROWS * size // max(1, group.num_rows))
        if page > MAX_PAGE_BYTES:
            raise SourceError(
                f"{path}: expected pages of at most {MAX_PAGE_BYTES:,} bytes, got {size:,} bytes in a row group of "
                f"{group.num_rows:,} rows; write the file with smaller row groups"
            )


def image_column(path: Path, schema: pa.Schema, name: str | None) -> str:
    """Return the column `name`, or the only column of image files for None; SourceError if there is not exactly one."""
    names = [field.name for field in schema if name in (None, field.name) and _may_be_images(field.type)]
    if len(names) != 1:
        found = ", ".join(f"{field.name} ({field.type})" for field in schema)
        raise SourceError(f"{path}: expected one binary column of image files, got {found}; choose one by --column")
    return str(names[0])


def _may_be_images(dtype: Any) -> bool:
    """Return whether a column of type `dtype` may hold image files: binary, or Hugging Face's struct with `bytes`."""
    if pa.types.is_struct(dtype):
        return dtype.get_field_index("bytes") >= 0 and _may_be_images(dtype.field("bytes").type)
    return bool(pa.types.is_binary(dtype) or pa.types.is_large_binary(dtype))
