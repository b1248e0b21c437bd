"""Lines of a CSV file that people open in a spreadsheet: nothing in a cell is taken for a formula there.

RFC 4180, with every text in quotation marks. A text that a spreadsheet might calculate gets an apostrophe before it, as
OWASP recommends against CSV injection; numbers are ours, and stay numbers.
"""

import csv
import datetime as dt
import io
from collections.abc import Iterable
from typing import Final

BOM: Final = "\ufeff".encode()
"""What a file begins with, so that spreadsheets read it as UTF-8."""

# The last ones are the full-width forms, which some spreadsheets in East Asia take for the others.
_STARTS_A_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

Cell = str | int | float | dt.datetime | dt.date | None


def neutral(text: str) -> str:
    """Return the text so that no spreadsheet calculates it."""
    return f"'{text}" if text.startswith(_STARTS_A_FORMULA) else text


def line(cells: Iterable[Cell]) -> bytes:
    """Return one line of the file. Times are written in ISO 8601, in UTC."""
    written = io.StringIO()
    csv.writer(written, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n").writerow(map(_cell, cells))
    return written.getvalue().encode("utf-8", "replace")


def _cell(value: Cell) -> str | int | float:
    match value:
        case None:
            return ""
        case dt.datetime():
            return value.astimezone(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        case dt.date():
            return value.isoformat()
        case str():
            return neutral(value)
    return value
