"""Which addresses a text may link to, and how the page shows where a link leads."""

import re
from urllib.parse import urlsplit

_MAX_ADDRESS_LENGTH = 2_000
_MAX_HOST_LENGTH = 255
# Direction marks and invisible characters, which can make one address look like another.
_INVISIBLE_CHARACTERS = re.compile(r"[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\u00ad]")
_SAFE_ADDRESS = re.compile(r"(?i)(?:https?://[^/\\\s]|mailto:[^\s])")


def is_allowed(address: str) -> bool:
    """Return whether a text may link to an address."""
    return len(address) <= _MAX_ADDRESS_LENGTH and _SAFE_ADDRESS.match(address) is not None


def host_of(address: str) -> str:
    """Return the host of an address, with all non-ASCII characters shown in Punycode (RFC 3492)."""
    try:
        host = urlsplit(_INVISIBLE_CHARACTERS.sub("", address)).hostname or ""
        if len(host) > _MAX_HOST_LENGTH:
            return "?"
        return host if host.isascii() else host.encode("idna").decode("ascii")
    except ValueError:
        # Not a valid host. Shown as something that can't be mistaken for one.
        return "?"
