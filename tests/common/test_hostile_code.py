"""Tests that code blocks in every language cost little time, lose no text, and at worst are shown plain."""

import time
import zlib
from html import unescape

import pytest
from django.utils.html import strip_tags
from pygments.lexers import get_all_lexers

from conversations.common.rendering import highlighting
from conversations.common.rendering.markdown import render_markdown


def test_a_page_that_did_not_wait_is_not_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "```python\nx = 'kept'\n```\n"
    with monkeypatch.context() as patch:
        patch.setattr(highlighting, "SECONDS", 0.0)
        assert "hl-" not in render_markdown(text)
    assert "hl-" in render_markdown(text)


UNITS = [
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
]


def test_no_lexer_is_slow_or_loses_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests every language with a text that repeats characters which are special in many of them."""
    aliases = [lexer[1][0] for lexer in get_all_lexers(plugins=False) if lexer[1]]
    assert len(aliases) > 400
    monkeypatch.setattr(highlighting, "SECONDS", 0.2)
    for alias in aliases:
        number = zlib.crc32(alias.encode())
        unit = UNITS[number % len(UNITS)] + UNITS[number // 100 % len(UNITS)]
        code = f"{unit * (1_000 // len(unit))}\n"
        begun = time.thread_time()
        html = render_markdown(f"```{alias}\n{code}```\n")
        # Counts only this thread, which sanitises up to 30,000 characters of HTML for 1,000 characters of code.
        assert time.thread_time() - begun < 0.1, (alias, unit)
        shown = html.partition("<code>")[2].rpartition("</code>")[0]
        assert unescape(strip_tags(shown)).replace("\xa0", " ") == code, (alias, unit)
