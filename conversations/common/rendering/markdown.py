"""Render Markdown to HTML incrementally while it streams.

A text is cut into pieces between top-level blocks and, in long lists, between items. Where it is cut depends only on
the text itself, not on how it was split in transit. Each piece is rendered once, as soon as a line of the next piece is
complete. Therefore a streamed text and the complete text have the same pieces and the same HTML. The exception is a
link whose address is defined elsewhere in the text (`[text][name]`); `has_references` says whether there is one.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language

from . import highlighting
from .cache import Cache
from .growth import FENCE, Change, Code, Line, change, growing
from .html import Rendered, render_html
from .parser import Parsed, References, block_starts, definitions, parse, with_content
from .sanitiser import clean

LONG_LIST = 1_000
"""After this many characters, a list is cut before its next item."""
MAX_BLOCK_LENGTH = 16_000
"""After this many characters, any block except fenced code is cut at the end of a line.

Parsers are slow on some texts, and a model can be made to write them.
"""
QUICK = 9_000
"""A text up to this cost renders in less than 50 ms, whatever it contains."""
_COSTLY = 3_000
_STEPS = 20
"""An open block that costs more than _COSTLY is parsed again each time it has grown by its cost divided by this."""
_CACHED_CHARACTERS = 8_000_000

_LINE = re.compile(r"[^\r\n]*+(?:\r\n|\r|\n|\Z)")
_OPEN_FENCE = re.compile(r"^(?:```|~~~)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class MarkdownUpdate:
    """What a feed changed. `offset` is how many characters of the whole text the finished blocks cover."""

    finished: str
    """HTML of the blocks that this feed finished, to be added once."""
    change: Change
    """If blocks were finished, or if this is the first feed, it has all of the open HTML."""
    offset: int


class MarkdownStream:
    """A growing text. It starts at `offset` in the whole text: 0, or an offset that another stream reported."""

    def __init__(self, *, offset: int = 0) -> None:
        self.has_references = False
        self._offset = offset
        self._text = ""
        # Before the first feed, the page may show anything.
        self._open: Rendered | None = None
        # Set if the open block's HTML can grow with its text without being parsed again.
        self._growing: Code | Line | None = None
        # The length that the text must reach before it is parsed again.
        self._next_parse_length = 0

    def is_quick(self, text: str) -> bool:
        """Return whether `feed` handles this text in less than 50 ms and without waiting, whatever it contains."""
        if len(text) <= QUICK and self._growing is not None and self._growing.can_grow(text):
            return True
        return len(self._text) + len(text) <= QUICK and is_quick(self._text + text, is_whole=False)

    def is_quick_to_finish(self) -> bool:
        """Return whether `finish` takes less than 50 ms and doesn't wait."""
        return is_quick(self._text)

    def feed(self, text: str) -> MarkdownUpdate:
        """Add text, and return what it changed."""
        self._text += text
        if self._growing is not None:
            if self._growing.can_grow(text):
                return self._update("", self._growing.grow(text))
            self._open, self._growing = self._growing.rendered(), None
        if len(self._text) < self._next_parse_length:
            return self._update("", Change(0, "", is_addition=True))
        *done, rest = self._pieces(is_whole=False)
        finished = "".join(piece.render(is_finished=True) for piece in done)
        self._offset += len(self._text) - len(rest.text)
        self._text = rest.text
        old, new = self._open, rest.rendered(is_finished=False)
        self._open = new
        self._growing = growing(rest.text, new)
        cost = cost_of(rest.text)
        self._next_parse_length = len(rest.text) + cost // _STEPS if cost > _COSTLY else 0
        if finished or old is None:
            return self._update(finished, Change(0, clean(new.html), is_addition=False))
        return self._update("", change(old, new))

    def _update(self, finished: str, change: Change) -> MarkdownUpdate:
        return MarkdownUpdate(finished, change, self._offset)

    def finish(self) -> MarkdownUpdate:
        """End the text, and return the HTML of all remaining blocks as finished."""
        html = "".join(piece.render(is_finished=True) for piece in self._pieces(is_whole=True))
        self._offset += len(self._text)
        self._text = ""
        self._open, self._growing = None, None
        return self._update(html, Change(0, "", is_addition=False))

    def _pieces(self, *, is_whole: bool) -> "list[_Piece]":
        """Return the unfinished pieces, of which the last is open. There is always at least one, possibly empty."""
        pieces = list(_cut(self._text, is_whole=is_whole))
        self.has_references = self.has_references or any(piece.defines for piece in pieces)
        return pieces


def cost_of(text: str) -> int:
    """Return the cost of rendering a text: its length, plus a surcharge for each line, because it may be a block."""
    return len(text) + 5 * (text.count("\n") + text.count("\r"))


def is_quick(text: str, *, is_whole: bool = True) -> bool:
    """Return whether a text renders in less than 50 ms and without waiting for highlighting."""
    if len(text) > QUICK or cost_of(text) > QUICK:
        return False
    fences = text.count("```") + text.count("~~~")
    # Code with its fence at the margin doesn't end before a second fence, and only finished code is highlighted.
    return fences == 0 or (not is_whole and fences == 1 and _OPEN_FENCE.search(text) is not None)


@dataclass(slots=True)
class _Piece:
    """Part of a text that is rendered by itself. `parsed` is None if the piece was cut from a longer text."""

    text: str
    defines: dict[str, str]
    parsed: Parsed | None = None

    def render(self, *, is_finished: bool, references: References | None = None) -> str:
        """Return the sanitised HTML, using the references of the whole text if they are given."""
        return clean(self.rendered(is_finished=is_finished, references=references).html)

    def rendered(self, *, is_finished: bool, references: References | None = None) -> Rendered:
        """Return the HTML before it is sanitised."""
        references = references or References()
        parsed = with_content(self.parsed or parse(self.text), references, is_finished=is_finished)
        self.parsed = None
        return render_html(parsed, references, is_finished=is_finished)


def _cut(text: str, *, is_whole: bool) -> Iterator[_Piece]:
    """Yield the pieces of a text. It is parsed in windows, so that the time grows linearly with its length."""
    begin = 0
    while True:
        end = begin + _fence_length(text, begin) + MAX_BLOCK_LENGTH
        window = text[begin:end]
        is_last = end >= len(text)
        parsed = parse(window)
        # No piece starts at an incomplete line, because it may still turn into something else.
        complete = len(window) + 1 if is_whole and is_last else _last_line_start(window)
        cuts = [cut for cut in _cuts(parsed, window) if cut < complete]
        defined = definitions(parsed)
        if not cuts and is_last:
            yield _Piece(window, {label: address for label, (address, _start) in defined.items()}, parsed)
            return
        if not cuts:
            # A return at the end may be the first half of a line end.
            cuts = [_last_line_start(window.removesuffix("\r")) or len(window)]
        # A definition after the last cut may be truncated by the window. It will be read with the next window.
        last_cut = len(parsed.source[: cuts[-1]].encode())
        defines = {
            label: address for label, (address, start) in defined.items() if is_last or start < last_cut
        }
        for number, (first, last) in enumerate(itertools.pairwise([0, *cuts])):
            yield _Piece(window[first:last], {} if number else defines)
        begin += cuts[-1]
        if is_last:
            yield _Piece(text[begin:], {})
            return


def _last_line_start(window: str) -> int:
    """Return where the last line of a window starts: after its last line end, which may be the window's end."""
    return max(window.rfind("\n"), window.rfind("\r")) + 1


def _fence_length(text: str, begin: int) -> int:
    """Return the length of the fenced code that starts here, or 0 if there is none. Unclosed code goes to the end."""
    fence = FENCE.match(text, begin)
    if fence is None or (fence["marker"][0] == "`" and "`" in fence["info"]):
        return 0
    marker = fence["marker"]
    position = fence.end()
    for line in _LINE.finditer(text, position):
        closing = line.group().strip(" \t\r\n")
        if len(closing) >= len(marker) and not closing.strip(marker[0]):
            return line.end() - begin
    return len(text) - begin


def _cuts(parsed: Parsed, text: str) -> Iterator[int]:
    """Yield where pieces start, except the first.

    A list is cut only before an item at the margin, so that the rest is the same list when parsed by itself.
    """
    begin = None
    for position, is_item in block_starts(parsed):
        start = max(text.rfind("\n", 0, position), text.rfind("\r", 0, position)) + 1
        if not is_item:
            if begin is not None:
                yield start
            begin = start
        elif begin is not None and start - begin >= LONG_LIST and text[start] not in " \t":
            yield start
            begin = start


def render_markdown(text: str) -> SafeString:
    """Return the HTML of a complete text. It has the same elements as a page that received the text as a stream."""
    key = text, get_language()
    known = _rendered.get(key)
    if known is not None:
        return known[0]
    with highlighting.shared_wait() as wait:
        missed = wait.missed
        html = mark_safe(_render_whole(text))  # noqa: S308  (it comes from the sanitiser)
        if wait.missed == missed:
            _rendered.put(key, html, weight=len(text) + len(html))
    return html


_rendered: Cache[tuple[str, str | None], SafeString] = Cache(_CACHED_CHARACTERS)


def _render_whole(text: str) -> str:
    pieces = list(_cut(text, is_whole=True))
    references = References()
    for piece in pieces:
        # If a name is defined more than once, the first definition applies.
        references.addresses = piece.defines | references.addresses
    # A link may be used before the line that defines its address.
    whole = references if references.addresses else None
    return "".join(piece.render(is_finished=True, references=whole) for piece in pieces)
