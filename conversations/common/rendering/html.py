"""Convert Markdown tokens to HTML that is safe to show, whatever a model wrote.

There are two defences: the parser never passes HTML through, and all output goes through a strict allowlist. Nothing is
loaded from other sites (an image is replaced by its text and host), and links show where they lead.
"""

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.html import escape
from django.utils.translation import gettext as _
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from . import highlighting
from .links import host_of, is_allowed
from .maths import keep_formulas
from .sanitiser import clean

# The parser takes more time the more of these a text has. Beyond these limits, text is shown as it was written.
_MAX_NESTING = 24
_MAX_BRACKETS = 200
"""Opening brackets in one paragraph, heading or cell. The parser searches for the end of a link from each of them."""
_MAX_FILLED_CELLS = 1_000
"""Cells added to a table whose rows are shorter than its header."""
_MAX_ADDRESSES = 100_000
"""Total characters of the addresses in one text. An address defined once can be used thousands of times."""
_ALIGNMENT = re.compile(r"text-align:(left|center|right)")

_OPENS_TEXT = frozenset(
    {
        "paragraph_open",
        "heading_open",
        "blockquote_open",
        "list_item_open",
        "table_open",
        "th_open",
        "td_open",
    }
)
"""The tokens whose text has a direction of its own."""
_OPENS_CONTAINER = frozenset({"blockquote_open", "list_item_open", "table_open"})
_IS_TRANSPARENT = frozenset({"bullet_list_open", "ordered_list_open", "thead_open", "tr_open"})


class _Renderer(RendererHTML):
    """markdown-it's renderer, with this site's code blocks, links, images and tables."""

    def fence(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        words = tokens[idx].info.split()
        return render_code(
            tokens[idx].content, language=words[0] if words else "", is_finished=bool(env["finished"])
        )

    def code_block(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return render_code(tokens[idx].content, language="", is_finished=bool(env["finished"]))

    def code_inline(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return f'<code dir="ltr">{escape(tokens[idx].content)}</code>'

    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        token = tokens[idx]
        text = self.renderInlineAsText(token.children or [], options, env)
        host = host_of(str(token.attrs.get("src", "")))
        return escape(text) + _host_note(_("image: %(host)s") % {"host": host} if host else "")

    def link_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        address = str(tokens[idx].attrs.get("href", ""))
        return (
            f'<a href="{escape(address)}" title="{escape(address)}" target="_blank" '
            'rel="noopener noreferrer nofollow ugc">'
        )

    def link_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        opened = next(number for number in range(idx - 1, -1, -1) if tokens[number].type == "link_open")
        address = str(tokens[opened].attrs.get("href", ""))
        text = self.renderInlineAsText(tokens[opened + 1 : idx], options, env)
        host = host_of(address)
        names_itself = text.strip() in {address, address.removeprefix("mailto:")}
        return "</a>" + ("" if names_itself else _host_note(host))

    def table_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return f'<div class="table" tabindex="0"><table{_direction(tokens[idx])}>\n'

    def table_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return "</table></div>\n"

    def th_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return _cell(tokens[idx])

    def td_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return _cell(tokens[idx])


def _cell(token: Token) -> str:
    # The Content-Security-Policy would block a style attribute.
    aligned = _ALIGNMENT.search(str(token.attrs.get("style", "")))
    alignment = f' class="align-{aligned.group(1)}"' if aligned else ""
    return f"<{token.tag}{alignment}{_direction(token)}>"


def _direction(token: Token) -> str:
    return ' dir="auto"' if "dir" in token.attrs else ""


def _set_directions(tokens: Sequence[Token]) -> None:
    """Let the browser choose the direction of each block of text by its first letter.

    A browser ignores inner elements that have a direction of their own. So the first block of a list item, quotation or
    table has none, and the direction of its text also places the bullet, the line beside the quotation or the columns.
    """
    is_first = False
    for token in tokens:
        if token.type in _OPENS_TEXT and not is_first:
            token.attrSet("dir", "auto")
        if token.type not in _IS_TRANSPARENT:
            is_first = token.type in _OPENS_CONTAINER


@dataclass(slots=True)
class References:
    """The link definitions of a text, and how many characters of addresses it has used so far."""

    addresses: dict[str, Any] = field(default_factory=dict)
    used: int = 0


def _parse_inline(state: StateCore) -> None:
    """Parse the content of paragraphs, headings and cells. Replaces markdown-it's rule of this name, adding limits."""
    references: References = state.env["used"]
    for token in state.tokens:
        if token.type == "inline":
            token.children = _children(token.content, references, state)


def _children(text: str, references: References, state: StateCore) -> list[Token]:
    plain = Token("text", "", 0, content=text)
    if text.count("[") > _MAX_BRACKETS:
        return [plain]
    children: list[Token] = []
    try:
        state.md.inline.parse(text, state.md, state.env, children)
    except RecursionError:
        return [plain]
    references.used += sum(
        len(str(child.attrs.get("href") or child.attrs.get("src") or "")) for child in children
    )
    return [plain] if references.used > _MAX_ADDRESSES else children


def _make_parser(*rules: str) -> MarkdownIt:
    """Return a parser that runs only these core rules."""
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": _MAX_NESTING}, renderer_cls=_Renderer)
    parser.enable(["table", "strikethrough"])
    keep_formulas(parser)
    parser.core.ruler.at("inline", _parse_inline)
    parser.core.ruler.enableOnly(rules)
    parser.validateLink = is_allowed  # type: ignore[method-assign, assignment]
    return parser


_BLOCKS = _make_parser("normalize", "block")
_INLINE = _make_parser("inline", "text_join")
# The limit isn't an option of the parser. Imported by name because the package has a function of the same name.
importlib.import_module("markdown_it.rules_block.table").MAX_AUTOCOMPLETED_CELLS = _MAX_FILLED_CELLS  # type: ignore[attr-defined]


def parse_blocks(text: str) -> tuple[list[Token], References]:
    """Return the blocks of a text, with their content not yet parsed, and the references that the text defines."""
    env: dict[str, Any] = {}
    tokens = _BLOCKS.parse(text, env)
    return tokens, References(env.get("references", {}))


def render_blocks(tokens: list[Token], references: References, *, is_finished: bool) -> str:
    """Return sanitised HTML. Only finished code is highlighted, to avoid repeating it for each new line."""
    env = {"references": references.addresses, "used": references, "finished": is_finished}
    _set_directions(tokens)
    _INLINE.core.process(StateCore("", _INLINE, env, tokens))
    return clean(str(_INLINE.renderer.render(tokens, _INLINE.options, env)))


def render_code(code: str, *, language: str, is_finished: bool) -> str:
    """Return a code block with its language and a copy button."""
    coloured = highlighting.highlight(code, language=language) if is_finished else None
    return (
        f'<div class="code" dir="ltr"><div class="code__bar"><span class="code__language">{escape(language[:40])}</span>'
        f'<button type="button" class="code__copy" data-copy>{escape(_("Copy"))}</button></div>'
        f'<pre tabindex="0"><code>{coloured if coloured is not None else escape(code)}</code></pre></div>\n'
    )


def _host_note(note: str) -> str:
    return f' <span class="link-host">({escape(note)})</span>' if note else ""
