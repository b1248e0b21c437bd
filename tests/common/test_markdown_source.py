"""Tests for what the parser must not see: HTML, formulas and invalid characters. All are shown as they were written."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversations.common.rendering.html import render_html
from conversations.common.rendering.maths import _CHARACTERS, _ORIGINALS
from conversations.common.rendering.parser import References, parse, with_content
from conversations.common.rendering.sanitiser import clean
from tests.common.helpers import FRAGMENTS, HOSTILE, read, text_of, texts


def render(text: str, references: References | None = None, *, is_finished: bool = True) -> str:
    references = references or References()
    parsed = with_content(parse(text), references, is_finished=is_finished)
    return render_html(parsed, references, is_finished=is_finished).html


def tags_of(html: str) -> list[str]:
    return [tag for tag, _attributes in read(html).tags]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS + HOSTILE), max_size=30).map("".join))
def test_the_sanitiser_finds_nothing_to_change(text: str) -> None:
    """Check that the first defence alone is enough, and that text can be escaped without the second."""
    # Finished code is written by Pygments.
    html = render(text, is_finished=False)
    assert clean(html) == html


@settings(max_examples=200, deadline=None)
@given(texts)
def test_no_placeholder_is_ever_shown(text: str) -> None:
    assert not set(map(ord, render(text))) & set(_ORIGINALS)


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("<div>*x*</div>", "&lt;div&gt;<em>x</em>&lt;/div&gt;"),
        ("<details>\n**x**\n</details>", "&lt;details&gt;\n<strong>x</strong>\n&lt;/details&gt;"),
        ("<!-- *x*", "&lt;!-- <em>x</em>"),
        ("<script>\n*x*", "&lt;script&gt;\n<em>x</em>"),
        ("a < b & c > d", "a &lt; b &amp; c &gt; d"),
        ("`<b>&amp;`", '<code dir="ltr">&lt;b&gt;&amp;amp;</code>'),
        ("<javascript:*x*>", "&lt;javascript:<em>x</em>&gt;"),
        ("~5 to ~6, ~*x*~", "~5 to ~6, ~<em>x</em>~"),
        ("~~x~~", "<s>x</s>"),
    ],
)
def test_html_and_single_tildes_are_text(text: str, html: str) -> None:
    assert render(text) == f'<p dir="auto">{html}</p>\n'


@pytest.mark.parametrize(
    "text",
    [
        "[x](javascript:alert(1))",
        "[*x*](file:///etc/passwd)",
        "![x](javascript:alert)",
        "[x](/a/b)",
        "[](x:y)",
        "[日本](x:é)",
        f"[x](https://a.b/{'c' * 2_000})",
    ],
)
def test_a_link_that_is_not_allowed_stays_as_it_was_written(text: str) -> None:
    html = render(f"{text} and *x*")
    assert "a" not in tags_of(html)
    assert text_of(html).strip() == f"{text} and x".replace("*", "")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("<https://A.b/c?d=e&f#g>", "https://A.b/c?d=e&f#g"),
        ("[x](https://аpple.example/)", "https://xn--pple-43d.example/"),
        ("[x](<https://a.b/c d>)", "https://a.b/c%20d"),
        ("[x](https://a.b/é\\_$y$)", "https://a.b/%C3%A9_$y$"),
        ("[x](https://a.b/%20)", "https://a.b/%20"),
        ("[x](https://a.b/it's\"<)", "https://a.b/it's%22%3C"),
        ("<user@a.example>", "mailto:user@a.example"),
    ],
)
def test_an_address_has_only_plain_characters(text: str, address: str) -> None:
    html = render(text)
    assert clean(html) == html
    [attributes] = [attributes for tag, attributes in read(html).tags if tag == "a"]
    assert attributes["href"] == attributes["title"] == address


def test_an_address_is_found_by_any_spelling_of_its_label() -> None:
    elsewhere = References({"a b": "https://a.example/"})
    assert 'href="https://a.example/"' in render("[x][A\n b]", elsewhere)
    assert 'href="https://a.example/"' not in render("[x][a]", elsewhere)


def test_what_is_nested_too_deeply_stays_as_it_was_written() -> None:
    html = render("> " * 30 + "a\n\n*b*")
    assert tags_of(html).count("blockquote") == 24
    assert "&gt; &gt; &gt; &gt; &gt; &gt; a" in html
    assert "<em>b</em>" in html
    quotations = ">" * 5_000 + "a"
    assert len(parse(quotations).events) < 200
    assert text_of(render(quotations)).strip() == quotations[24:]
    assert tags_of(render("- " * 70 + "a\n" + "-" * 70)).count("li") == 12
    assert tags_of(render("a\n" + "-" * 70)) == ["h2"]
    assert tags_of(render("*a " * 40 + "b*" * 40)).count("em") < 24


def test_invalid_characters_are_replaced() -> None:
    assert render("a\0b\ud800c\ufdd0*d*") == '<p dir="auto">a\ufffdb\ufffdc\ufffd<em>d</em></p>\n'


@pytest.mark.parametrize(
    "text",
    [
        f"$a{_CHARACTERS.replace('$', '').replace('`', '')}b$",
        f"\\[a{_CHARACTERS.replace(chr(92), '')}b\\]",
        "日本 \\(a_1*b*\\) 日本 $x*y*z$",
        "$$\n1. a  \n> b\n\\\\\n| c\n|--\n$$",
        "\\[\n# a\n===\n+ ~~~\\]",
    ],
)
def test_any_character_of_a_formula_is_kept(text: str) -> None:
    html = render(text)
    assert tags_of(html) == ["p"]
    assert [line.strip() for line in text_of(html).splitlines()] == [
        line.strip() for line in text.splitlines()
    ]


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("1. a:\n   $$\n   - b\n   = *c*\n   $$\n2. d", ["ol", "li", "li"]),
        ("> $$\n> - b\n> *c* *d*\n> $$", ["blockquote", "p"]),
        ("- $$\n- a", ["ul", "li", "li"]),
        ("# \\(*a*\\) *b*", ["h1", "em"]),
        ("|$*a*$|\n|-|\n|$*b*$|", [*["div", "table", "thead", "tr", "th"], *["tbody", "tr", "td"]]),
        ("`\\(` *a* `\\)`", ["p", "code", "em", "code"]),
    ],
)
def test_formulas_inside_of_blocks(text: str, tags: list[str]) -> None:
    assert tags_of(render(text)) == tags


def test_code_that_looks_like_a_formula_is_code() -> None:
    html = render("```\n$$\n- a <b> \\(\n```\n*b* \\)")
    assert "<code>$$\n- a &lt;b&gt; \\(\n</code>" in html
    assert "<em>b</em> )" in html
