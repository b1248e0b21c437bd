"""Cases for tests of the review, filed as people file them."""

from typing import Any

from django.test import Client

from conversations.models import Report, ReviewCase, User
from tests.answers import answer, report

QUEUE = "/admin/conversations/reviewcase/"


def file_cases(count: int, *, category: str = "incorrect", comment: str = "It is wrong.") -> list[Report]:
    """Return reports, each of an answer of its own and by a person of its own."""
    reports = []
    first = User.objects.count()
    for number in range(first, first + count):
        person = User.objects.create_user(f"person-{number}", email=f"person-{number}@example.org")
        reports.append(report(person, answer(person, f"Answer {number}."), category, comment))
    return reports


def address(case: ReviewCase) -> str:
    """Return where the page of a case is."""
    return f"{QUEUE}{case.pk}/change/"


def act(client: Client, case: ReviewCase, verb: str, **given: Any) -> Any:
    """Post what a form on the page of a case sends; at the version that it has now, unless another is given."""
    version = given.pop("version", None)
    if version is None:
        version = ReviewCase.objects.values_list("version", flat=True).get(pk=case.pk)
    return client.post(address(case), {"verb": verb, "version": version, **given})
