"""Counting what is done within a period against a limit, exactly, over all processes."""

import datetime as dt

from django.db.models import F
from django.utils import timezone
from django.utils.crypto import salted_hmac

from conversations.models import UseCounter


def start_of_day(now: dt.datetime) -> dt.datetime:
    """Return when the day of TIME_ZONE began in which this is."""
    return timezone.localtime(now).replace(hour=0, minute=0, second=0, microsecond=0)


def key_of_address(kind: str, address: str) -> str:
    """Return the key for what is counted by address: no address is kept in clear."""
    return f"{kind}:{salted_hmac('conversations.quotas', address, algorithm='sha256').hexdigest()[:32]}"


def take(key: str, *, limit: int, period_start: dt.datetime) -> bool:
    """Count one more, unless the limit of this period is reached already: then False, and nothing is counted.

    One conditional update decides, so of any number at once exactly as many get through as the limit has room for.
    """
    UseCounter.objects.get_or_create(key=key, period_start=period_start)
    counters = UseCounter.objects.filter(key=key, period_start=period_start, count__lt=limit)
    return bool(counters.update(count=F("count") + 1))


def forget_before(moment: dt.datetime) -> int:
    """Drop the counters of periods that began before this, and return their number."""
    count, _by_model = UseCounter.objects.filter(period_start__lt=moment).delete()
    return count
