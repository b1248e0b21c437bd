"""Count messages against a person's limits."""

import datetime as dt

from django.conf import settings
from django.db.models import F, Q
from django.utils.translation import gettext as _

from conversations.access import rules
from conversations.access.models import Membership
from conversations.access.rules import Verdict
from conversations.access.selectors import verdict_for
from conversations.accounts.models import User
from conversations.common.refusals import Refused
from conversations.limits import rules as limits
from conversations.limits import services as quotas


def count_message(user: User, verdict: Verdict, *, now: dt.datetime) -> Verdict:
    """Count a message this person is about to send, and return what they may do after it.

    Raises Refused if they may not send it. Conditional updates keep the limits exact, even if many processes count at once.
    """
    if verdict.refusal:
        raise Refused(verdict.refusal)
    day = limits.start_of_day(now)
    preview = verdict.membership.preview if verdict.membership else None
    if verdict.membership is not None:
        _count_within(verdict.membership, user=user, now=now)
    per_day = settings.CHAT_SENDS_PER_DAY
    if per_day and not quotas.take(f"user:{user.uuid}", limit=per_day, period_start=day):
        text = _("You've reached your daily message limit.")
        raise Refused(rules.say_reset(text, preview=preview, now=now))
    of_site = settings.SITE_SENDS_PER_DAY
    if of_site and not quotas.take("site", limit=of_site, period_start=day):
        text = _("This site has reached its daily limit.")
        raise Refused(rules.say_reset(text, preview=preview, now=now))
    return rules.verdict(user, verdict.memberships, verdict.terms, now)


def _count_within(membership: Membership, *, user: User, now: dt.datetime) -> None:
    today = limits.day_of(now)
    mine = Membership.objects.filter(pk=membership.pk)
    mine.filter(~Q(day=today) | Q(day__isnull=True)).update(day=today, messages_today=0)
    has_messages_left = Q(ended_at__isnull=True)
    limit, per_day = (
        rules.message_limit(user, membership.preview),
        membership.preview.messages_per_day,
    )
    if limit is not None:
        has_messages_left &= Q(messages_used__lt=limit)
    if per_day is not None:
        has_messages_left &= Q(messages_today__lt=per_day)
    if not mine.filter(has_messages_left).update(
        messages_used=F("messages_used") + 1, messages_today=F("messages_today") + 1
    ):
        raise Refused(verdict_for(user, now=now).refusal or _("You have no messages left in this preview."))
    membership.refresh_from_db(fields=["day", "messages_used", "messages_today"])
