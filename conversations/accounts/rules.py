"""Pure functions about accounts: time zones, and where passkeys work."""

import datetime as dt
import functools
import ipaddress
import zoneinfo
from urllib.parse import urlsplit

from django.utils import timezone

from .models import User

_REGIONS = (
    "Africa",
    "America",
    "Antarctica",
    "Arctic",
    "Asia",
    "Atlantic",
    "Australia",
    "Europe",
    "Indian",
    "Pacific",
)


@functools.cache
def _known_names() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def is_time_zone(name: str) -> bool:
    """Whether this is the name of a time zone, such as Europe/Berlin."""
    return name in _known_names()


def time_zone_of(user: User) -> dt.tzinfo:
    """Return the person's time zone, or the site's if theirs isn't known."""
    return (
        zoneinfo.ZoneInfo(user.time_zone) if is_time_zone(user.time_zone) else timezone.get_default_timezone()
    )


def time_zones_by_region() -> list[tuple[str, list[str]]]:
    """Return the names of the time zones that people can choose, by region. Names for technical use are left out."""
    names = sorted(_known_names())
    return [(region, [name for name in names if name.startswith(f"{region}/")]) for region in _REGIONS]


def supports_passkeys(address: str) -> bool:
    """Return whether browsers allow passkeys at this address of the site.

    They need a domain name, and https unless the name is localhost.
    """
    parts = urlsplit(address)
    name = (parts.hostname or "").rstrip(".")
    is_local = name == "localhost" or name.endswith(".localhost")
    return is_local or (parts.scheme == "https" and bool(name) and not is_ip_address(name))


def address_for_passkeys(*, requested: str, public: str) -> str:
    """Return an address of the site at which passkeys work, or an empty text if none is known.

    `requested` is the address of the current page, and `public` is PUBLIC_URL.
    """
    if supports_passkeys(requested):
        return requested
    if supports_passkeys(public):
        return public
    parts = urlsplit(requested)
    if is_ip_address(parts.hostname or "") and ipaddress.ip_address(parts.hostname or "").is_loopback:
        return parts._replace(netloc=f"localhost:{parts.port}" if parts.port else "localhost").geturl()
    return ""


def is_ip_address(name: str) -> bool:
    """Return whether a host name is an IP address, without the brackets of IPv6."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
