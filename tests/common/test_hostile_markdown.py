"""Tests that no text costs more CPU time per character than allowed, measured for this thread alone."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversations.common.rendering import markdown
from conversations.common.rendering.markdown import MarkdownStream, render_markdown
from tests.hostile_texts import hostile_texts

TEXTS = hostile_texts()
# Ordinary Markdown takes about 1 microsecond on a slow machine; the worst text found by searching takes 15.
MICROSECONDS_PER_CHARACTER = 50
# The total for a text streamed in small pieces, which is parsed several times while its block is open.
MICROSECONDS_STREAMED = 1_500
ATOMS = [
    *(
        "[",
        "]",
        "(",
        ")",
        "!",
        "<",
        ">",
        "*",
        "_",
        "~~",
        "`",
        "``",
        "\\",
        "&",
        "&#",
        "a",
        "b",
        " ",
        "\n",
        "\n\n",
    ),
    *(
        '"',
        "'",
        "- ",
        "1. ",
        "> ",
        "#",
        "|",
        "-",
        "=",
        ":",
        "://",
        "https://a.b/",
        "\t",
        "    ",
        "]:",
        "é",
        "\r",
    ),
    *(
        "[a]: b\n",
        "|-|-|\n",
        "+ ",
        "```",
        "***",
        "~",
        "\0",
        "\u0301",
        "[a]",
        "](",
        "https://é.",
        "&amp;",
        "<!--",
    ),
]
some = st.lists(st.sampled_from(ATOMS), min_size=1, max_size=5).map("".join)
few = st.lists(st.sampled_from(ATOMS), max_size=3).map("".join)


def assert_cheap(function: Callable[[], object], *, microseconds: float) -> None:
    """Check that a call stays within a CPU budget. Repeats it if not, because a busy machine adds to CPU time too."""
    used = []
    for _attempt in range(4):
        begun = time.thread_time()
        function()
        used.append((time.thread_time() - begun) * 1e6)
        if used[-1] <= microseconds:
            return
    raise AssertionError(f"Took {min(used):.0f} of {microseconds:.0f} microseconds.")


def streamed(text: str, *, size: int) -> MarkdownStream:
    stream = MarkdownStream()
    for begin in range(0, len(text), size):
        stream.feed(text[begin : begin + size])
    stream.finish()
    return stream


@pytest.mark.parametrize("name", TEXTS)
def test_a_whole_text_costs_in_proportion_to_its_length(name: str) -> None:
    text = TEXTS[name]
    assert_cheap(lambda: markdown._render_whole(text), microseconds=MICROSECONDS_PER_CHARACTER * len(text))


@pytest.mark.parametrize("name", TEXTS)
def test_a_streamed_text_costs_in_proportion_to_its_length(name: str) -> None:
    text = TEXTS[name][:3_000]
    assert_cheap(lambda: streamed(text, size=40), microseconds=MICROSECONDS_STREAMED * len(text))


@pytest.mark.parametrize("name", TEXTS)
def test_no_text_renders_to_excessive_html(name: str) -> None:
    assert len(render_markdown(TEXTS[name])) < 60 * len(TEXTS[name]) + 500_000


@settings(max_examples=40, deadline=None)
@given(few, some, some, few, st.booleans())
def test_repetitive_text_costs_in_proportion_to_its_length(
    before: str, unit: str, other: str, after: str, is_mirrored: bool
) -> None:
    text = before + unit * (8_000 // len(unit)) + after
    if is_mirrored:
        text = before + unit * (4_000 // len(unit)) + other * (4_000 // len(other)) + after
    assert_cheap(lambda: markdown._render_whole(text), microseconds=MICROSECONDS_PER_CHARACTER * len(text))


@settings(max_examples=100, deadline=None)
@given(few, some, few)
def test_rendering_in_the_event_loop_is_short(before: str, unit: str, after: str) -> None:
    """The longest texts for the event loop, within twice the target of 50 ms to allow for slow machines."""
    text = before + unit * (markdown.QUICK // len(unit)) + after
    while not markdown.is_quick(text) and "```" not in text and "~~~" not in text:
        text = text[: len(text) * 3 // 4]
    if markdown.is_quick(text):
        assert_cheap(lambda: streamed(text, size=len(text)), microseconds=100_000)


def test_long_or_costly_text_and_code_are_not_rendered_in_the_event_loop() -> None:
    assert markdown.is_quick("Ordinary *text* with a [link](https://example.org/).\n" * 20)
    for text in ("word " * 2_000, "[\n" * 2_000, "```python\nx\n```\n", "~~~python\nx\n~~~\n"):
        assert not markdown.is_quick(text)
        assert not MarkdownStream().is_quick(text)
    # Unfinished code isn't highlighted.
    assert MarkdownStream().is_quick("Words\n\n```python\nx")
    assert not MarkdownStream().is_quick("- ```python\n  x\n\nWords")
    assert not markdown.is_quick("Words\n\n```python\nx")


def test_a_stream_knows_what_can_be_added_without_parsing() -> None:
    stream = MarkdownStream()
    stream.feed("```python\n" + "x = 1\n" * 2_000)
    assert stream.is_quick("y = 2\n")
    assert not stream.is_quick("```\n")
    assert not stream.is_quick_to_finish()


def test_an_address_is_not_repeated_endlessly() -> None:
    text = f"[a]: https://a.example/{'b' * 1_900}\n\n" + "[a][a][a]\n\n" * 2_000
    html = render_markdown(text)
    assert html.count("<a ") > 10
    assert len(html) < 1_000_000
