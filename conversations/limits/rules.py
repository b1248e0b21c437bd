"""Check requests to models against their limits: input length, max_tokens and the context window. Say when a day ends.

Lengths are in characters (Unicode code points) or tokens, as the names say. All functions are pure.
"""

import datetime as dt
from collections.abc import Iterable
from typing import ClassVar

from django.utils import timezone
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from conversations.common.refusals import Refused

# An estimate can be too low: SmolLM2 and Qwen count up to 1.39 times as many tokens as o200k_base, but usually less than
# 1.25 times.
ESTIMATE_MARGIN = 1.25


def with_margin(tokens: int, *, is_exact: bool) -> int:
    """Return the token count, with a safety margin unless it is exact."""
    return tokens if is_exact else int(tokens * ESTIMATE_MARGIN) + 1


def day_of(now: dt.datetime) -> dt.date:
    """Return the day for which daily limits count now. It is the site's, as nobody may gain by changing their time zone."""
    return timezone.localdate(now, timezone.get_default_timezone())


def start_of_day(now: dt.datetime) -> dt.datetime:
    """Return when the current day began for daily limits."""
    return dt.datetime.combine(day_of(now), dt.time.min, tzinfo=timezone.get_default_timezone())


def end_of_day(now: dt.datetime) -> dt.datetime:
    """Return when daily limits reset next."""
    tomorrow = day_of(now) + dt.timedelta(days=1)
    return dt.datetime.combine(tomorrow, dt.time.min, tzinfo=timezone.get_default_timezone())


class LimitExceeded(Refused):
    """A limit was exceeded. The subclass says which; `limit` and `actual` give its value and what was requested."""

    text: ClassVar[Promise]

    def __init__(self, *, limit: int, actual: int) -> None:
        super().__init__(str(self.text) % {"actual": number_format(actual), "limit": number_format(limit)})
        self.limit = limit
        self.actual = actual


class TooManyCharacters(LimitExceeded):
    """The text has more characters than the site accepts."""

    text = _("Message too long: %(actual)s of %(limit)s characters.")


class TooManyTokens(LimitExceeded):
    """The text has more tokens than the site accepts."""

    text = _("Message too long: %(actual)s of %(limit)s tokens.")


class TooManyOutputTokens(LimitExceeded):
    """The requested answer length is more than the site or the model allows."""

    text = _("Answers can have at most %(limit)s tokens. Choose a lower limit.")


class WindowExceeded(LimitExceeded):
    """The newest message alone doesn't fit into the model's context window with room for an answer."""

    text = _("Message too long for the model: about %(actual)s tokens, but only %(limit)s fit. Shorten it.")


def check_characters(text: str, *, limit: int) -> None:
    """Check the length of a user's message. Raises TooManyCharacters.

    Call this before you count the tokens, so that nobody can make the server tokenise a huge text.
    """
    if len(text) > limit:
        raise TooManyCharacters(limit=limit, actual=len(text))


def check_tokens(tokens: int, *, limit: int) -> None:
    """Check the number of tokens in a user's message. Raises TooManyTokens."""
    if tokens > limit:
        raise TooManyTokens(limit=limit, actual=tokens)


def output_cap(requested: int | None, *, site_cap: int, model_cap: int) -> int:
    """Return max_tokens for an answer: the requested value, or the smaller of the two caps if none was requested.

    Raises TooManyOutputTokens if the requested value exceeds that cap.
    """
    cap = min(site_cap, model_cap)
    if requested is None:
        return cap
    if requested > cap:
        raise TooManyOutputTokens(limit=cap, actual=requested)
    return requested


def count_fitting(newest_first: Iterable[tuple[str, int]], *, budget: int) -> int:
    """Return how many of the newest messages fit into `budget` tokens, in whole turns.

    Each item is a role ("user" or "assistant") and the message's token count. A turn starts with a user message, so the
    result never starts with an answer to a question that was cut off. Stops reading once the budget is used up.
    Raises WindowExceeded if not even the newest turn fits.
    """
    used = taken = whole = 0
    for role, tokens in newest_first:
        used += tokens
        if used > budget:
            if whole == 0:
                raise WindowExceeded(limit=max(0, budget), actual=used)
            break
        taken += 1
        if role == "user":
            whole = taken
    return whole
