"""Digests of answers, to compare what was sent, stored and shown."""

import hashlib
import re

_HIGHLIGHTING = re.compile(rb"</?span[^>]*>")


def digest_of_text(text: str) -> str:
    """Return a digest of the source of an answer."""
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of_html(html: bytes) -> str:
    """Return a digest of the HTML of an answer, apart from highlighting, which a busy site may leave out."""
    return hashlib.sha256(_HIGHLIGHTING.sub(b"", html)).hexdigest()
