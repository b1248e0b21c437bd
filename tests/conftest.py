"""Fixtures for all tests: three users, a model, and the fake upstream."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.conf import LazySettings
from django.core.cache import cache

from conversations.accounts.models import User
from conversations.catalogue.models import ChatModel
from tests.factories import make_model, make_user
from tests.fakes import RunningUpstream, running_upstream
from tests.page import Page, signed_in


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    """Sign-in limits are counted in the cache, so one test must not use up the limit of another."""
    cache.clear()
    yield


@pytest.fixture
def alice(db: None) -> User:
    """The user whom the tests are about."""
    return make_user("alice")


@pytest.fixture
def charlie(db: None) -> User:
    """A user who must never gain access to Alice's data."""
    return make_user("charlie")


@pytest.fixture
def model(db: None) -> ChatModel:
    """The default model, which the fake upstream serves."""
    return make_model(is_default=True)


@pytest.fixture
def upstream(settings: LazySettings) -> Iterator[RunningUpstream]:
    """The upstream this site is configured for: a fake that sends real SSE over a real socket."""
    with running_upstream() as running:
        settings.OPENAI_BASE_URL = running.base_url
        yield running


@pytest.fixture
async def service(transactional_db: None, upstream: RunningUpstream) -> AsyncIterator[Any]:
    """A web process's background work. It is drained at the end."""
    from conversations.chat.generation.service import ensure_started

    started = ensure_started()
    yield started
    await started.drain()


@pytest.fixture
async def tab(alice: User, model: ChatModel, service: Any) -> AsyncIterator[Page]:
    """Alice's page, connected."""
    opened = Page(await database_sync_to_async(signed_in)(alice))
    assert await opened.open()
    yield opened
    await opened.close()
