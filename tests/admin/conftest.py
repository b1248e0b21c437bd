"""Staff at their browsers, for the tests of Django admin."""

import pytest
from django.test import Client

from conversations.models import ChatModel, User
from tests.staff import LEAD, REVIEWER, make_staff


@pytest.fixture(autouse=True)
def _model(model: ChatModel) -> None:
    pass


@pytest.fixture
def reviewer(client: Client) -> User:
    """Signed in at `client`: claims and decides, and nothing beyond."""
    staff = make_staff("reviewer", *REVIEWER)
    client.force_login(staff)
    return staff


@pytest.fixture
def lead(client: Client) -> User:
    """Signed in at `client`: may do everything."""
    staff = make_staff("lead", *LEAD)
    client.force_login(staff)
    return staff
