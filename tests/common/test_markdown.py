"""Tests for streamed Markdown: any chunking gives the same HTML, hostile text stays text, and nothing takes long."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from django.utils import translation
from hypothesis import given, settings
from hypothesis import strategies as st

from conversations.common.rendering import markdown
from conversations.common.rendering.html import parse_blocks
from conversations.common.rendering.markdown import MarkdownStream, MarkdownUpdate, render_markdown

FRAGMENTS = [
    *(
        "foo ",
        "bar *b* ",
        "**bo",
        "ld** ",
        "_i_",
        "~~s~~",
        "`c` ",
        '"q" ',
        "it's ",
        "word, ",
        "日本",
        "é",
        "🙂",
        "\u2028",
        "\u200b",
    ),
    *(
        "\n",
        "\n\n",
        "\r\n",
        "\r",
        "\t",
        "  ",
        "\\",
        "\x00",
        "1",
        "2. ",
        "x\n",
        "\\(a_1*b*",
        "\\) ",
        "\\[\n",
        "\\\\ ",
        "\\]",
        "$x*y*",
        "$ ",
        "$$\n",
        "שלום ",
        "مرحبا.",
        "&amp; ",
        "&",
        "<b>",
        "<",
        ">",
        "\xa0",
    ),
    *(
        "# H ",
        "===\n",
        "---\n",
        "***\n",
        "> q ",
        "- item ",
        "* star\n",
        "1. one\n",
        "  - nest\n",
        "+ ",
        "[ ] ",
    ),
    *(
        "```\n",
        "```py\n",
        "~~~\n",
        "    code\n",
        "a | b\n",
        "--|:-:\n",
        "[x](https://e.f) ",
        "[x](",
        "![i](https://i.j/p.png)",
    ),
    *(
        "<https://a.b>",
        "[a][b]",
        "<script>",
        "</div>",
        "- long item " * 9 + "\n",
        "text of a list item\n" * 3,
    ),
]
texts = st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join)
sizes = st.lists(st.integers(1, 12), min_size=1, max_size=8)


def chunks(text: str, lengths: list[int]) -> list[str]:
    pieces, at, turn = [], 0, 0
    while at < len(text):
        pieces.append(text[at : at + lengths[turn % len(lengths)]])
        at += lengths[turn % len(lengths)]
        turn += 1
    return pieces


class Page:
    """The element that holds the open part, updated as a page does: by replacing it or appending to its last element."""

    def __init__(self) -> None:
        self.html = ""

    def apply(self, update: MarkdownUpdate) -> None:
        if update.append is None:
            self.html = update.open
            return
        depth, added = update.append
        if not added:
            return
        closers = re.findall(r"</[a-z0-9]+>\n?", re.search(r"(?:</[a-z0-9]+>\n?)*\Z", self.html)[0])  # type: ignore[index]
        tail = "".join(closers[len(closers) - depth :])
        self.html = self.html[: len(self.html) - len(tail)] + added + tail


def without_blanks(html: str) -> str:
    return re.sub(r"\s+", "", html)


@settings(max_examples=400, deadline=None)
@given(texts, sizes)
def test_any_chunking_gives_the_same(text: str, lengths: list[int]) -> None:
    stream = MarkdownStream()
    finished = (
        "".join(stream.feed(piece).finished for piece in chunks(text, lengths)) + stream.finish().finished
    )
    if not stream.has_references:
        assert finished == render_markdown(text)


@settings(max_examples=400, deadline=None)
@given(texts, sizes)
def test_the_open_part_matches_a_full_parse(text: str, lengths: list[int]) -> None:
    """Check that adding words without parsing gives the same HTML as parsing the whole text."""
    stream, page = MarkdownStream(), Page()
    for piece in chunks(text, lengths):
        page.apply(stream.feed(piece))
        parsed = markdown._Piece(stream._text, {}).render(is_finished=False)
        assert without_blanks(page.html) == without_blanks(parsed)


@settings(max_examples=200, deadline=None)
@given(texts, sizes)
def test_a_stream_started_at_any_cursor_gives_the_rest(text: str, lengths: list[int]) -> None:
    stream, done, cursors = MarkdownStream(), "", []
    for piece in chunks(text, lengths):
        update = stream.feed(piece)
        done += update.finished
        cursors.append((update.offset, len(done)))
    done += stream.finish().finished
    for offset, length in dict(cursors).items():
        later = MarkdownStream(offset=offset)
        if stream.has_references:
            continue
        assert later.feed(text[offset:]).finished + later.finish().finished == done[length:]


def test_long_lists_are_cut_between_items_and_continue_numbering() -> None:
    text = "".join(f"{number}. An item of some length, to fill it.\n" for number in range(1, 61))
    html = render_markdown(text)
    assert html.count("<ol") > 1
    starts = [int(start) for start in re.findall(r'<ol start="(\d+)"', html)]
    assert starts == sorted(starts)
    assert html.count("<li ") == 60


def test_a_link_defined_later_needs_the_whole_text() -> None:
    text = "See [this][1].\n\nMore.\n\n[1]: https://example.org/\n"
    stream = MarkdownStream()
    stream.feed(text)
    stream.finish()
    assert stream.has_references
    assert '<a href="https://example.org/"' in render_markdown(text)


def test_code_is_highlighted_once_it_is_finished() -> None:
    stream = MarkdownStream()
    still_open = stream.feed("```python\nx = 1\n").open
    assert "hl-" not in still_open
    assert 'data-copy="">Copy</button>' in still_open
    finished = stream.feed("```\n\nAfter\n").finished
    assert '<span class="hl-n">x</span>' in finished
    assert '<span class="code__language">python</span>' in finished


def test_the_text_of_code_is_kept_exactly() -> None:
    code = "\n\n  if a < b && c:\n\tprint(\"x\", '&amp;')  \n\n"
    html = render_markdown(f"```python\n{code}```\n")
    shown = re.search(r"<code>(.*)</code>", html, re.DOTALL)
    assert shown
    assert text_of(shown[1]) == code


def test_the_copy_button_is_in_the_viewers_language() -> None:
    with translation.override("en"):
        assert ">Copy<" in render_markdown("```\nx\n```")


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def read(html: str) -> _Text:
    parser = _Text()
    parser.feed(html)
    parser.close()
    return parser


def text_of(html: str) -> str:
    return read(html).text


HOSTILE = [
    "<script>alert(1)</script>",
    '<img src=x onerror="alert(1)">',
    "<svg/onload=alert(1)>",
    "<math><mtext></p><script>alert(1)</script>",
    '<meta http-equiv="refresh" content="0;url=//evil">',
    '<a href="/" hx-get="/evil" hx-trigger="load">x</a>',
    '<hx-partial hx-target="body">x</hx-partial>',
    '</hx-partial><script>alert(1)</script><hx-partial hx-target="#text">',
    "<!-- --><script>alert(1)</script>",
    "![x](https://evil.example/p.png)",
    '![x](https://evil.example/p.png "t")',
    "![x](javascript:alert(1))",
    "![x](data:image/svg+xml;base64,AAAA)",
    "[![x](https://evil.example/p.png)](https://evil.example/)",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](&#x6A;avascript&colon;alert(1))",
    "[x](vbscript:x)",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](//evil.example/)",
    "[x](/\\evil.example)",
    "[x](https:/\\evil.example)",
    "[x](file:///etc/passwd)",
    "<javascript:alert(1)>",
    "[x]: javascript:alert(1)\n\n[x]",
    "```\n</code></pre><script>alert(1)</script>\n```",
    '```"><script>alert(1)</script>\nx\n```',
    '```html" onload="alert(1)\nx\n```',
    "    </code></pre><script>alert(1)</script>",
    "`</code><script>alert(1)</script>`",
    '[x](https://a.b/"onmouseover="alert(1))',
    "[x](https://a.b/ '\" onclick=alert(1) ')",
    "| a<script> | b |\n|--|--|\n| <img src=x onerror=alert(1)> | x |",
    '<div id="text" class="composer" style="position:fixed">x</div>',
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "\x00<scr\x00ipt>alert(1)</script>",
]
TAGS = {
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
}
ATTRIBUTES = {"href", "title", "target", "rel", "class", "start", "type", "data-copy", "tabindex", "dir"}


def assert_harmless(html: str) -> None:
    for tag, attributes in read(html).tags:
        assert tag in TAGS
        assert set(attributes) <= ATTRIBUTES
        assert attributes.get("dir", "auto") == (
            "ltr" if tag in {"code", "div"} and "dir" in attributes else "auto"
        )
        if "href" in attributes:
            assert re.match(r"(?i)https?://[^/\\]|mailto:", attributes["href"] or "")
            assert attributes["rel"] == "noopener noreferrer nofollow ugc"
            assert attributes["target"] == "_blank"
    assert "<hx-" not in html


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_markup_stays_text(text: str) -> None:
    assert_harmless(render_markdown(text))
    for cut in range(len(text) + 1):
        stream, page = MarkdownStream(), Page()
        for piece in (text[:cut], text[cut:]):
            if piece:
                update = stream.feed(piece)
                page.apply(update)
                assert_harmless(update.finished)
                assert_harmless(page.html)
        assert_harmless(stream.finish().finished)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(HOSTILE + FRAGMENTS), max_size=8).map("".join))
def test_mixtures_produce_no_hostile_html(text: str) -> None:
    assert_harmless(render_markdown(text))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[text](https://example.org/a)", "text (example.org)"),
        ("<https://example.org/a>", "https://example.org/a"),
        ("[https://bank.example](https://evil.example)", "https://bank.example (evil.example)"),
        ("[x](https://user@evil.example/)", "x (evil.example)"),
        ("[x](https://xn--e1aybc.example/)", "x (xn--e1aybc.example)"),
        ("[x](https://аpple.example/)", "x (xn--pple-43d.example)"),
        ("![a picture](https://evil.example/p.png)", "a picture (image: evil.example)"),
        ("[mail](mailto:a@b.c)", "mail"),
    ],
)
def test_a_link_shows_where_it_leads(text: str, shown: str) -> None:
    assert text_of(render_markdown(text)).strip() == shown


@pytest.mark.parametrize(
    "text",
    [
        "Euler: \\(e^{i\\pi} + 1 = 0\\), also \\[a*b*c\\].",
        "\\(\\{a_1, a_2\\} \\, b\\)",
        "$a*b*c$ and $\\frac{1}{2} \\, x_1*x_2*$.",
        "$$a*b*c \\\\ d$$",
        "\\[\na*b*c \\\\\n- d\n= e\n# f\n\\]",
        "$$\na*b*c\n+ d\n$$",
        "We get\n\\[\n1. a\n\\]\nand more.",
        "Costs $5, not $10 or 20$.",
    ],
)
def test_formulas_stay_as_they_were_written(text: str) -> None:
    html = render_markdown(text)
    assert {tag for tag, _attributes in read(html).tags} == {"p"}
    assert text_of(html).strip() == text


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("\\*a\\* \\(b", "*a* (b"),
        ("\\\\(*a*\\\\)", "\\(<em>a</em>\\)"),
        ("*$5* or *$6*", "<em>$5</em> or <em>$6</em>"),
        ("$HOME and *$PATH*", "$HOME and <em>$PATH</em>"),
        ("$ *a* $", "$ <em>a</em> $"),
        ("A$ `$x` $", 'A$ <code dir="ltr">$x</code> $'),
        ("$a\n*b*$", "$a\n<em>b</em>$"),
    ],
)
def test_other_text_with_such_characters_is_still_markdown(text: str, html: str) -> None:
    assert render_markdown(text) == f'<p dir="auto">{html}</p>\n'


def test_a_formula_looks_the_same_before_its_end_arrives() -> None:
    stream = MarkdownStream()
    assert text_of(stream.feed("So \\(a_1*b*").open) == "So \\(a_1*b*\n"
    assert text_of(stream.feed("c\\).").open) == "So \\(a_1*b*c\\).\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# a\n\nb\n", ["h1 auto", "p auto"]),
        ("- a\n- b\n  - c\n", ["ul", "li auto", "li auto", "ul", "li auto"]),
        ("1. a\n\n   b\n", ["ol", "li auto", "p", "p auto"]),
        ("> a\n>\n> b\n", ["blockquote auto", "p", "p auto"]),
        ("> - a\n> - b\n", ["blockquote auto", "ul", "li", "li auto"]),
        (
            "|a|b|\n|-|-|\n|c|d|\n",
            *[["div", "table auto", "thead", "tr", "th", "th auto", "tbody", "tr", "td auto", "td auto"]],
        ),
        ("a `b`\n", ["p auto", "code ltr"]),
        ("```\na\n```\n", ["div ltr", "div", "span", "button", "pre", "code"]),
        ("- ```\n  a\n  ```\n", ["ul", "li auto", "div ltr", "div", "span", "button", "pre", "code"]),
    ],
)
def test_each_block_has_the_direction_of_its_own_text(text: str, expected: list[str]) -> None:
    """Check that only the first block of a container has no direction of its own, because it decides for both."""
    tags = read(render_markdown(text)).tags
    assert [
        f"{tag} {attributes['dir']}" if "dir" in attributes else tag for tag, attributes in tags
    ] == expected


def test_tables_scroll_and_are_aligned_by_class() -> None:
    html = render_markdown("| a | b |\n|--:|---|\n| 1 | 2 |\n")
    assert '<div class="table" tabindex="0"><table dir="auto">' in html
    assert '<td class="align-right" dir="auto">1</td>' in html
    assert "style" not in html


@pytest.mark.parametrize(
    "text",
    [
        *(
            "[" * 20_000,
            "![" * 10_000,
            ">" * 10_000,
            "- " * 10_000,
            "*" * 20_000,
            "**a" * 6_000,
            "`" * 20_000,
            "<" * 20_000,
        ),
        *(
            "&" * 20_000,
            "a" + "\u0301" * 10_000,
            "[a](" * 5_000,
            "\n".join("  " * depth + "- a" for depth in range(300)),
        ),
    ],
    ids=lambda text: repr(text[:6]),
)
def test_absurd_texts_are_still_rendered(text: str) -> None:
    assert_harmless(render_markdown(text))


def test_costly_text_is_not_parsed_again_for_each_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[int] = []
    real = parse_blocks

    def counting(text: str) -> Any:
        parsed.append(len(text))
        return real(text)

    monkeypatch.setattr(markdown, "parse_blocks", counting)
    stream, text = MarkdownStream(), "[" * 10_000
    for piece in chunks(text, [10]):
        stream.feed(piece)
    assert len(parsed) < 100
    assert stream.finish().finished == render_markdown(text)


@settings(max_examples=200, deadline=None)
@given(texts, sizes)
def test_long_blocks_are_cut_at_the_same_places_in_any_chunking(text: str, lengths: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(markdown, "MAX_BLOCK_LENGTH", 60)
        stream = MarkdownStream()
        finished = "".join(stream.feed(piece).finished for piece in chunks(text, lengths))
        finished += stream.finish().finished
        if not stream.has_references:
            assert finished == markdown._render_whole(text)


def test_a_long_code_block_grows_and_is_never_replaced() -> None:
    stream = MarkdownStream()
    stream.feed("```python\n")
    code = "x = 1  # one\n" * 500
    assert all(stream.feed(piece).append is not None for piece in chunks(code, [7]))
    assert code in text_of(stream.finish().finished)
