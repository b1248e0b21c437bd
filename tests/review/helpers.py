"""Find case pages and post their forms."""

from typing import Any

from django.test import Client

from conversations.review.models import ReviewCase

QUEUE = "/admin/review/reviewcase/"


def address(case: ReviewCase) -> str:
    """Return the URL of a case page."""
    return f"{QUEUE}{case.pk}/change/"


def act(client: Client, case: ReviewCase, verb: str, **given: Any) -> Any:
    """Post a form of the case page, at the current version of the case unless another is given."""
    version = given.pop("version", None)
    if version is None:
        version = ReviewCase.objects.values_list("version", flat=True).get(pk=case.pk)
    return client.post(address(case), {"verb": verb, "version": version, **given})
