"""Parse Markdown into events, with HTML hidden from the parser and formulas kept."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyromark
from pyromark.event import BrokenLink, Range

from .maths import LESS_THAN, hide, keep_formula_lines, keep_formulas, may_have_formulas

Event = tuple[Any, Range]
_OPTIONS = pyromark.Options.ENABLE_TABLES | pyromark.Options.ENABLE_STRIKETHROUGH
BLOCKS = {"Paragraph", "Heading", "BlockQuote", "List", "Item", "CodeBlock"} | {
    "Table",
    "TableHead",
    "TableRow",
    "TableCell",
}
"""The tags of blocks. All others are part of a line."""

# The parser would pass HTML through. So "<" is hidden from it, except where an address begins.
_HTML = re.compile(
    r"<(?!(?:https?://|mailto:)[^\s<>]*>|[\w.+-]{1,254}@[\w.-]{1,254}>)(?<!\]\(<)(?<!\]: <)",
    re.IGNORECASE,
)
# The start of a line that opens more blocks inside each other than are ever shown. The rest of the line is text.
_DEEP = re.compile(
    r"^(?P<start>(?:[ \t]*+(?:>|(?:[-+*]|[0-9]{1,9}[.)])[ \t])){60})(?P<rest>[^\r\n]+)", re.MULTILINE
)
# NUL, lone surrogates and noncharacters, of which some are placeholders.
_INVALID = re.compile(r"[\0\ud800-\udfff\ufdd0-\ufdef]")


@dataclass(slots=True)
class References:
    """The link definitions of a text by label, and how many characters of addresses it has used so far."""

    addresses: dict[str, str] = field(default_factory=dict)
    used: int = 0

    def address(self, link: BrokenLink) -> tuple[str, str] | None:
        """Return the address and the title of a link whose definition is in another part of the text."""
        found = self.addresses.get(label_key(link["reference"]))
        return None if found is None else (found, "")


@dataclass(slots=True)
class Parsed:
    """A text as events of the parser. Their positions count the bytes of `source`."""

    source: str
    """The text with placeholders. It has the same number of characters."""
    has_placeholders: bool
    events: list[Event]
    _data: bytes | None = None

    @property
    def data(self) -> bytes:
        """Return the source in the parser's encoding."""
        if self._data is None:
            self._data = self.source.encode()
        return self._data

    def between(self, start: int, end: int) -> str:
        """Return the source between two positions."""
        return self.data[start:end].decode(errors="replace")


def label_key(label: str) -> str:
    """Return what all spellings of a label have in common."""
    return " ".join(label.split()).casefold()


def parse(text: str) -> Parsed:
    """Return the blocks of a text. Formulas inside of them are still parsed as Markdown."""
    if "\0" in text or not text.isascii():
        text = _INVALID.sub("\ufffd", text)
    source = _HTML.sub(LESS_THAN, text) if "<" in text else text
    source = _DEEP.sub(lambda line: line["start"] + hide(line["rest"]), source)
    if may_have_formulas(source):
        source = keep_formula_lines(source)
    return _parsed(source, has_placeholders=source is not text)


def with_content(parsed: Parsed, references: References, *, is_finished: bool) -> Parsed:
    """Return the text with its formulas kept, and with links to the addresses that other texts define."""
    source = parsed.source
    if may_have_formulas(source):
        source = keep_formulas(source, _runs(parsed), is_finished=is_finished)
    has_changed = source is not parsed.source
    if not has_changed and not references.addresses:
        return parsed
    return _parsed(source, has_placeholders=has_changed or parsed.has_placeholders, references=references)


def _parsed(source: str, *, has_placeholders: bool, references: References | None = None) -> Parsed:
    events = pyromark.events_with_range(
        source,
        options=_OPTIONS,
        merge_text=True,
        broken_link_callback=references.address if references and references.addresses else None,
    )
    return Parsed(source, has_placeholders, list(events))


def definitions(parsed: Parsed) -> dict[str, tuple[str, int]]:
    """Return the address that a text defines for each label, and at which byte the definition starts."""
    if "]:" not in parsed.source:
        return {}
    found = pyromark.reference_definitions(parsed.source, options=_OPTIONS)
    return {
        label_key(label): (definition["dest"], definition["span"]["start"])
        for label, definition in found.items()
    }


def name_and_details(tag: Any) -> tuple[str, Any]:
    """Return the name of a tag, and its details if it has any."""
    if isinstance(tag, str):
        return tag, None
    ((name, details),) = tag.items()
    return name, details


def _runs(parsed: Parsed) -> Iterator[tuple[int, int, bool]]:
    """Yield where each text in a block begins and ends in the source, and whether it is in a quotation."""
    position = _Positions(parsed)
    quotations = 0
    is_code = False
    begin, end = -1, -1
    for event, span in parsed.events:
        kind, value = name_and_details(event)
        name = name_and_details(value)[0] if kind in {"Start", "End"} else kind
        if name not in BLOCKS and name != "Rule":
            if not is_code:
                begin, end = span["start"] if begin < 0 else begin, span["end"]
            continue
        if begin >= 0:
            # The parser leaves out the backslash of an escaped character.
            begin -= begin > 0 and parsed.data[begin - 1] == ord("\\")
            yield position.of(begin), position.of(end), quotations > 0
            begin = -1
        is_code = kind == "Start" and name == "CodeBlock"
        if name == "BlockQuote":
            quotations += 1 if kind == "Start" else -1


class _Positions:
    """Turns positions in bytes into positions in characters. They must not decrease."""

    def __init__(self, parsed: Parsed) -> None:
        self._data = None if parsed.source.isascii() else parsed.data
        self._bytes = self._characters = 0

    def of(self, position: int) -> int:
        """Return the number of characters before this byte."""
        if self._data is None:
            return position
        self._characters += len(self._data[self._bytes : position].decode())
        self._bytes = position
        return self._characters


def block_starts(parsed: Parsed) -> Iterator[tuple[int, bool]]:
    """Yield where a block starts, and whether it is an item of a list instead of a block that isn't inside another."""
    position = _Positions(parsed)
    level = 0
    for event, span in parsed.events:
        if isinstance(event, str):
            if level == 0:
                yield position.of(span["start"]), False
        elif "Start" in event:
            if level == 0 or (level == 1 and event["Start"] == "Item"):
                yield position.of(span["start"]), level == 1
            level += 1
        elif "End" in event:
            level -= 1
