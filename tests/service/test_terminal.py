"""What `oddglyph` shows on a terminal of 80 columns."""

import io

import pytest
from rich.console import Console

from service import terminal
from service.published.detector import Row

LONG = "scans/2026/november/tray-17/negatives/page-0042/glyph-000317.png"


@pytest.fixture
def shown(monkeypatch):
    """Return the lines that `terminal.show` prints for rows, 80 columns wide."""

    def lines(rows):
        console = Console(file=io.StringIO(), width=80, highlight=False)
        monkeypatch.setattr(terminal, "stdout", console)
        terminal.show(iter(rows))
        return console.file.getvalue().splitlines()

    return lines


def row(name, **figures):
    return Row(name, 0.05607, 2.547, 9.788, 9.788, 0.000999, is_anomaly=True, **figures)


def test_a_long_path_keeps_its_end(shown):
    head, first, second = shown([row(LONG), row("a.png")])
    assert len(first) <= 80
    assert first.split()[0].startswith("…")
    assert first.split()[0].endswith("/glyph-000317.png")
    assert first.split()[1:] == ["0.05607", "2.547", "9.788", "9.788", "0.000999", "yes"]
    assert second.split()[0] == "a.png"
    assert head.split() == ["id", "l_con", "latent", "density", "score", "p_value", "is_anomaly"]


def test_columns_appear_where_a_row_has_them(shown):
    head, first, *_ = shown([row(LONG, closest="7"), Row("b.png", error="image: is damaged; send a complete file")])
    assert head.split() == ["id", "score", "p_value", "is_anomaly", "closest", "error"]
    assert "glyph-000317.png" in first
    assert shown([row("b.png"), Row("b.png")])[0].split()[1] == "l_con"


def test_further_rows_are_counted(shown):
    lines = shown([row("a.png")] * (terminal.TABLE_ROWS + 3))
    assert sum(line.startswith(" a.png") for line in lines) == terminal.TABLE_ROWS
    assert lines[terminal.TABLE_ROWS + 1].startswith("... and 3 more rows")


@pytest.mark.parametrize(("text", "width", "expected"), [("abc", 3, "abc"), ("abcd", 3, "…cd")])
def test_an_ending_fits(text, width, expected):
    assert terminal.ending(text, width) == expected
