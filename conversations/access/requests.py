"""The type of a request that has passed the access check."""

from django.http import HttpRequest

from conversations.accounts.models import User

from .rules import Verdict


class UserRequest(HttpRequest):
    """A request from a signed-in user, with the verdict on their access."""

    user: User
    verdict: Verdict
