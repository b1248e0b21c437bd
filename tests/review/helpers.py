"""Helpers that create cases for tests, through the same services as the site."""

from typing import Any

from django.test import Client
from django.utils import timezone

from conversations.access import selectors as access
from conversations.access.services import terms
from conversations.accounts.models import User
from conversations.review.models import Report, ReviewCase
from conversations.review.services import effects
from conversations.review.services.decisions import Decision
from tests.answers import answer, report

QUEUE = "/admin/review/reviewcase/"


def file_cases(count: int, *, category: str = "incorrect", comment: str = "It is wrong.") -> list[Report]:
    """File and return reports, each by a different person about a different answer."""
    reports = []
    first = User.objects.count()
    for number in range(first, first + count):
        person = User.objects.create_user(f"person-{number}", email=f"person-{number}@example.org")
        if (terms_in_force := access.notice_in_force()) is not None:
            terms.accept_notice(user=person, version=terms_in_force.version, now=timezone.now())
        reports.append(report(person, answer(person, f"Answer {number}."), category, comment))
    return reports


def make_decision(
    outcome: str, reason: str = "Because.", *, reply: str = "", verdicts: Any = None, **typed: Any
) -> Decision:
    """Return a decision with the effects chosen by these form values."""
    chosen = effects.read({"reason": reason, **typed})
    return Decision(outcome, reason, reply=reply, effects=chosen, verdicts=verdicts or {})


def address(case: ReviewCase) -> str:
    """Return the URL of a case page."""
    return f"{QUEUE}{case.pk}/change/"


def act(client: Client, case: ReviewCase, verb: str, **given: Any) -> Any:
    """Post a form of the case page, at the current version of the case unless another is given."""
    version = given.pop("version", None)
    if version is None:
        version = ReviewCase.objects.values_list("version", flat=True).get(pk=case.pk)
    return client.post(address(case), {"verb": verb, "version": version, **given})
