"""The period covered by statistics or an export."""

import datetime as dt
from dataclasses import dataclass
from typing import Self

from django.db.models import Q
from django.utils import timezone


@dataclass(frozen=True, slots=True)
class Period:
    """A range of days, including the first and the last, in the site's time zone."""

    first: dt.date
    last: dt.date

    @classmethod
    def ending(cls, last: dt.date, *, days: int) -> Self:
        return cls(last - dt.timedelta(days=days - 1), last)

    @property
    def starts_at(self) -> dt.datetime:
        return _midnight(self.first)

    @property
    def ends_at(self) -> dt.datetime:
        return _midnight(self.last + dt.timedelta(days=1))

    @property
    def dates(self) -> list[dt.date]:
        return [self.first + dt.timedelta(days=number) for number in range((self.last - self.first).days + 1)]

    def within(self, name: str) -> Q:
        """Return the query condition that the named time field falls within the period."""
        return Q(**{f"{name}__gte": self.starts_at, f"{name}__lt": self.ends_at})


def _midnight(date: dt.date) -> dt.datetime:
    return dt.datetime.combine(date, dt.time.min, tzinfo=timezone.get_default_timezone())
