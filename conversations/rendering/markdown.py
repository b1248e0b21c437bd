"""Markdown as a model writes it, made into HTML piece by piece while it streams.

A text is cut into pieces at places that depend on the text alone, never on how it was chunked on its way: between
top-level blocks, and in long lists between items. A piece is finished once a line of the next one is complete, and is
rendered once. So a stream and the whole text have the same pieces and the same HTML. Only a link whose address is
defined elsewhere in the text (`[text][name]`) needs the whole: `has_references` says so.
"""

import itertools
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language
from markdown_it.token import Token

from .html import escape_text, parse, render_plain, render_tokens

LONG_LIST = 1_000
"""Characters after which a list is cut before its next item."""
LONGEST_BLOCK = 60_000
"""Characters of one block, code excepted, beyond which it is shown without formatting."""
SLOW_SECONDS = 0.02
"""A parse that took more CPU time is not repeated until the open block has grown by SLOW_GROWTH: there are texts on which
parsers are slow, and a model can be made to write them. They come in fewer steps, and cost a few parses in all."""
SLOW_GROWTH = 1.5
_CACHED_TEXTS = 512

_LINE_END = re.compile(r"\r\n|\r|\n")
# Characters that mean nothing within a line that begins with a letter.
_PLAIN = r"(?:[^\W_]|[ ,.:?%'\"+/=\-\u3001\u3002\uff0c\uff1a\uff1f\uff01])"
_PLAIN_TEXT = re.compile(rf"{_PLAIN}+")
# A last line, perhaps of a list item, a quotation or a heading, that begins with a letter and ends with such characters.
_WORDS = re.compile(
    r"(?:\A|[\r\n]) *(?:(?:[-*+>]|[0-9]{1,9}[.)]|#{1,6}) +)*(?:[*_]{1,3}|[`\"'(\[])?[^\W\d_]"
    r"(?:[^\r\n]*?)(?P<end>[^\W_]|[,.:?])(?P<blanks> *)\Z"
)
_FENCE = re.compile(r"(?P<marker>`{3,}|~{3,})(?P<info>[^\r\n]*)(?:\r\n|\r|\n)")
_CLOSER = re.compile(r"</[a-z0-9]+>\n?")
_CLOSERS = re.compile(rf"(?:{_CLOSER.pattern})+\Z")
_WORD_CLOSERS = re.compile(r"(?:</(?:p|li|ul|ol|blockquote|h[1-6])>\n?)+")


@dataclass(frozen=True, slots=True)
class MarkdownUpdate:
    """What a feed changed. `offset` is how many characters of the whole text the finished blocks cover."""

    finished: str
    """HTML of the blocks that this feed finished, to append once."""
    open: str
    """HTML of what is still open. Empty where `append` says all."""
    append: tuple[int, str] | None
    """Set where the open HTML only grew: how many times to go to the last child from the element that holds it, and what
    to put at the end there."""
    offset: int


class MarkdownStream:
    """A text that grows. `offset` is where in the whole text it begins: 0, or an offset that another stream reported."""

    def __init__(self, *, offset: int = 0) -> None:
        self.has_references = False
        self._offset = offset
        self._text = ""
        self._open = ""
        # Where the open block is one whose HTML grows as its text does, without being parsed again.
        self._growing: _Code | _Words | None = None
        # Characters that there must be before it is parsed again.
        self._patience = 0

    def feed(self, text: str) -> MarkdownUpdate:
        """Take text that came, and return what it changed."""
        self._text += text
        if self._growing is not None:
            grown = self._growing.grow(text)
            if grown is not None:
                return MarkdownUpdate("", "", (self._growing.depth, grown), self._offset)
            self._open, self._growing = self._growing.html(self._open), None
        if len(self._text) < self._patience:
            return MarkdownUpdate("", "", (0, ""), self._offset)
        begun = time.thread_time()
        *done, rest = self._pieces(is_whole=False)
        finished = "".join(_render(piece, is_finished=True) for piece in done)
        self._offset += len(self._text) - len(rest)
        self._text = rest
        still_open = _render(rest, is_finished=False)
        append = None if finished else _difference(self._open, still_open)
        self._open = still_open
        self._growing = _growing(rest, still_open)
        is_slow = time.thread_time() - begun > SLOW_SECONDS
        self._patience = int(len(rest) * SLOW_GROWTH) if is_slow else 0
        return MarkdownUpdate(finished, still_open, append, self._offset)

    def finish(self) -> MarkdownUpdate:
        """Say that no more comes: everything is finished."""
        html = "".join(_render(piece, is_finished=True) for piece in self._pieces(is_whole=True))
        self._offset += len(self._text)
        self._text = self._open = ""
        self._growing = None
        return MarkdownUpdate(html, "", None, self._offset)

    def _pieces(self, *, is_whole: bool) -> list[str]:
        """Return the pieces of what is not finished; the last one is open. There is always one, which may be empty."""
        text = self._text
        try:
            tokens, defines = parse(text)
        except RecursionError:
            return [text]
        self.has_references = self.has_references or defines
        starts = [0, *(found.end() for found in _LINE_END.finditer(text))]
        # A line that is not complete may still become something else, so nothing begins with it.
        lines = len(starts) if is_whole else len(starts) - 1
        cuts = [0, *(starts[line] for line in _cuts(tokens, text, starts) if line < lines), len(text)]
        return [text[begin:end] for begin, end in itertools.pairwise(cuts)]


def _cuts(tokens: Sequence[Token], text: str, starts: Sequence[int]) -> Iterator[int]:
    """Yield the lines at which pieces begin, but for the first.

    A list is cut only before an item that begins at the margin: what follows it is then the same list on its own.
    """
    begin = None
    for token in tokens:
        if token.map is None:
            continue
        line = token.map[0]
        if token.level == 0 and token.nesting >= 0:
            if begin is not None:
                yield line
            begin = starts[line]
        elif (
            token.level == 1
            and token.type == "list_item_open"
            and begin is not None
            and starts[line] - begin >= LONG_LIST
            and text[starts[line]] not in " \t"
        ):
            yield line
            begin = starts[line]


def _render(piece: str, *, is_finished: bool) -> str:
    """Return the HTML of one piece."""
    try:
        tokens, _defines = parse(piece)
        if len(piece) > LONGEST_BLOCK and any(token.type == "inline" for token in tokens):
            return render_plain(piece)
        return render_tokens(tokens, is_finished=is_finished)
    except RecursionError:
        return render_plain(piece)


def _difference(old: str, new: str) -> tuple[int, str] | None:
    """Return how `new` comes from `old` by adding at the end of the last element at some depth, if it does.

    What stands before the closing tags at the end of `old` leaves just these elements open. Where `new` begins with it and
    ends with the same tags, what is between is whole HTML, for the inside of the innermost of them.
    """
    ending = _CLOSERS.search(old)
    if ending is None:
        return None
    closers = _CLOSER.findall(ending.group())
    for depth in range(len(closers), 0, -1):
        tail = "".join(closers[-depth:])
        if new.endswith(tail) and len(new) >= len(old) and new.startswith(old[: -len(tail)]):
            return depth, new[len(old) - len(tail) : len(new) - len(tail)]
    return None


class _Code:
    """A fenced code block that has no end yet: its text is its HTML, but for what could be its end."""

    depth = 3

    def __init__(self, marker: str, line: str) -> None:
        self._marker = marker
        self._line = line

    def html(self, begun: str) -> str:
        """Return the open HTML as it is now, for comparing: none, since this block is at its end, and made anew."""
        return ""

    def grow(self, text: str) -> str | None:
        """Return the HTML to add, or None where the block must be looked at as a whole."""
        lines = (self._line + text).split("\n")
        if "\r" in text or "\0" in text or any(line.lstrip(" ").startswith(self._marker) for line in lines):
            return None
        self._line = lines[-1]
        return escape_text(text)


class _Words:
    """Text at whose end plain words can be added. Blanks at its end are shown once something follows them."""

    def __init__(self, *, closers: str, blanks: str) -> None:
        self.depth = len(_CLOSER.findall(closers))
        self._closers = closers
        self._blanks = blanks
        self._grown: list[str] = []

    def html(self, begun: str) -> str:
        """Return the open HTML as it is now, which was `begun` before the words came."""
        return begun[: -len(self._closers)] + "".join(self._grown) + self._closers

    def grow(self, text: str) -> str | None:
        """Return the HTML to add, or None where the block must be looked at as a whole."""
        if _PLAIN_TEXT.fullmatch(text) is None:
            return None
        text = self._blanks + text
        visible = text.rstrip(" ")
        self._blanks = text[len(visible) :]
        self._grown.append(escape_text(visible))
        return self._grown[-1]


def _growing(piece: str, html: str) -> _Code | _Words | None:
    """Return how this open piece can grow without being parsed again, if it can."""
    if len(piece) > LONGEST_BLOCK:
        return None
    fence = _FENCE.match(piece)
    if fence is not None:
        marker = fence["marker"]
        lines = piece[fence.end() :].split("\n")
        if "\r" in piece or "\0" in piece or (marker[0] == "`" and "`" in fence["info"]):
            return None
        if any(line.lstrip(" ").startswith(marker) for line in lines):
            return None
        return _Code(marker[0], lines[-1])
    words = _WORDS.search(piece)
    ending = _CLOSERS.search(html)
    # The words must be text of their own in the innermost of the last elements, which a code block's or a cell's are not.
    if words is None or ending is None or not _WORD_CLOSERS.fullmatch(ending.group()):
        return None
    if not html[: ending.start()].endswith(escape_text(words["end"])):
        return None
    return _Words(closers=ending.group(), blanks=words["blanks"])


def render_markdown(text: str) -> SafeString:
    """Return the HTML of a complete text: the elements that a page has which watched it grow."""
    return _rendered(text, get_language())


@lru_cache(maxsize=_CACHED_TEXTS)
def _rendered(text: str, language: str | None) -> SafeString:
    stream = MarkdownStream()
    stream._text = text
    html = stream.finish().finished
    if stream.has_references:
        # Only now are all definitions known, also for what stands before them.
        html = _render(text, is_finished=True)
    return mark_safe(html)  # noqa: S308  (it comes from the sanitiser)
