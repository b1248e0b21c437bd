"""What all tests may use: three people, a catalogue, and the fake service."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.conf import LazySettings
from django.core.cache import cache

from conversations.models import ChatModel, User
from tests.fakes import RunningUpstream, running_upstream
from tests.page import Page, signed_in


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    """Limits on logins are counted in the cache, so one test must not eat up what another has."""
    cache.clear()
    yield


@pytest.fixture
def alice(db: None) -> User:
    """Owns what the tests are about."""
    return User.objects.create_user("alice", password="correct horse battery")


@pytest.fixture
def charlie(db: None) -> User:
    """Has an account, and must get nothing of Alice's."""
    return User.objects.create_user("charlie", password="correct horse battery")


@pytest.fixture
def model(db: None) -> ChatModel:
    """The default of the catalogue, at the fake service."""
    return ChatModel.objects.create(
        slug="fake",
        label="Fake",
        provider=ChatModel.Provider.OPENAI,
        upstream_name="fake",
        context_window=4_096,
        max_output_tokens=1_024,
        is_default=True,
    )


@pytest.fixture
def upstream(settings: LazySettings) -> Iterator[RunningUpstream]:
    """A service that speaks real SSE over a real socket, and that this site is set up for."""
    with running_upstream() as running:
        settings.OPENAI_BASE_URL = running.base_url
        yield running


@pytest.fixture
async def service(transactional_db: None, upstream: RunningUpstream) -> AsyncIterator[Any]:
    """The background work of a web process, drained at the end."""
    from conversations.generation.service import ensure_started

    started = ensure_started()
    yield started
    await started.drain()


@pytest.fixture
def _no_socket_of_another_test() -> Iterator[None]:
    from conversations.consumers import ChatConsumer

    yield
    ChatConsumer._open.clear()


@pytest.fixture
async def tab(
    alice: User, model: ChatModel, service: Any, _no_socket_of_another_test: None
) -> AsyncIterator[Page]:
    """Alice's page, connected."""
    opened = Page(await database_sync_to_async(signed_in)(alice))
    assert await opened.open()
    yield opened
    await opened.close()
