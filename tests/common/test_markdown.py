"""Tests for streamed Markdown: any chunking gives the same HTML, hostile text stays text, and nothing takes long."""

import re
from typing import Any

import pytest
from django.utils import translation
from hypothesis import example, given, settings
from hypothesis import strategies as st

from conversations.common.rendering import markdown
from conversations.common.rendering.growth import Change
from conversations.common.rendering.markdown import MarkdownStream, render_markdown
from conversations.common.rendering.parser import parse
from tests.common.helpers import (
    FRAGMENTS,
    HOSTILE,
    Page,
    assert_harmless,
    chunks,
    read,
    sizes,
    text_of,
    texts,
    without_blanks,
)


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
        parsed = markdown._Piece(stream._text, {}).rendered(is_finished=False).html
        assert without_blanks(page.html) == without_blanks(parsed)


in_lines = st.lists(
    st.sampled_from(
        [
            *(
                "a ",
                "foo",
                "b. ",
                ", ",
                " ",
                "  ",
                "é",
                "日本",
                "。",
                "(",
                ") ",
                "! ",
                "'s ",
                '"',
                "- ",
                ": ",
                "x_y",
            ),
            *(
                "*",
                "**",
                "***",
                "_",
                "__",
                "~~",
                "~",
                "`",
                "``",
                "*a* ",
                "**b** ",
                "`c` ",
                "~~d~~ ",
                "**e `f` *g* h** ",
            ),
            *(
                "[",
                "]",
                "](",
                "[x](https://e.f) ",
                "![i](https://i.j) ",
                "[x](y:z) ",
                "[n]",
                "1. ",
                "+ ",
                "=",
                "\u200b",
                "🙂",
            ),
        ]
    ),
    max_size=30,
).map("".join)
starts = st.sampled_from(
    [
        "",
        "# ",
        "- ",
        "> ",
        "1. x\n   - ",
        "- > ",
        "x\n",
        "| a\n",
        "[n]: https://n.o\n\n",
        "a *b\n",
        "> " * 22,
        "- " * 11,
    ]
)


@settings(max_examples=600, deadline=None)
@given(starts, in_lines, sizes)
@example("[n]: https://n.o\n\n", "b [n] c", [1, 4])
@example("> " * 22, "bc *d **e** f* g", [1, 20])
@example("", "b,_c_ d", [2, 5])
def test_a_line_that_grows_matches_a_full_parse(start: str, line: str, lengths: list[int]) -> None:
    """Check that parsing only the end of a line gives the same HTML as parsing the whole text."""
    stream, page = MarkdownStream(), Page()
    for piece in (start + "A", *chunks(line, lengths)):
        page.apply(stream.feed(piece))
        parsed = markdown._Piece(stream._text, {}).rendered(is_finished=False).html
        assert without_blanks(page.html) == without_blanks(parsed)
        if stream._growing is not None:
            assert without_blanks(stream._growing.rendered().html) == without_blanks(parsed)


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


@pytest.mark.parametrize(
    ("before", "added", "change"),
    [
        ("One *two*", " **t", Change(1, " **t", is_addition=True)),
        ("One **t", "wo**", Change(1, "One <strong>two</strong>", is_addition=False)),
        ("- *a*\n- b **c", "**", Change(2, "b <strong>c</strong>", is_addition=False)),
        ("- a\n", "- `b`", Change(1, '<li dir="auto"><code dir="ltr">b</code></li>\n', is_addition=True)),
        (
            "|a|\n|-|\n|b|\n",
            "|*c*|",
            Change(3, '<tr>\n<td dir="auto"><em>c</em></td>\n</tr>\n', is_addition=True),
        ),
        ("|a|\n|-|\n|b|\n|*c", "*|", Change(5, "<em>c</em>", is_addition=False)),
        ("> > a\n> > *b", "*", Change(3, "a\n<em>b</em>", is_addition=False)),
        ("- # a\n  *b", "*", Change(2, "\n<h1>a</h1>\n<em>b</em>", is_addition=False)),
        ("a", "\n===", Change(0, '<h1 dir="auto">a</h1>\n', is_addition=False)),
        ("```\nx\n", "``` ", Change(3, "", is_addition=True)),
    ],
)
def test_only_the_last_block_that_changes_is_sent(before: str, added: str, change: Change) -> None:
    stream = MarkdownStream()
    stream.feed(before)
    assert stream.feed(added).change == change


def test_the_first_change_replaces_what_a_page_showed_before_it_reconnected() -> None:
    change = MarkdownStream(offset=7).feed("*a*").change
    assert change == Change(0, '<p dir="auto"><em>a</em></p>\n', is_addition=False)


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
    still_open = stream.feed("```python\nx = 1\n").change.html
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
    stream, page = MarkdownStream(), Page()
    page.apply(stream.feed("So \\(a_1*b*"))
    assert text_of(page.html) == "So \\(a_1*b*\n"
    page.apply(stream.feed("c\\)."))
    assert text_of(page.html) == "So \\(a_1*b*c\\).\n"


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
    real = parse

    def counting(text: str) -> Any:
        parsed.append(len(text))
        return real(text)

    monkeypatch.setattr(markdown, "parse", counting)
    stream, text = MarkdownStream(), "[\n" * 5_000
    for piece in chunks(text, [10]):
        stream.feed(piece)
    assert len(parsed) < 150
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
    assert all(stream.feed(piece).change.is_addition for piece in chunks(code, [7]))
    assert code in text_of(stream.finish().finished)
