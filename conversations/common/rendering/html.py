"""Convert Markdown to HTML that is safe to show, whatever a model wrote.

There are two defences: HTML in a text is shown as text, and all output goes through the sanitiser. Nothing is loaded from
other sites (an image is replaced by its text and host), and links show where they lead.
"""

import re
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from django.utils.translation import gettext as _
from pyromark.event import Range

from . import highlighting
from .links import host_of, safe_address
from .maths import restore
from .parser import BLOCKS, Event, Parsed, References, name_and_details
from .sanitiser import escape_text

_MAX_NESTING = 24
"""Lists, quotations and emphasis inside each other. Anything deeper is shown as it was written."""
_MAX_ADDRESSES = 100_000
"""Total characters of the addresses in one text. An address defined once can be used thousands of times."""
# Characters that may be the start of something, if they are shown as text.
_MARKS = re.compile(r"[*_`~\[\]\\<&$\ufdd0-\ufdef]")
_BREAKS = {"SoftBreak": "\n", "HardBreak": "<br>\n", "Rule": "<hr>\n"}
_ALIGNMENTS = {"None": "", "Left": ' class="align-left"', "Center": ' class="align-center"'} | {
    "Right": ' class="align-right"'
}
_INLINE_TAGS = {"Emphasis": "em", "Strong": "strong", "Strikethrough": "s"}


class Level(NamedTuple):
    """An element in HTML."""

    tag: str
    begin: int
    """Where its content begins."""
    after: int
    """How much HTML follows its content."""


class Rendered(NamedTuple):
    """HTML that has not been sanitised."""

    html: str
    levels: tuple[Level, ...]
    """The last block, the last block inside of it, and so on."""
    events: Sequence[Event]

    def has_open_marks(self) -> bool:
        """Return whether the text of the last block has characters that later text could make a meaning of."""
        for event, _span in reversed(self.events):
            if isinstance(event, str):
                continue
            if "Text" in event and _MARKS.search(event["Text"]):
                return True
            if "Start" in event and name_and_details(event["Start"])[0] in BLOCKS:
                return False
        return False


def render_html(parsed: Parsed, references: References, *, is_finished: bool, depth: int = 0) -> Rendered:
    """Return the HTML of a text that is inside of this number of blocks.

    Only finished code is highlighted, not each time it grows.
    """
    return _Writer(parsed, references, is_finished=is_finished, depth=depth).rendered()


class _Writer:
    """Writes the HTML of a parsed text."""

    def __init__(self, parsed: Parsed, references: References, *, is_finished: bool, depth: int) -> None:
        self._parsed = parsed
        self._references = references
        self._is_finished = is_finished
        self._has_placeholders = parsed.has_placeholders
        self._html: list[str] = []
        self._next = 0
        self._depth = depth
        # Set at the start of a list item, quotation or table. Its first block has no direction of its own: a browser
        # ignores blocks that have one when it chooses the direction of the container, which also places the bullet,
        # the line beside the quotation or the columns.
        self._is_first = False
        # The tag of the last block at each level, and between which parts of the HTML its content is.
        self._levels: list[tuple[str, int, int]] = []
        self._level = 0
        # For each open link, where its text starts in the HTML, and its address.
        self._links: list[tuple[int, str]] = []
        self._columns: tuple[str, ...] = ()
        self._column = 0
        self._cell = "td"

    def rendered(self) -> Rendered:
        """Return the HTML of all events."""
        self._write()
        html = "".join(self._html)
        positions = [0, *accumulate(map(len, self._html))]
        return Rendered(
            html,
            tuple(
                Level(tag, positions[begin], len(html) - positions[end]) for tag, begin, end in self._levels
            ),
            self._parsed.events,
        )

    def _open(self, tag: str, html: str) -> None:
        """Write the start of a block."""
        self._html.append(html)
        del self._levels[self._level :]
        self._levels.append((tag, len(self._html), 0))
        self._level += 1

    def _continue_line(self) -> None:
        """Prepare for text that is directly in the current block."""
        self._is_first = False
        del self._levels[self._level :]

    def _close(self, html: str) -> None:
        """Write the end of a block."""
        self._level -= 1
        tag, begin, _end = self._levels[self._level]
        self._levels[self._level] = tag, begin, len(self._html)
        self._html.append(html)

    def _write(self) -> None:
        events, html = self._parsed.events, self._html
        while self._next < len(events):
            event, span = events[self._next]
            self._next += 1
            if isinstance(event, str):
                html.append(_BREAKS[event])
                if event == "Rule":
                    del self._levels[self._level :]
                continue
            ((kind, value),) = event.items()
            if kind == "Text":
                self._continue_line()
                html.append(self._text(value))
            elif kind == "Start":
                self._start(value, span)
            elif kind == "End":
                self._end(value, span)
            elif kind == "Code":
                self._continue_line()
                html.append(f'<code dir="ltr">{self._text(value)}</code>')
            else:
                html.append(self._text(value))

    def _text(self, text: str) -> str:
        return escape_text(restore(text) if self._has_placeholders else text)

    def _source(self, start: int, end: int) -> str:
        return self._text(self._parsed.between(start, end))

    def _start(self, tag: Any, span: Range) -> None:
        name, details = name_and_details(tag)
        if name not in BLOCKS:
            self._start_inline(name, details, span)
            return
        if name in {"List", "BlockQuote"} and self._depth >= _MAX_NESTING:
            self._continue_line()
            self._html.append(self._source(span["start"], span["end"]))
            self._skip()
            return
        self._depth += 1
        if self._html and not self._html[-1].endswith("\n"):
            self._html.append("\n")
        direction = "" if self._is_first else ' dir="auto"'
        was_first, self._is_first = self._is_first, name in {"Item", "BlockQuote", "Table"}
        match name:
            case "Paragraph":
                self._open("p", f"<p{direction}>")
            case "Item":
                self._open("li", f"<li{direction}>")
            case "List":
                self._is_first = was_first
                self._open("ul", _list_tag(details))
            case "Heading":
                self._open("h", f"<h{details['level'][1]}{direction}>")
            case "CodeBlock":
                self._code(details)
            case "BlockQuote":
                self._open("blockquote", f"<blockquote{direction}>\n")
            case "Table":
                self._columns = details
                self._open("div", '<div class="table" tabindex="0">')
                self._open("table", f"<table{direction}>\n")
            case "TableHead":
                self._is_first, self._column, self._cell = was_first, 0, "th"
                self._open("thead", "<thead>\n")
                self._open("tr", "<tr>\n")
            case "TableRow":
                self._is_first, self._column, self._cell = was_first, 0, "td"
                self._open("tr", "<tr>\n")
            case "TableCell":
                alignment = _ALIGNMENTS[self._columns[self._column]]
                self._open(self._cell, f"<{self._cell}{alignment}{direction}>")
                self._column += 1

    def _start_inline(self, name: str, details: Any, span: Range) -> None:
        self._continue_line()
        if self._depth >= _MAX_NESTING:
            self._html.append(self._source(span["start"], span["end"]))
            self._skip()
            return
        if name in {"Link", "Image"}:
            self._start_address(name, details, span)
            return
        self._depth += 1
        if name == "Strikethrough" and not self._is_struck(span):
            self._html.append("~")
        else:
            self._html.append(f"<{_INLINE_TAGS[name]}>")

    def _end(self, tag: Any, span: Range) -> None:
        name, details = name_and_details(tag)
        self._depth -= 1
        match name:
            case "Paragraph":
                self._close("</p>\n")
            case "Item":
                self._is_first = False
                self._close("</li>\n")
            case "Link" | "Image":
                self._end_address(span)
            case "Strikethrough" if not self._is_struck(span):
                self._html.append("~")
            case "List":
                self._close("</ol>\n" if details else "</ul>\n")
            case "Heading":
                self._close(f"</h{details[1]}>\n")
            case "BlockQuote":
                self._close("</blockquote>\n")
            case "Table":
                if self._cell == "td":
                    self._close("</tbody>\n")
                self._close("</table>")
                self._close("</div>\n")
            case "TableHead":
                self._close("</tr>\n")
                self._close("</thead>\n")
                if self._has_rows():
                    self._open("tbody", "<tbody>\n")
            case "TableRow":
                self._close("</tr>\n")
            case "TableCell":
                self._close(f"</{self._cell}>\n")
            case _:
                self._html.append(f"</{_INLINE_TAGS[name]}>")

    def _has_rows(self) -> bool:
        return bool(self._parsed.events[self._next][0] == {"Start": "TableRow"})

    def _is_struck(self, span: Range) -> bool:
        """Return whether text is between two tildes on each side. A single one often means "about"."""
        return self._parsed.between(span["start"], span["start"] + 2) == "~~"

    def _skip(self) -> str:
        """Go to the end of the element that has just started, and return its text."""
        text: list[str] = []
        depth = 1
        while depth:
            event = self._parsed.events[self._next][0]
            self._next += 1
            if isinstance(event, str):
                text.append("\n")
                continue
            ((kind, value),) = event.items()
            if kind == "Start":
                depth += 1
            elif kind == "End":
                depth -= 1
            else:
                text.append(value)
        return "".join(text)

    def _code(self, details: Any) -> None:
        words = details["Fenced"].split() if details != "Indented" else []
        code = self._skip()
        language = words[0] if words else ""
        if self._has_placeholders:
            code, language = restore(code), restore(language)
        self._depth -= 1
        coloured = highlighting.highlight(code, language=language) if self._is_finished else None
        self._open("div", '<div class="code" dir="ltr">')
        self._html.append(
            f'<div class="code__bar"><span class="code__language">{escape_text(language[:40])}</span>'
            f'<button type="button" class="code__copy" data-copy="">{escape_text(_("Copy"))}</button></div>'
        )
        self._open("pre", '<pre tabindex="0">')
        self._open("code", "<code>")
        self._html.append(coloured if coloured is not None else escape_text(code))
        self._close("</code>")
        self._close("</pre>")
        self._close("</div>\n")

    def _use(self, details: Any) -> str:
        """Return the address of a link or image, or an empty string if it isn't allowed."""
        address = details["dest_url"]
        if self._has_placeholders:
            address = restore(address)
        address = safe_address("mailto:" + address if details["link_type"] == "Email" else address)
        self._references.used += len(address)
        return address if self._references.used <= _MAX_ADDRESSES else ""

    def _start_address(self, name: str, details: Any, span: Range) -> None:
        address = self._use(details)
        if name == "Image" and address:
            host = host_of(address)
            note = _host_note(_("image: %(host)s") % {"host": host} if host else "")
            self._html.append(self._text(self._skip()) + note)
            return
        self._depth += 1
        if address:
            shown = escape_text(address)
            self._html.append(
                f'<a href="{shown}" title="{shown}" target="_blank" rel="noopener noreferrer nofollow ugc">'
            )
        else:
            # Shown as it was written: what comes before its text, here, and what comes after, at its end.
            event, content = self._parsed.events[self._next]
            is_empty = "End" in event
            begun = self._parsed.between(span["start"], span["end"] if is_empty else content["start"])
            # The parser leaves out the backslash of an escaped character.
            self._html.append(self._text(begun if is_empty else begun.removesuffix("\\")))
        self._links.append((len(self._html), address))

    def _end_address(self, span: Range) -> None:
        start, address = self._links.pop()
        if address:
            text = "".join(self._html[start:]).strip()
            names_itself = text in {escape_text(address), escape_text(address.removeprefix("mailto:"))}
            self._html.append("</a>" + ("" if names_itself else _host_note(host_of(address))))
            return
        content = self._parsed.events[self._next - 2][1]
        if content["end"] < span["end"]:
            self._html.append(self._source(content["end"], span["end"]))


def _list_tag(first: int | None) -> str:
    if first is None:
        return "<ul>\n"
    return "<ol>\n" if first == 1 else f'<ol start="{first}">\n'


def _host_note(note: str) -> str:
    return f' <span class="link-host">({escape_text(note)})</span>' if note else ""
