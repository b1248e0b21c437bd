"""Run the real site under load: its process, its users, and its database as seen from outside."""

import asyncio
import contextlib
import json
import signal
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.crowd import Page, pages, question
from tests.site import Process, Site

_SIGN_IN = "import json; from tests.stage import sign_in_people; print(json.dumps(sign_in_people({count})))"


async def eventually(is_so: Callable[[], Any], *, seconds: float = 180, what: str) -> None:
    """Poll until a condition is true. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(f"Waited {seconds} s for {what}.")
        await asyncio.sleep(0.1)


class Database:
    """A site's database, accessed from outside the site."""

    def __init__(self, *, folder: Path, url: str = "") -> None:
        self._path = folder / "chat.sqlite3"
        self._url = url

    def query(self, statement: str) -> list[Any]:
        if self._url:
            with psycopg.connect(self._url) as server:
                return server.execute(statement.encode()).fetchall()
        with contextlib.closing(sqlite3.connect(self._path, timeout=20)) as file:
            return file.execute(statement).fetchall()

    def leases(self) -> int:
        """Return how many pages count as open."""
        [(count,)] = self.query("SELECT count(*) FROM chat_socketlease")
        return int(count)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold SQLite's write lock, like another program that has the file open."""
        with contextlib.closing(sqlite3.connect(self._path, timeout=20, isolation_level=None)) as file:
            file.execute("BEGIN IMMEDIATE")
            yield
            file.execute("ROLLBACK")


def sign_in_people(count: int) -> list[str]:
    """Create signed-in users and return their cookies. Django must be configured for the site's database."""
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore
    from django.utils import timezone

    from conversations.access import selectors as access
    from conversations.access.models import TermsAcceptance
    from conversations.access.services import terms
    from conversations.accounts.models import User

    # An unusable password, because hashing one for each user would take too long.
    users = [User(username=f"reader{uuid.uuid4().hex}", password="!") for _ in range(count)]
    User.objects.bulk_create(users)
    terms.ensure_terms(now=timezone.now())
    current = access.terms_in_force()
    TermsAcceptance.objects.bulk_create(
        TermsAcceptance(user=user, terms=current, accepted_at=timezone.now()) for user in users
    )
    cookies = []
    for user in users:
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.create()
        cookies.append(f"{settings.SESSION_COOKIE_NAME}={session.session_key}")
    return cookies


@dataclass
class Stage:
    """A running site, and what tests do to it from outside."""

    site: Site
    database: Database
    settled_kb: int = 0
    leases_before: int = 0
    """Leases of earlier processes on the same database that were killed."""

    @property
    def address(self) -> str:
        return self.site.address

    @property
    def memory_kb(self) -> int:
        """The resident memory of the site's process, in kB."""
        status = Path(f"/proc/{self.site.web.popen.pid}/status").read_text(encoding="ascii")
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))

    @property
    def leases_left(self) -> int:
        """How many pages of this site count as open."""
        return max(0, self.database.leases() - self.leases_before)

    async def people(self, count: int) -> list[str]:
        """Create signed-in users and return their cookies."""
        shell = Process("shell", "-c", _SIGN_IN.format(count=count), env=self.site.settings)
        found = await asyncio.to_thread(shell.wait_for, r"(?m)^\[.*\]$")
        assert await asyncio.to_thread(shell.end, 0) == 0
        cookies: list[str] = json.loads(found.group())
        return cookies

    async def settle(self, *, people: int = 20) -> None:
        """Let the site do everything once, then record its memory use as the baseline.

        This includes a long answer with several readers, because a process's memory depends on the largest texts it has
        held.
        """
        async with pages(self.address, await self.people(people)) as opened:
            await all_are_served(opened)
        async with pages(self.address, await self.people(1) * 4) as (asking, *watching):
            await all_are_served([asking])
            text = question("long", words=900, padding=1_000)
            for page in watching:
                page.expect(text)
                await page.attach(asking.conversation)
            await asking.ask_until_served(text)
            await asyncio.gather(*(page.read_whole() for page in watching))
        await self.is_empty()
        self.settled_kb = self.memory_kb

    async def is_empty(self, *, seconds: float = 180) -> None:
        """Wait until no page counts as open. Raises TimeoutError."""
        await eventually(lambda: self.leases_left == 0, seconds=seconds, what="all leases to be released")

    async def is_as_before(self, *, seconds: float = 180) -> None:
        """Wait until no page counts as open and memory is within 20% of the baseline. Raises TimeoutError."""
        await self.is_empty(seconds=seconds)
        try:
            await eventually(
                lambda: self.memory_kb <= 1.2 * self.settled_kb, seconds=seconds, what="memory use to fall"
            )
        except TimeoutError:
            raise TimeoutError(
                f"Memory use is {self.memory_kb} kB; the baseline was {self.settled_kb} kB."
            ) from None


@contextlib.asynccontextmanager
async def staged(
    folder: Path, *, upstream: str, database_url: str = "", **settings: str
) -> AsyncIterator[Stage]:
    """Run the site with an empty database while the block runs."""
    site = Site(folder, OPENAI_BASE_URL=upstream, DATABASE_URL=database_url, **settings)
    try:
        await asyncio.to_thread(site.start)
        database = Database(folder=folder, url=database_url)
        yield Stage(site, database, leases_before=database.leases())
    finally:
        await asyncio.to_thread(site.web.end, signal.SIGKILL)


async def all_are_served(opened: list[Page], *, name: str = "p", seconds: float = 180) -> None:
    """Make every page send a message and read its answer to the end, without reloading the page.

    When this is repeated, give another name, to tell the new answers from the old ones.
    """
    async with asyncio.TaskGroup() as group:
        for number, page in enumerate(opened):
            group.create_task(page.ask_until_served(question(f"{name}{number}"), seconds=seconds))
