"""How the HTML of an open block changes, and how it grows with its text without being parsed again."""

import re
from dataclasses import dataclass

from . import highlighting
from .html import Level, Rendered, render_html
from .parser import References, parse
from .sanitiser import clean_part, escape_text

_MAX_TAIL_LENGTH = 500
"""The end of a line that is parsed by itself, in characters. After that, the whole block is parsed again."""

# Characters without a special meaning in a line that starts with a letter.
_PLAIN = r"(?:[^\W_]|[ ,.:?%'\"+/=\-\u3001\u3002\uff0c\uff1a\uff1f\uff01])"
_PLAIN_TEXT = re.compile(rf"{_PLAIN}+")
# Characters that affect neither the block they are in nor what is before them, except for what is still open there.
_IN_LINE = re.compile(r"[^\x00-\x1f\x7f\\|#<>&$\xa0\u2028\u2029\x85\ud800-\udfff\ufdd0-\ufdef]+")
# The start of a line whose text starts with a letter, possibly inside a list item, quotation or heading.
_LETTER_FIRST = re.compile(r" *+(?:(?:[-*+>]|[0-9]{1,9}[.)]|#{1,6}) ++)*+(?:[*_]{1,3}|[`\"'(\[])?[^\W\d_]")
_WORD_END = re.compile(r"[^\W_]|[,.:?]")
FENCE = re.compile(r"(?P<indent> {0,3})(?P<marker>`{3,}+|~{3,}+)(?P<info>[^\r\n]*+)(?:\r\n|\r|\n)")
"""The first line of fenced code."""
# Characters that code doesn't keep as they are.
_ODD_IN_CODE = re.compile(r"[\r\0\ud800-\udfff\ufdd0-\ufdef]")
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


def change(old: Rendered, new: Rendered) -> Change:
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
    return _content_change(old_content, content, depth=depth, parent=last.tag)


def _content_change(old: str, new: str, *, depth: int, parent: str) -> Change:
    if new.startswith(old):
        return Change(depth, clean_part(new[len(old) :], parent=parent), is_addition=True)
    return Change(depth, clean_part(new, parent=parent), is_addition=False)


class Code:
    """A fenced code block without its end: its HTML grows with its text, except for what may be a closing fence."""

    def __init__(self, begun: Rendered, *, marker: str, line: str) -> None:
        self._begun = begun
        self._marker = marker
        self._line = line
        self._grown: list[str] = []

    def rendered(self) -> Rendered:
        """Return the open HTML with what has been added."""
        return _with_added(self._begun, "".join(self._grown))

    def can_grow(self, text: str) -> bool:
        """Return whether this text can be added without parsing the block again."""
        return _ODD_IN_CODE.search(text) is None and not _has_marker(self._line + text, self._marker)

    def grow(self, text: str) -> Change:
        """Add the text, and return what it changes."""
        # Of an incomplete line, only the first character that isn't a space matters.
        line = (self._line + text).rpartition("\n")[2]
        self._line = line.lstrip(" ")[:1]
        self._grown.append(escape_text(text))
        return Change(len(self._begun.levels), self._grown[-1], is_addition=True)


class Line:
    """A line whose text starts with a letter. Trailing spaces are held back until something follows them.

    Plain words are added as they are. Other text is parsed together with the end of the line, from the place where nothing
    was open any more: no emphasis, link or code that later text could complete.
    """

    def __init__(self, begun: Rendered, *, words: str, blanks: str, is_settled: bool) -> None:
        self._begun = begun
        self._depth = len(begun.levels)
        self._is_settled = is_settled
        """Whether nothing was open at the end of what has been begun."""
        self._settled: list[str] = []
        self._last = words[-1]
        """The last character before the tail."""
        self._tail = self._tail_html = ""
        self._blanks = blanks
        self._takes_words = True

    def rendered(self) -> Rendered:
        """Return the open HTML with what has been added."""
        return _with_added(self._begun, "".join(self._settled) + self._tail_html)

    def can_grow(self, text: str) -> bool:
        """Return whether this text can be added without parsing the whole block again."""
        if self._takes_words and _PLAIN_TEXT.fullmatch(text) is not None:
            return True
        is_short = len(self._tail) + len(self._blanks) + len(text) <= _MAX_TAIL_LENGTH
        return self._is_settled and is_short and _IN_LINE.fullmatch(text) is not None

    def grow(self, text: str) -> Change:
        """Add the text, and return what it changes."""
        source = self._blanks + text
        visible = source.rstrip(" ")
        self._blanks = source[len(visible) :]
        if self._takes_words and _PLAIN_TEXT.fullmatch(text) is not None:
            return self._add_words(visible)
        return self._parse_tail(visible)

    def _add_words(self, words: str) -> Change:
        html = escape_text(words)
        if self._tail:
            self._tail += words
            self._tail_html += html
        elif words:
            self._settled.append(html)
            self._last = words[-1]
        return Change(self._depth, html, is_addition=True)

    def _parse_tail(self, visible: str) -> Change:
        self._tail += visible
        # A paragraph that begins with a letter and the character before the tail, which decides what an asterisk means.
        before = "x" + self._last
        parsed = parse(before + self._tail)
        rendered = render_html(parsed, References(), is_finished=False, depth=self._depth - 1)
        html = _content(rendered).removeprefix(escape_text(before))
        old, self._tail_html = self._tail_html, html
        if html.startswith(old):
            changed = Change(self._depth, clean_part(html[len(old) :], parent="p"), is_addition=True)
        else:
            content = _content(self._begun) + "".join(self._settled) + html
            changed = Change(self._depth, clean_part(content, parent="p"), is_addition=False)
        self._takes_words = _ends_with_word(rendered, self._tail)
        if self._takes_words and not rendered.has_open_marks():
            self._settled.append(html)
            self._last = self._tail[-1]
            self._tail = self._tail_html = ""
        return changed


def _content(rendered: Rendered) -> str:
    """Return the content of the last block."""
    last = rendered.levels[-1]
    return rendered.html[last.begin : len(rendered.html) - last.after]


def _with_added(begun: Rendered, added: str) -> Rendered:
    """Return HTML with this added to the content of its last block."""
    end = len(begun.html) - begun.levels[-1].after
    return begun._replace(html=begun.html[:end] + added + begun.html[end:])


def _has_marker(lines: str, marker: str) -> bool:
    return any(line.lstrip(" ").startswith(marker) for line in lines.split("\n"))


def _ends_with_word(rendered: Rendered, text: str) -> bool:
    """Return whether the text ends with a word that is direct text of the last block, not of an element inside of it."""
    if not text or not _WORD_END.match(text[-1]):
        return False
    return rendered.html.endswith(escape_text(text[-1]), 0, len(rendered.html) - rendered.levels[-1].after)


def growing(piece: str, begun: Rendered) -> Code | Line | None:
    """Return how this open piece can grow without being parsed again, or None if it can't."""
    if not begun.levels:
        return None
    last = begun.levels[-1]
    fence = FENCE.match(piece)
    if fence is not None:
        marker = fence["marker"]
        code = piece[fence.end() :]
        if fence["indent"] or _ODD_IN_CODE.search(piece) or (marker[0] == "`" and "`" in fence["info"]):
            return None
        if last.tag != "code" or _has_marker(code, marker):
            return None
        # Load the language now, so that it is ready when the code ends.
        highlighting.warm_up(fence["info"].strip().partition(" ")[0])
        return Code(begun, marker=marker[0], line=code.rpartition("\n")[2])
    line = piece[max(piece.rfind("\n"), piece.rfind("\r")) + 1 :]
    words = line.rstrip(" ")
    if last.tag not in _HOLDS_WORDS or not _ends_with_word(begun, words):
        return None
    letter = _LETTER_FIRST.match(line)
    if letter is None or letter.end() >= len(words):
        return None
    # A link in the line could use a definition in the same piece.
    is_settled = "]:" not in piece and not begun.has_open_marks()
    return Line(begun, words=words, blanks=line[len(words) :], is_settled=is_settled)
