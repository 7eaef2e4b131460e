"""Sinks: rows survive writing and reading exactly; a file is whole or as it was before."""

import csv
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from service.batch import sinks
from service.batch.sinks import COLUMNS
from service.errors import SourceError
from service.published.detector import Row

FORMATS = ("csv", "jsonl", "parquet")
SCORED = Row("a.png", 0.03125, 1.5, 0.5, 2.0, 1 / 3, True, "7")
UNREADABLE = Row('b,"\n.png', error="image: expected PNG, got text; convert it")

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
figures = st.floats(0, 1e6, width=32)
rows = st.lists(
    st.builds(Row, texts, figures, figures, figures, figures, st.floats(1e-9, 1), st.booleans(), st.none() | texts)
    | st.builds(Row, texts, error=texts)
)


def read(path):
    """Return the rows in a file, whose suffix tells the format."""
    if path.suffix == ".parquet":
        return [Row(**line) for line in parquet.read_table(path).to_pylist()]
    if path.suffix == ".jsonl":
        return [Row(**json.loads(line)) for line in path.read_text().splitlines()]
    with path.open(newline="", encoding="utf-8") as file:
        return [_from_text(**line) for line in csv.DictReader(file)]


def _from_text(id, is_anomaly, closest, error, **figures):
    numbers = {name: float(value) if value else None for name, value in figures.items()}
    verdict = {"true": True, "false": False, "": None}[is_anomaly]
    return Row(id, **numbers, is_anomaly=verdict, closest=closest or None, error=error or None)


@pytest.mark.parametrize("format_", FORMATS)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(written=rows)
def test_rows_survive_writing_and_reading(format_, written, tmp_path):
    path = tmp_path / f"out.{format_}"
    sinks.write(written, path, format_)
    assert read(path) == written


def test_csv_is_what_spreadsheets_and_data_frames_expect(tmp_path):
    sinks.write([SCORED, UNREADABLE], tmp_path / "out.csv", "csv")
    assert (tmp_path / "out.csv").read_bytes() == (
        b"id,l_con,latent,density,score,p_value,is_anomaly,closest,error\n"
        b"a.png,0.03125,1.5,0.5,2.0,0.3333333333333333,true,7,\n"
        b'"b,""\n.png",,,,,,,,"image: expected PNG, got text; convert it"\n'
    )


def test_json_lines_have_null_where_nothing_is_known(tmp_path):
    sinks.write([UNREADABLE], tmp_path / "out.jsonl", "jsonl")
    [line] = (tmp_path / "out.jsonl").read_text().splitlines()
    assert json.loads(line) == dict.fromkeys(COLUMNS) | {"id": UNREADABLE.id, "error": UNREADABLE.error}


def test_parquet_types_are_those_of_the_model_and_rows_come_in_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(sinks, "ROW_GROUP", 2)
    sinks.write([SCORED, UNREADABLE, SCORED], tmp_path / "out.parquet", "parquet")
    file = parquet.read_metadata(tmp_path / "out.parquet")
    assert file.num_row_groups == 2
    schema = parquet.read_schema(tmp_path / "out.parquet")
    assert [str(field.type) for field in schema] == ["string", *["float"] * 4, "double", "bool", "string", "string"]


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("before", [None, b"precious"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SourceError("x"), OSError(28, "No space left on device")])
def test_failure_leaves_the_folder_as_it_was(format_, before, error, tmp_path):
    path = tmp_path / "out"
    if before:
        path.write_bytes(before)

    def failing():
        yield from [SCORED] * 1000
        raise error

    with pytest.raises(SourceError if isinstance(error, OSError) else type(error)) as caught:
        sinks.write(failing(), path, format_)
    if isinstance(error, OSError):
        assert str(caught.value).startswith(f"{path}: cannot be written: No space left on device;")
    assert [(child.name, child.read_bytes()) for child in tmp_path.iterdir()] == ([("out", before)] if before else [])


def test_file_appears_only_when_complete(tmp_path):
    path = tmp_path / "out.csv"

    def watching():
        yield SCORED
        assert not path.exists()

    sinks.write(watching(), path, "csv")
    assert read(path) == [SCORED]


@pytest.mark.parametrize("format_", FORMATS)
def test_rows_are_consumed_as_they_are_written(format_, tmp_path, monkeypatch):
    monkeypatch.setattr(sinks, "ROW_GROUP", 10)
    alive = 0
    most = 0

    class Counted(Row):
        def __del__(self):
            nonlocal alive
            alive -= 1

    def counted():
        nonlocal alive, most
        for number in range(200):
            alive += 1
            most = max(most, alive)
            yield Counted(str(number), 0.5, 0.5, 0.5, 0.5, False)

    sinks.write(counted(), tmp_path / "out", format_)
    assert most <= 21


@pytest.mark.parametrize(
    ("out", "format_", "expected"),
    [
        (None, None, "csv"),
        (None, "jsonl", "jsonl"),
        ("a.CSV", None, "csv"),
        ("a.jsonl", None, "jsonl"),
        ("a.b.parquet", None, "parquet"),
        ("a.txt", "parquet", "parquet"),
        ("a.csv", "jsonl", "jsonl"),
    ],
)
def test_format_is_given_or_told_by_the_name(out, format_, expected, tmp_path):
    assert sinks.choose_format(tmp_path / out if out else None, format_) == expected


@pytest.mark.parametrize("name", ["a", "a.txt", "a.json", ".csv"])
def test_unknown_suffix_is_refused(name, tmp_path):
    with pytest.raises(SourceError, match=rf"{name}: expected a name that ends in .csv or .jsonl or .parquet"):
        sinks.choose_format(tmp_path / name, None)


def test_impossible_outputs_are_refused_beforehand(tmp_path):
    source = tmp_path / "digits.parquet"
    source.touch()
    (tmp_path / "link.parquet").symlink_to(source)
    sinks.check(tmp_path / "new.csv", [source])
    for out in (tmp_path, tmp_path / "absent" / "a.csv", source / "a.csv"):
        with pytest.raises(SourceError, match=rf"^{out}: expected a file name in a folder that exists"):
            sinks.check(out, [source])
    for out in (source, tmp_path / "link.parquet"):
        with pytest.raises(SourceError, match=rf"^{out}: is also a source"):
            sinks.check(out, [source])
