"""Which addresses a text may link to, and how the page shows where a link leads."""

import re
from urllib.parse import quote, urlsplit

_MAX_ADDRESS_LENGTH = 2_000
_MAX_HOST_LENGTH = 255
# Direction marks and invisible characters, which can make one address look like another.
_INVISIBLE_CHARACTERS = re.compile(r"[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\u00ad]")
_SAFE_ADDRESS = re.compile(r"(?i)(?:https?://[^/\\\s]|mailto:[^\s])")
_PLAIN_ADDRESS = re.compile(r"[A-Za-z0-9%/:=&?~#+!$,;'@()*._-]+")
_KEPT_IN_ADDRESS = "%/:=&?~#+!$,;'@()*"


def safe_address(address: str) -> str:
    """Return the address with a host in Punycode and other special characters escaped, or an empty string.

    It is empty for an address that a text may not link to.
    """
    if len(address) > _MAX_ADDRESS_LENGTH or _SAFE_ADDRESS.match(address) is None:
        return ""
    if _PLAIN_ADDRESS.fullmatch(address) is not None:
        return address
    scheme, colon, rest = address.partition(":")
    if rest.startswith("//"):
        end = re.search(r"[/?#\\]|\Z", rest[2:])
        assert end is not None
        host, path = rest[2 : 2 + end.start()], rest[2 + end.start() :]
        rest = f"//{_ascii_host(host)}{path}"
    address = scheme + colon + quote(rest, safe=_KEPT_IN_ADDRESS)
    return address if len(address) <= 3 * _MAX_ADDRESS_LENGTH else ""


def _ascii_host(host: str) -> str:
    try:
        return host if host.isascii() else host.encode("idna").decode("ascii")
    except ValueError:
        return host


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
