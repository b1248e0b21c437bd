"""Tests that code blocks in every language cost little time, lose no text, and at worst are shown plain."""

import time
import zlib
from html import unescape

import pytest
from django.utils.html import strip_tags
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pygments.lexers import get_all_lexers

from conversations.common.rendering import highlighting
from conversations.common.rendering.markdown import render_markdown


def test_a_page_that_did_not_wait_is_not_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "```python\nx = 'kept'\n```\n"
    with monkeypatch.context() as patch:
        patch.setattr(highlighting, "TIME_LIMIT_SECONDS", 0.0)
        assert "hl-" not in render_markdown(text)
    assert "hl-" in render_markdown(text)


UNITS = [
    *(
        "s{",
        "'",
        '"',
        "\\",
        "(",
        "<a ",
        "{{",
        "/*",
        "`${",
        "[",
        "#",
        "@a",
        "a",
        " ",
        "a:",
        "%",
        "$(",
        "=",
        "1",
        "|",
    ),
]
ATOMS = [
    *UNITS,
    *(")", "]", "}", "{", "<", ">", "/", "//", "--", "-", ".", ",", ";", "\n", "\t", "é", "0x", "1e", "'''"),
    *(
        "<!--",
        "-->",
        "<?",
        "?>",
        "<%",
        "%>",
        "begin ",
        "end ",
        "if ",
        "def ",
        "<<EOF\n",
        "&",
        "~",
        "^",
        "$",
        "!",
        "*",
        "+",
    ),
]
ALIASES = sorted(lexer[1][0] for lexer in get_all_lexers(plugins=False) if lexer[1])
LENGTH = 1_000


def check(alias: str, unit: str) -> None:
    """Check that a code block that repeats this unit costs little and shows all of its text."""
    code = unit * max(1, LENGTH // len(unit))
    # The smallest of several measurements, because the garbage collector can interrupt any of them.
    assert any(seconds_for(alias, f"{code}{'.' * extra}\n") < 0.1 for extra in range(3)), (alias, unit)


def seconds_for(alias: str, code: str) -> float:
    """Return the CPU time that this thread spends on a code block, and check that all of its text is shown."""
    begun = time.thread_time()
    html = render_markdown(f"```{alias}\n{code}```\n")
    # Highlighting runs in another process. This thread sanitises up to 30,000 characters of HTML.
    seconds = time.thread_time() - begun
    shown = html.partition("<code>")[2].rpartition("</code>")[0]
    assert unescape(strip_tags(shown)).replace("\xa0", " ") == code, (alias, code[:20])
    return seconds


@pytest.fixture(autouse=True)
def _time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(highlighting, "TIME_LIMIT_SECONDS", 0.2)


def test_no_lexer_is_slow_or_loses_text() -> None:
    """Tests every language with a text that repeats characters which are special in many of them."""
    assert len(ALIASES) > 400
    for alias in ALIASES:
        number = zlib.crc32(alias.encode())
        check(alias, UNITS[number % len(UNITS)] + UNITS[number // 100 % len(UNITS)])


def test_code_is_shown_plain_if_its_lexer_changes_it() -> None:
    check("terraform", "<<EOF\n")


@given(st.sampled_from(ALIASES), st.lists(st.sampled_from(ATOMS), min_size=1, max_size=6).map("".join))
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_text_is_slow_in_any_language(alias: str, unit: str) -> None:
    check(alias, unit)
