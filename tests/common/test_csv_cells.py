"""Tests that a spreadsheet evaluates no cell of a CSV file and reads back what was written."""

import csv
import datetime as dt
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from conversations.common import csv_cells

# Surrogates can't be encoded in a CSV file.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
DANGEROUS = "=+-@\t\r\n＝＋－＠"


def read(written: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(written.decode(), newline="")))


@given(st.lists(TEXTS, min_size=1))
@example(['=cmd|"/c calc"!A1', "a", '"', "a\r\n=1+1", ",=1"])
def test_no_cell_starts_a_formula_and_nothing_is_lost(texts: list[str]) -> None:
    [cells] = read(csv_cells.line(texts))
    assert len(cells) == len(texts)
    for cell, text in zip(cells, texts, strict=True):
        assert not cell.startswith(tuple(DANGEROUS))
        assert cell in {text, "'" + text}


@given(st.sampled_from(DANGEROUS), TEXTS)
def test_formulas_get_an_apostrophe(first: str, rest: str) -> None:
    assert csv_cells.neutral(first + rest) == "'" + first + rest


@given(TEXTS.filter(lambda text: not text.startswith(tuple(DANGEROUS))))
def test_other_values_are_unchanged(text: str) -> None:
    assert csv_cells.neutral(text) == text


@given(TEXTS)
def test_text_can_leave_neither_its_cell_nor_its_line(text: str) -> None:
    assert len(read(csv_cells.line([text, "end"]) + csv_cells.line(["next", "end"]))) == 2


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        (None, '""'),
        (-3, "-3"),
        (2.5, "2.5"),
        ("-3", '"\'-3"'),
        (dt.date(2026, 3, 1), '"2026-03-01"'),
        (dt.datetime(2026, 3, 1, 1, 30, tzinfo=dt.timezone(dt.timedelta(hours=2))), '"2026-02-28T23:30:00Z"'),
    ],
)
def test_the_format_of_cells(cell: csv_cells.Cell, written: str) -> None:
    assert csv_cells.line([cell]).decode() == written + "\r\n"
