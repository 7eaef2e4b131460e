"""Counts for the summary of a run."""

import pytest

from service.batch.tally import Tally
from service.errors import SourceError
from service.published.detector import Row


def test_tally_counts_and_passes_rows_on():
    rows = [Row("a", 0, 0, 0, 0, 0.01, True), Row("b", error="x"), Row("c", 0, 0, 0, 0, 1, False)]
    tally = Tally()
    assert list(tally.count(rows)) == rows
    assert tally == Tally(images=3, anomalies=1, errors=1, first_error="b: x")


def test_nothing_readable_is_an_error_after_the_rows():
    with pytest.raises(SourceError, match="none can be read; the first is a: image: damaged"):
        list(Tally().count([Row("a", error="image: damaged"), Row("b", error="y")]))
