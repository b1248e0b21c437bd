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
from .html import Level, Rendered, render_html
from .parser import Parsed, References, block_starts, definitions, parse, with_content
from .sanitiser import clean, clean_part, escape_text

LONG_LIST = 1_000
"""After this many characters, a list is cut before its next item."""
MAX_BLOCK_LENGTH = 16_000
"""After this many characters, any block except fenced code is cut at the end of a line.

Parsers are slow on some texts, and a model can be made to write them.
"""
QUICK = 3_000
"""A text up to this cost renders in less than 50 ms, whatever it contains."""
_STEPS = 20
"""An open block that costs more than QUICK is parsed again each time it has grown by its cost divided by this."""
_CACHED_CHARACTERS = 8_000_000

_LINE = re.compile(r"[^\r\n]*+(?:\r\n|\r|\n|\Z)")
# Characters without a special meaning in a line that starts with a letter.
_PLAIN = r"(?:[^\W_]|[ ,.:?%'\"+/=\-\u3001\u3002\uff0c\uff1a\uff1f\uff01])"
_PLAIN_TEXT = re.compile(rf"{_PLAIN}+")
# The start of a line whose text starts with a letter, possibly inside a list item, quotation or heading.
_LETTER_FIRST = re.compile(r" *+(?:(?:[-*+>]|[0-9]{1,9}[.)]|#{1,6}) ++)*+(?:[*_]{1,3}|[`\"'(\[])?[^\W\d_]")
_WORD_END = re.compile(r"[^\W_]|[,.:?]")
_FENCE = re.compile(r"(?P<indent> {0,3})(?P<marker>`{3,}+|~{3,}+)(?P<info>[^\r\n]*+)(?:\r\n|\r|\n)")
# Characters that code doesn't keep as they are.
_ODD_IN_CODE = re.compile(r"[\r\0\ud800-\udfff\ufdd0-\ufdef]")
_OPEN_FENCE = re.compile(r"^(?:```|~~~)", re.MULTILINE)
_HOLDS_WORDS = frozenset({"p", "li", "h"})
"""The tags of blocks that can have direct text, except for the cells of a table, where words can contain a bar."""


@dataclass(frozen=True, slots=True)
class Change:
    """How the open HTML changed.

    `depth` says how often to descend to the last child, starting from the element that holds the open HTML.
    """

    depth: int
    html: str
    is_addition: bool
    """Whether the HTML is added to what that element contains, or replaces it."""


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
        self._growing: _Code | _Words | None = None
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
                return self._update(
                    "", Change(self._growing.depth, self._growing.grow(text), is_addition=True)
                )
            self._open, self._growing = self._growing.rendered(), None
        if len(self._text) < self._next_parse_length:
            return self._update("", Change(0, "", is_addition=True))
        *done, rest = self._pieces(is_whole=False)
        finished = "".join(piece.render(is_finished=True) for piece in done)
        self._offset += len(self._text) - len(rest.text)
        self._text = rest.text
        old, new = self._open, rest.rendered(is_finished=False)
        self._open = new
        self._growing = _growing(rest.text, new)
        cost = cost_of(rest.text)
        self._next_parse_length = len(rest.text) + cost // _STEPS if cost > QUICK else 0
        if finished or old is None:
            return self._update(finished, Change(0, clean(new.html), is_addition=False))
        return self._update("", _change(old, new))

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
    """Return the cost of parsing a text: its length, plus a surcharge for characters that are slow to parse."""
    lines = text.count("\n") + text.count("\r")
    return len(text) + 8 * (text.count("[") + text.count("|")) + 15 * lines


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
    fence = _FENCE.match(text, begin)
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


def _change(old: Rendered, new: Rendered) -> Change:
    """Return the shortest change that turns one HTML into the other: in the last block that both have in common."""
    depth, last = 0, Level("", 0, 0)
    before = last
    for was, now in zip(old.levels, new.levels, strict=False):
        if (
            was.tag != now.tag
            or was.begin != now.begin
            or old.html[last.begin : now.begin] != new.html[last.begin : now.begin]
        ):
            break
        depth, before, last = depth + 1, was, now
    old_content = old.html[before.begin : len(old.html) - before.after]
    content = new.html[last.begin : len(new.html) - last.after]
    if content.startswith(old_content):
        return Change(depth, clean_part(content[len(old_content) :], parent=last.tag), is_addition=True)
    return Change(depth, clean_part(content, parent=last.tag), is_addition=False)


class _Growing:
    """An open block whose HTML grows with its text, without being parsed again."""

    def __init__(self, begun: Rendered) -> None:
        self.depth = len(begun.levels)
        self._begun = begun
        self._grown: list[str] = []

    def rendered(self) -> Rendered:
        """Return the open HTML with what has been added."""
        html, levels = self._begun
        end = len(html) - levels[-1].after
        return Rendered(html[:end] + "".join(self._grown) + html[end:], levels)

    def _add(self, text: str) -> str:
        self._grown.append(escape_text(text))
        return self._grown[-1]


class _Code(_Growing):
    """A fenced code block without its end: its HTML grows with its text, except for what may be a closing fence."""

    def __init__(self, begun: Rendered, *, marker: str, line: str) -> None:
        super().__init__(begun)
        self._marker = marker
        self._line = line

    def can_grow(self, text: str) -> bool:
        """Return whether this text can be added without parsing the block again."""
        return _ODD_IN_CODE.search(text) is None and not _has_marker(self._line + text, self._marker)

    def grow(self, text: str) -> str:
        """Return the HTML to add."""
        # Of an incomplete line, only the first character that isn't a space matters.
        line = (self._line + text).rpartition("\n")[2]
        self._line = line.lstrip(" ")[:1]
        return self._add(text)


class _Words(_Growing):
    """Text to which plain words can be added. Trailing spaces are held back until something follows them."""

    def __init__(self, begun: Rendered, *, blanks: str) -> None:
        super().__init__(begun)
        self._blanks = blanks

    def can_grow(self, text: str) -> bool:
        """Return whether this text can be added without parsing the block again."""
        return _PLAIN_TEXT.fullmatch(text) is not None

    def grow(self, text: str) -> str:
        """Return the HTML to add."""
        text = self._blanks + text
        visible = text.rstrip(" ")
        self._blanks = text[len(visible) :]
        return self._add(visible)


def _has_marker(lines: str, marker: str) -> bool:
    return any(line.lstrip(" ").startswith(marker) for line in lines.split("\n"))


def _growing(piece: str, begun: Rendered) -> _Code | _Words | None:
    """Return how this open piece can grow without being parsed again, or None if it can't."""
    if not begun.levels:
        return None
    last = begun.levels[-1]
    fence = _FENCE.match(piece)
    if fence is not None:
        marker = fence["marker"]
        code = piece[fence.end() :]
        if fence["indent"] or _ODD_IN_CODE.search(piece) or (marker[0] == "`" and "`" in fence["info"]):
            return None
        if last.tag != "code" or _has_marker(code, marker):
            return None
        # Load the language now, so that it is ready when the code ends.
        highlighting.warm_up(fence["info"].strip().partition(" ")[0])
        return _Code(begun, marker=marker[0], line=code.rpartition("\n")[2])
    line = piece[max(piece.rfind("\n"), piece.rfind("\r")) + 1 :]
    words = line.rstrip(" ")
    if last.tag not in _HOLDS_WORDS or not words or not _WORD_END.match(words[-1]):
        return None
    letter = _LETTER_FIRST.match(line)
    # The words must be direct text of the last block, unlike in an inner element.
    if letter is None or letter.end() >= len(words) or not _ends_with(begun, escape_text(words[-1])):
        return None
    return _Words(begun, blanks=line[len(words) :])


def _ends_with(rendered: Rendered, text: str) -> bool:
    return rendered.html.endswith(text, 0, len(rendered.html) - rendered.levels[-1].after)


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
