"""Read what people may do now, and which terms are in force."""

import datetime as dt
from collections.abc import Iterable, Mapping

from django.conf import settings
from django.db.models import Exists, OuterRef
from django.utils.translation import gettext as _

from conversations.accounts.models import User
from conversations.common.statements import Given, Select

from . import rules
from .models import Membership, SiteAccess, TermsAcceptance, TermsVersion
from .rules import DEFAULT_TERMS, Verdict

_newest_terms = Select(
    lambda: TermsVersion.objects.order_by("-version").values_list(
        "pk",
        Exists(TermsAcceptance.objects.filter(terms=OuterRef("pk"), user=Given("user", User._meta.pk))),
    )[:1]
)


def signup_mode() -> SiteAccess.SignUp:
    """Return the sign-up mode set in Django admin, or else the SIGNUP setting."""
    chosen = SiteAccess.objects.filter(pk=1).values_list("signup", flat=True).first()
    return SiteAccess.SignUp(chosen or settings.SIGNUP)


def terms_in_force() -> TermsVersion | None:
    """Return the current terms of use, or None if there are none to accept."""
    return TermsVersion.objects.order_by("-version").first()


def text_of(terms: TermsVersion) -> str:
    """Return the terms as Markdown. The default text is translated; text by staff is returned as written."""
    return _(terms.text) if terms.text == DEFAULT_TERMS else terms.text


def verdicts(users: Iterable[User], *, now: dt.datetime) -> dict[int, Verdict]:
    """Return what each of these people may do now, by user ID. Runs at most three queries in all."""
    people = {user.pk: user for user in users}
    memberships = _memberships_of(people)
    terms = terms_in_force()
    accepted = _who_accepted(terms, people)
    return {
        pk: rules.verdict(user, memberships[pk], None if pk in accepted else terms, now)
        for pk, user in people.items()
    }


def verdict_for(user: User, *, now: dt.datetime) -> Verdict:
    """Return what this person may do now. Runs at most three queries."""
    memberships = _memberships_of({user.pk: user})[user.pk]
    return rules.verdict(user, memberships, _terms_to_accept(user), now)


def is_blocked(user: User, *, now: dt.datetime) -> bool:
    """Whether this person's pages must not open a socket."""
    return verdict_for(user, now=now).is_blocked


def model_ids(verdict: Verdict) -> frozenset[int] | None:
    """Return the IDs of the models a person with this verdict may choose, or None for all models."""
    if verdict.membership is None:
        return None
    return frozenset(verdict.membership.preview.chat_models.values_list("pk", flat=True)) or None


def _terms_to_accept(user: User) -> TermsVersion | None:
    """Return the current terms if this person hasn't accepted them."""
    newest = _newest_terms.first(user=user.pk)
    if newest is None:
        return None
    pk, is_accepted = newest
    return None if is_accepted else TermsVersion.objects.get(pk=pk)


def _memberships_of(people: Mapping[int, User]) -> Mapping[int, list[Membership]]:
    found: dict[int, list[Membership]] = {pk: [] for pk in people}
    asked = [pk for pk, user in people.items() if rules.needs_membership(user)]
    if asked:
        for membership in Membership.objects.filter(user__in=asked).select_related("preview"):
            found[membership.user_id].append(membership)
    return found


def _who_accepted(terms: TermsVersion | None, people: Iterable[int]) -> set[int]:
    if terms is None:
        return set()
    accepted = TermsAcceptance.objects.filter(terms=terms, user__in=people)
    return set(accepted.values_list("user_id", flat=True))
