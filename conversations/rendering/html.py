"""From Markdown tokens to HTML that is safe to show, whatever a model wrote.

Two walls: the parser makes no HTML of what looks like HTML, and every piece passes a strict allowlist before it leaves.
Policy: nothing is loaded from elsewhere (an image becomes its text and its host), and a link shows where it leads.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from io import StringIO
from typing import Any
from urllib.parse import urlsplit

import nh3
from django.utils.html import escape
from django.utils.translation import gettext as _
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from pygments.formatters import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES
from pygments.util import ClassNotFound

HIGHLIGHT_PREFIX = "hl-"
_LONGEST_HIGHLIGHTED = 20_000
_DEEPEST_NESTING = 24
# Direction marks and invisible characters, which can make an address look like another one.
_DISGUISE = re.compile(r"[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\u00ad]")
_SAFE_ADDRESS = re.compile(r"(?i)(?:https?://[^/\\\s]|mailto:[^\s])")
_ALIGNMENT = re.compile(r"text-align:(left|center|right)")

_CLEANER = nh3.Cleaner(
    tags={
        *(
            "p",
            "br",
            "hr",
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "blockquote",
            "ul",
            "ol",
            "li",
            "em",
            "strong",
            "s",
            "a",
        ),
        *("code", "pre", "div", "span", "button", "table", "thead", "tbody", "tr", "th", "td"),
    },
    attributes={
        "a": {"href", "title", "target", "rel"},
        "ol": {"start"},
        "button": {"type", "data-copy"},
        "pre": {"tabindex"},
        "div": {"tabindex"},
    },
    allowed_classes={
        "div": {"code", "code__bar", "table"},
        "span": {
            "code__language",
            "link-host",
            *(HIGHLIGHT_PREFIX + name for name in STANDARD_TYPES.values() if name),
        },
        "button": {"code__copy"},
        "th": {"align-left", "align-center", "align-right"},
        "td": {"align-left", "align-center", "align-right"},
    },
    url_schemes={"http", "https", "mailto"},
    link_rel=None,
    strip_comments=True,
)


class _Renderer(RendererHTML):
    """markdown-it's renderer with this site's code blocks, links, images and tables."""

    def fence(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        words = tokens[idx].info.split()
        return render_code(
            tokens[idx].content, language=words[0] if words else "", is_finished=bool(env["finished"])
        )

    def code_block(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return render_code(tokens[idx].content, language="", is_finished=bool(env["finished"]))

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
        return '<div class="table" tabindex="0"><table>\n'

    def table_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return "</table></div>\n"

    def th_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return _cell(tokens[idx])

    def td_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return _cell(tokens[idx])


def _cell(token: Token) -> str:
    # A style attribute would be refused by the Content-Security-Policy.
    aligned = _ALIGNMENT.search(str(token.attrs.get("style", "")))
    return f'<{token.tag} class="align-{aligned.group(1)}">' if aligned else f"<{token.tag}>"


def _make_parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": _DEEPEST_NESTING}, renderer_cls=_Renderer)
    parser.enable(["table", "strikethrough"])
    parser.validateLink = lambda url: _SAFE_ADDRESS.match(url) is not None  # type: ignore[method-assign]
    return parser


_PARSER = _make_parser()


@lru_cache(maxsize=16)
def parse(text: str) -> tuple[list[Token], bool]:
    """Return the tokens of a text, and whether it defines references. Raises RecursionError for absurd nesting.

    The last few are kept: a text is parsed to see where it can be cut, and then rendered.
    """
    env: dict[str, Any] = {}
    tokens = _PARSER.parse(text, env)
    return tokens, bool(env.get("references"))


def render_tokens(tokens: Sequence[Token], *, is_finished: bool) -> str:
    """Return sanitised HTML. Only finished code is coloured: it would otherwise be done again for each line of it."""
    return clean(str(_PARSER.renderer.render(tokens, _PARSER.options, {"finished": is_finished})))


def clean(html: str) -> str:
    """Return this HTML with nothing in it but what the allowlist has."""
    return str(_CLEANER.clean(html))


def render_plain(text: str) -> str:
    """Return a text as one paragraph, without any formatting: the way out for what no parser should be asked."""
    return f"<p>{escape_text(text)}</p>\n"


def escape_text(text: str) -> str:
    """Return text as it is written between tags, exactly as the sanitiser writes it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\xa0", "&nbsp;")


def render_code(code: str, *, language: str, is_finished: bool) -> str:
    """Return a code block with its language and a button to copy it."""
    coloured = _highlight(code, language) if is_finished and len(code) <= _LONGEST_HIGHLIGHTED else None
    return (
        f'<div class="code"><div class="code__bar"><span class="code__language">{escape(language[:40])}</span>'
        f'<button type="button" class="code__copy" data-copy>{escape(_("Copy"))}</button></div>'
        f'<pre tabindex="0"><code>{coloured if coloured is not None else escape(code)}</code></pre></div>\n'
    )


def _highlight(code: str, language: str) -> str | None:
    lexer = _lexer(language.lower()) if language else None
    if lexer is None:
        return None
    written = StringIO()
    _FORMATTER.format(lexer.get_tokens(code), written)
    return written.getvalue()


_FORMATTER: HtmlFormatter[str] = HtmlFormatter(nowrap=True, classprefix=HIGHLIGHT_PREFIX)


@lru_cache(maxsize=128)
def _lexer(language: str) -> Lexer | None:
    """Return the lexer of this name, keeping the text as it is; none is ever guessed."""
    try:
        return get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


def host_of(address: str) -> str:
    """Return the host that an address leads to, with everything that is not plain ASCII spelled out (RFC 3492)."""
    try:
        host = urlsplit(_DISGUISE.sub("", address)).hostname or ""
        return host if host.isascii() else host.encode("idna").decode("ascii")
    except ValueError:
        # Not a name at all; shown in a way that can't be taken for one.
        return "?"


def _host_note(note: str) -> str:
    return f' <span class="link-host">({escape(note)})</span>' if note else ""
