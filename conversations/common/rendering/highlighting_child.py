"""The child process that highlights code: one request per line on stdin, two answers per line on stdout, all in JSON.

The first answer reports that the language is loaded; the second is the HTML, or null. The process runs as a script,
imports nothing from the site, and ends when its stdin closes.
"""

import json
import signal
import sys
from functools import lru_cache
from io import StringIO
from typing import Any

from pygments.formatters.html import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound


@lru_cache(maxsize=64)
def _lexer(language: str) -> Any:
    """Return the lexer of this name, set to keep the text unchanged, or None if there is none. Never guesses."""
    try:
        lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None
    # Some lexers load their embedded languages only on first use.
    highlight(lexer, "", HtmlFormatter())
    return lexer


def highlight(lexer: Any, code: str, formatter: Any) -> str | None:
    """Return the highlighted code as HTML, or None if the lexer fails or changes the text."""
    try:
        tokens = list(lexer.get_tokens(code))
        if "".join(text for _kind, text in tokens) != code.replace("\r\n", "\n").replace("\r", "\n"):
            return None
        written = StringIO()
        formatter.format(tokens, written)
        return written.getvalue()
    except Exception:
        # There are hundreds of lexers, and a text can be written to break one.
        return None


def _limit(seconds: float) -> None:
    """Kill this process after that much more CPU time, even inside a regular expression. 0 removes the limit."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def main(prefix: str) -> None:
    """Answer requests until stdin closes."""
    formatter: Any = HtmlFormatter(nowrap=True, classprefix=prefix)
    _answer("ready")
    for line in sys.stdin:
        language, code, seconds = json.loads(line)
        lexer = _lexer(language)
        # Reported separately, because loading a language can take longer than highlighting and isn't the code's
        # fault.
        _answer("loaded")
        _limit(seconds)
        html = highlight(lexer, code, formatter) if lexer is not None else None
        _limit(0)
        _answer(html)


def _answer(value: str | None) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
