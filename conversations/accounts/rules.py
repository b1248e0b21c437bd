"""Find a person's time zone. Pure functions."""

import datetime as dt
import functools
import zoneinfo

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
