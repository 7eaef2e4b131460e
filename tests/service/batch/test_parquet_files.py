"""Parquet files are read in bounded memory, or refused by their metadata."""

import pyarrow as pa
import pytest
from containers import ids, read
from pyarrow import parquet

from service.batch import parquet_files, sources
from service.batch.sources import Choice
from service.batch.tally import Losses
from service.errors import SourceError


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_large_value_that_parquet_stores_once_is_in_memory_once(tmp_path):
    cell = bytes(4 * 2**20)
    parquet.write_table(pa.table({"image": [cell] * 64}), tmp_path / "a.parquet")
    before = pa.default_memory_pool().max_memory()
    assert len(ids(sources.stream([tmp_path / "a.parquet"], Choice(), Losses()))) == 64
    assert pa.default_memory_pool().max_memory() - before < 64 * 2**20


def test_parquet_pages_larger_than_memory_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_files, "MAX_PAGE_BYTES", 2**20)
    cells = [bytes([value]) * 2**18 for value in range(8)]
    parquet.write_table(pa.table({"image": cells}), tmp_path / "a.parquet", use_dictionary=False)
    with pytest.raises(SourceError, match="in a row group of 8 rows; write the file with smaller row groups"):
        read("a.parquet")
    parquet.write_table(pa.table({"image": cells}), tmp_path / "a.parquet", row_group_size=2)
    assert len(read("a.parquet")) == 8
