"""Publish the terms of use, and record who accepts them."""

import datetime as dt

from conversations.access.models import TermsAcceptance, TermsVersion
from conversations.access.rules import DEFAULT_TERMS
from conversations.access.selectors import terms_in_force
from conversations.accounts.models import User


def accept_terms(*, user: User, version: int, now: dt.datetime) -> None:
    """Record that a user accepts a version of the terms. Raises TermsVersion.DoesNotExist if there is no such version."""
    terms = TermsVersion.objects.get(version=version)
    TermsAcceptance.objects.get_or_create(user=user, terms=terms, defaults={"accepted_at": now})


def publish_terms(*, text: str, now: dt.datetime) -> TermsVersion:
    """Publish a new version of the terms, which everyone must accept."""
    newest = terms_in_force()
    return TermsVersion.objects.create(
        version=newest.version + 1 if newest else 1, text=text, published_at=now
    )


def ensure_terms(*, now: dt.datetime) -> None:
    """Publish the default terms if there are none yet."""
    if terms_in_force() is None:
        publish_terms(text=DEFAULT_TERMS, now=now)
