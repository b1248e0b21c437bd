"""Fixtures with staff signed in to Django admin."""

import pytest
from django.test import Client

from conversations.accounts.models import User
from conversations.catalogue.models import ChatModel
from tests.factories import LEAD, REVIEWER, make_staff


@pytest.fixture(autouse=True)
def _model(model: ChatModel) -> None:
    pass


@pytest.fixture
def reviewer(client: Client) -> User:
    """Return a reviewer signed in with `client`, who may only claim and decide cases."""
    staff = make_staff("reviewer", *REVIEWER)
    client.force_login(staff)
    return staff


@pytest.fixture
def lead(client: Client) -> User:
    """Return a review lead signed in with `client`, who has all review permissions."""
    staff = make_staff("lead", *LEAD)
    client.force_login(staff)
    return staff
