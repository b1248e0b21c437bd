"""Count uses against a limit per period, exactly, across processes."""

import datetime as dt

from django.db.models import CharField, DateTimeField, F
from django.utils.crypto import salted_hmac

from conversations.common.statements import Given, Insert, Select, Update
from conversations.limits.models import UsageCounter

_current = Select(
    lambda: (
        UsageCounter.objects.filter(
            key=Given("key", CharField()),
            period_start__gt=Given("since", DateTimeField()),
            period_start__lte=Given("now", DateTimeField()),
        )
        .order_by("-period_start")
        .values_list("pk", "count")[:1]
    )
)
_count = Update(
    lambda: UsageCounter.objects.filter(pk=Given("pk", UsageCounter._meta.pk)), count=F("count") + 1
)
_insert = Insert(UsageCounter)


def key_of_address(kind: str, address: str) -> str:
    """Return a counter key for an IP address, as an HMAC so that the address itself is not stored."""
    return f"{kind}:{salted_hmac('conversations.quotas', address, algorithm='sha256').hexdigest()[:32]}"


def take(key: str, *, limit: int, period_start: dt.datetime) -> bool:
    """Count one use, and return True. If the limit for this period is reached, count nothing and return False.

    A single conditional update decides, so simultaneous calls never exceed the limit.
    """
    UsageCounter.objects.get_or_create(key=key, period_start=period_start)
    counters = UsageCounter.objects.filter(key=key, period_start=period_start, count__lt=limit)
    return bool(counters.update(count=F("count") + 1))


def take_within(key: str, *, limit: int, period: dt.timedelta, now: dt.datetime) -> bool:
    """Count one use in the current period, which begins with its first use. Return False if its limit is reached.

    The caller must hold a lock, because two first uses at the same time would each begin a period.
    """
    current = _current.first(key=key, since=now - period, now=now)
    if current is None:
        _insert(UsageCounter(key=key, period_start=now, count=1))
        return True
    pk, count = current
    if count >= limit:
        return False
    _count(pk=pk)
    return True


def delete_old_counters(moment: dt.datetime) -> int:
    """Delete the counters of periods that started before this time, and return their number."""
    count, _by_model = UsageCounter.objects.filter(period_start__lt=moment).delete()
    return count
