"""Lines of a CSV file that are safe to open in a spreadsheet.

The format is RFC 4180, with all text quoted. Text that a spreadsheet could evaluate as a formula is prefixed with an
apostrophe, as OWASP recommends against CSV injection. Numbers come from this site, and stay numbers.
"""

import csv
import datetime as dt
import io
from collections.abc import Iterable
from typing import Final

BOM: Final = "\ufeff".encode()
"""Starts the file, so that spreadsheets read it as UTF-8."""

# The last four are full-width forms, which some East Asian spreadsheets treat like the others.
_STARTS_A_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

Cell = str | int | float | dt.datetime | dt.date | None


def neutral(text: str) -> str:
    """Return the text in a form that no spreadsheet evaluates."""
    return f"'{text}" if text.startswith(_STARTS_A_FORMULA) else text


def line(cells: Iterable[Cell]) -> bytes:
    """Return one line of the file. Times are in ISO 8601, in UTC."""
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
