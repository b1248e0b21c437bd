"""The table of bounds in docs/architecture.md lists every limit in the code with its value."""

import ast
import datetime as dt
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.guards.project import ROOT, files, find, name
from tests.guards.settings_read import settings_read

HEADER = ("| what | bound | held by |", "|---|---|---|")
ROW = re.compile(r"^\| (?P<what>.+?) \| (?P<bound>.+?) \| `(?P<holder>[^`]+)` \|$")
QUANTITY = re.compile(r"^(?P<number>\d[\d,]*(?:\.\d+)?)(?: (?P<unit>[a-zA-Z]+))?")
UNITS = {
    "KiB": 1024,
    "MiB": 1024**2,
    "ms": 0.001,
    "s": 1,
    "min": 60,
    "h": 3600,
    "day": 86_400,
    "days": 86_400,
}
# Units of settings and constants whose names end with these words.
OWN_UNITS = {"MINUTES": 60, "HOURS": 3600, "DAYS": 86_400}

LIMIT = re.compile(
    r"""^_?(?:
        (?:MAX|MIN|LONGEST|SHORTEST|LONG|SLOW|CACHED)_.+
        | (?:.+_)?(?:SECONDS|MINUTES|HOURS|DAYS|TIMEOUT|LEASE|RETENTION)
        | (?:.+_)?(?:BYTES|SIZE|CHARS|CHARACTERS|LENGTH|TOKENS|CONCURRENCY|LIMIT|ATTEMPTS|BATCH|AT_ONCE|CATCH_UP)
        | .+_PER_(?:MINUTE|HOUR|DAY|USER|ADDRESS|PAGE|SOCKET|SECOND)
        | LONGEST | SHORTEST
    )$""",
    re.VERBOSE | re.IGNORECASE,
)
# Names that look like limits. All but the last line are step sizes, or lengths of what the site generates.
NO_LIMIT = re.compile(
    r"""
    \._(?:LINES_|READ_)?AT_ONCE$ | EXCERPT_LENGTH$ | CODE_LENGTH$ | pseudonymous_id\._LENGTH$
    | OVERHEAD_TOKENS$ | tokens\._\w+_CHARACTERS$ | figures\.(?:USUAL_DAYS|LONGEST_IN_HOURS)$
    | Upstream\((?:connect|first_byte|idle|answer)_seconds\)$ | SSEDecoder\(max_line_bytes\)$  # set by the caller
    """,
    re.VERBOSE,
)
# Code that limits nothing on the site.
NOT_THE_SITE = re.compile(r"/(?:migrations|formats)/|/management/fake_")


@dataclass(frozen=True)
class Bound:
    """A row in the table."""

    what: str
    bound: str
    holder: str


def read_table(text: str) -> list[Bound]:
    """Return the rows of all tables between the marks. Fails if a line is not a row."""
    marked = text.split("<!-- bounds -->")[1].split("<!-- /bounds -->")[0]
    lines = [line for line in marked.splitlines() if line.startswith("|")]
    rows = [(line, ROW.match(line)) for line in lines if line not in HEADER]
    assert all(row for _line, row in rows), [line for line, row in rows if not row]
    return [Bound(**row.groupdict()) for _line, row in rows if row]


def documented() -> list[Bound]:
    return read_table((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))


def value_of(holder: str) -> Any:
    """Return the value of a constant, setting, argument (`module.callable(argument)`) or function without arguments.

    Raises LookupError if it does not exist.
    """
    defaults = settings_read()
    if holder in defaults:
        return defaults[holder]
    path, _, argument = holder.removesuffix("()").removesuffix(")").partition("(")
    found = find(path if "." in path else f"chatsite.settings.{path}")
    if holder.endswith("()"):
        return found()
    if argument:
        parameters = inspect.signature(found).parameters
        if argument not in parameters:
            raise LookupError(holder)
        return parameters[argument].default
    return found


def amount(value: Any, *, holder: str) -> float:
    """Return a value as a number: times in seconds, sizes in bytes."""
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    # The last word is the unit, as in `CODE_VALID_DAYS` and `Class(lease_minutes)`.
    word = re.split(r"[_.(]", holder.rstrip(")"))[-1].upper()
    return float(value) * OWN_UNITS.get(word, 1)


def agrees(bound: str, value: Any, *, holder: str) -> bool:
    """Return whether the text of a bound starts with the value. Text values such as `30/m/ip` are in backticks."""
    if isinstance(value, str):
        return bound.startswith(f"`{value}`")
    if value == 0 and bound.startswith("none"):
        return True
    match = QUANTITY.match(bound)
    if match is None:
        return False
    number = float(match["number"].replace(",", ""))
    written = number * UNITS.get(match["unit"] or "", 1)
    return abs(written - amount(value, holder=holder)) < 1e-9


def limits_in(source: str, *, module: str) -> Iterator[str]:
    """Yield the name, as in the table, of everything in a module that looks like a limit."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            yield from (f"{module}.{target}" for target in assigned(node) if LIMIT.match(target))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from (f"{module}.{node.name}({word})" for word in arguments(node))
        elif isinstance(node, ast.ClassDef):
            yield from limits_in_class(node, path=f"{module}.{node.name}")


def limits_in_class(node: ast.ClassDef, *, path: str) -> Iterator[str]:
    is_dataclass = any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
    for inner in node.body:
        if isinstance(inner, ast.Assign | ast.AnnAssign):
            for target in assigned(inner):
                if LIMIT.match(target):
                    yield f"{path}({target})" if is_dataclass else f"{path}.{target}"
        elif isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
            owner = path if inner.name == "__init__" else f"{path}.{inner.name}"
            yield from (f"{owner}({word})" for word in arguments(inner))


def assigned(node: ast.Assign | ast.AnnAssign) -> Iterator[str]:
    """Yield the names that are assigned a number or a time."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    if is_quantity(node.value):
        yield from (target.id for target in targets if isinstance(target, ast.Name))


def arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """Yield the arguments that look like limits and have a number or a time as default."""
    words = function.args
    positional = [*words.posonlyargs, *words.args]
    pairs = [
        *zip(positional[len(positional) - len(words.defaults) :], words.defaults, strict=True),
        *zip(words.kwonlyargs, words.kw_defaults, strict=True),
    ]
    yield from (word.arg for word, default in pairs if LIMIT.match(word.arg) and is_quantity(default))


def is_quantity(node: ast.expr | None) -> bool:
    """Return whether an expression is a number or a time: `30`, `256 * 1024`, `2**20`, `timedelta(days=3)`."""
    match node:
        case ast.Constant(int() | float() as value):
            return not isinstance(value, bool)
        case ast.BinOp(left, _, right):
            return is_quantity(left) and is_quantity(right)
        case ast.Call():
            return ast.unparse(node.func).endswith("timedelta")
    return False


def limits_in_code() -> set[str]:
    found = {setting for setting, default in settings_read().items() if LIMIT.match(setting)}
    for path in files("chatsite", "conversations", suffixes={".py"}):
        where = name(path)
        if NOT_THE_SITE.search(f"/{where}"):
            continue
        module = where.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for holder in limits_in(path.read_text(encoding="utf-8"), module=module):
            found.add(re.sub(r"^chatsite\.settings\.\w+\.", "", holder))
    return {holder for holder in found if not NO_LIMIT.search(holder)}


def test_each_bound_matches_the_code() -> None:
    rows = documented()
    assert len(rows) > 20
    wrong = []
    for row in rows:
        try:
            value = value_of(row.holder)
        except LookupError:
            wrong.append(f"{row.holder} ({row.what}) is no longer in the code")
            continue
        if not agrees(row.bound, value, holder=row.holder):
            wrong.append(f"{row.holder} is {value!r}, but the table says {row.bound!r}")
    assert wrong == []


def test_the_table_lists_every_limit_in_the_code() -> None:
    holders = [row.holder for row in documented()]
    assert len(holders) == len(set(holders)), "a limit is listed twice"
    missing = sorted(limits_in_code() - set(holders))
    # Formatted as rows, to paste into the table.
    assert [f"| … | {value_of(holder)!r} | `{holder}` |" for holder in missing] == []


@pytest.mark.parametrize(
    ("bound", "value", "holder"),
    [
        ("256 KiB", 262_144, "a.WINDOW_BYTES"),
        ("1 MiB of text", 1_048_576, "a.b(max_line_bytes)"),
        ("150 ms", 0.15, "a.FLUSH_SECONDS"),
        ("3 days", dt.timedelta(days=3), "a.ARE_KEPT"),
        ("10 min", 10, "REVIEW_LEASE_MINUTES"),
        ("16,000 characters", 16_000, "CHAT_MAX_INPUT_CHARS"),
        ("`30/m/ip`", "30/m/ip", "LOGIN_RATE_LIMIT"),
        ("none by default", 0, "CHAT_SENDS_PER_DAY"),
    ],
)
def test_values_are_compared_with_their_units(bound: str, value: object, holder: str) -> None:
    assert agrees(bound, value, holder=holder)
    changed = f"{value}x" if isinstance(value, str) else value * 2 or 1  # type: ignore[operator]
    assert not agrees(bound, changed, holder=holder)


def test_limits_are_found_by_name() -> None:
    source = """
MAX_BATCH = 1_000
_MAX_NESTING: Final = 24
GUEST_RETENTION = dt.timedelta(days=3)
MAX_NAME = "no number"
COLUMNS = 3
class Pace:
    LONGEST = 1.0
    def __init__(self, *, open_seconds: float = 10, clock: object = None): ...
@dataclass(frozen=True)
class Upstream:
    max_line_bytes: int = 2**20
def read(size, limit=5): ...
"""
    assert list(limits_in(source, module="m")) == [
        "m.MAX_BATCH",
        "m._MAX_NESTING",
        "m.GUEST_RETENTION",
        "m.Pace.LONGEST",
        "m.Pace(open_seconds)",
        "m.Upstream(max_line_bytes)",
        "m.read(limit)",
    ]


def test_missing_constants_are_reported() -> None:
    for holder in (
        "NO_SUCH_SETTING",
        "conversations.chat.forms.MAX_NOTHING",
        "conversations.nowhere.MAX",
        "os.path.join(limit)",
    ):
        with pytest.raises(LookupError):
            value_of(holder)
