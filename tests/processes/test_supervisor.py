"""Tests of one site in two web processes behind one port, on PostgreSQL and Redis."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.fakes import RunningUpstream, running_upstream
from tests.site import Process, Site, Socket, Visitor, descendants, wait_until

COMPLETE = "The answer is complete"


class SharedSite(Site):
    """A site in two processes, seen from outside."""

    def __init__(self, data_dir: Path, *, postgres_url: str, **settings: str) -> None:
        super().__init__(
            data_dir, DATABASE_URL=postgres_url, PROCESSES="2", CHAT_SOCKETS_PER_USER="100", **settings
        )
        self._postgres_url = postgres_url

    def query(self, statement: str) -> list[Any]:
        with psycopg.connect(self._postgres_url, autocommit=True) as database:
            return database.execute(statement.encode()).fetchall()

    def pids(self) -> list[int]:
        """Return the process IDs of the web processes, oldest first."""
        return sorted(
            int(pid)
            for task in Path(f"/proc/{self.web.popen.pid}/task").iterdir()
            for pid in (task / "children").read_text(encoding="ascii").split()
        )

    @contextlib.contextmanager
    def sockets(self, visitor: Visitor) -> Iterator[dict[int, Socket]]:
        """Open pages until each process serves one, and return a page of each by process ID."""
        with contextlib.ExitStack() as opened:
            found: dict[int, Socket] = {}
            known: set[int] = set()

            def new() -> list[Any]:
                leases = self.query("SELECT id, process FROM chat_socketlease ORDER BY id")
                return [(pk, process) for pk, process in leases if pk not in known]

            while len(found) < 2:
                known |= {pk for pk, _ in new()}
                socket = opened.enter_context(visitor.socket())
                [(_, process)] = wait_until(new, what="the lease of a page")
                found.setdefault(int(process.split(":")[1]), socket)
            yield found


@pytest.fixture(scope="module")
def upstream() -> Iterator[RunningUpstream]:
    with running_upstream() as running:
        yield running


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, upstream: RunningUpstream, postgres_url: str, redis_url: str
) -> Iterator[SharedSite]:
    shared = SharedSite(
        tmp_path_factory.mktemp("supervised"),
        postgres_url=postgres_url,
        OPENAI_BASE_URL=upstream.base_url,
        REDIS_URL=redis_url,
    )
    shared.start()
    yield shared
    shared.web.end()


@pytest.fixture(scope="module")
def alice(site: SharedSite) -> Visitor:
    return site.sign_up("alice")


def test_both_processes_serve_and_an_answer_is_followed_from_the_other_one(
    site: SharedSite, alice: Visitor, upstream: RunningUpstream
) -> None:
    assert site.web.output.count("Ready") == 1
    gate = upstream.hold()
    upstream.answer_with("Seen ", "by both. ", gate, "To the end.")
    with site.sockets(alice) as pages:
        assert sorted(pages) == site.pids()
        asking, watching = pages.values()
        asking.say("Go")
        frames = asking.until("by both")
        conversation = frames.split('data-url="/c/')[1].split("/")[0]
        watching.send(action="attach", conversation=conversation)
        watching.until("by both")
        gate.release()
        for page in (asking, watching):
            page.until("To the end")
            page.until(COMPLETE)
    # Each request has a connection of its own.
    for _ in range(8):
        assert httpx.get(f"{site.address}/accounts/login/").status_code == 200


def test_a_killed_process_is_replaced_while_the_other_keeps_serving(
    site: SharedSite, alice: Visitor, upstream: RunningUpstream
) -> None:
    gate = upstream.hold()
    upstream.answer_with("Before ", gate, "and after.")
    with site.sockets(alice) as pages:
        (killed, lost), (kept, page) = pages.items()
        page.say("Go")
        page.until("Before")
        os.kill(killed, signal.SIGKILL)
        assert lost.closed() == 1006
        gate.release()
        page.until(COMPLETE)
        site.web.wait_for("A web process ended with exit code -9")
        wait_until(lambda: len(site.pids()) == 2, what="another process")
        [added] = set(site.pids()) - {kept}
    assert added != killed
    # The new process gets its share of the pages.
    upstream.answer_with("Back again.")
    with site.sockets(alice) as pages:
        assert sorted(pages) == sorted({kept, added})
        pages[added].say("Go")
        pages[added].until(COMPLETE)
    assert site.web.output.count("Ready") == 1


def test_sigterm_drains_both_processes_and_leaves_none(
    site: SharedSite, alice: Visitor, upstream: RunningUpstream
) -> None:
    with site.sockets(alice) as pages:
        for number, page in enumerate(pages.values()):
            upstream.answer_with(f"Shown {number}. ", upstream.hold(), "never")
            page.say("Go")
            page.until(f"Shown {number}")
        group = descendants(site.web.popen.pid)
        assert len(group) >= 2
        assert site.web.end() == 0
    ended = site.query(
        "SELECT g.status, m.text FROM chat_generation g JOIN chat_message m ON m.id = g.message_id"
    )
    assert [row for row in sorted(ended) if "Shown" in row[1]] == [
        ("interrupted", "Shown 0. "),
        ("interrupted", "Shown 1. "),
    ]
    assert not any(Path(f"/proc/{pid}").exists() for pid in group)
    site.start()


def test_a_second_site_on_the_port_is_refused(site: SharedSite) -> None:
    second = Process("serve", env=site.settings)
    second.wait_for("Can't listen on localhost")
    assert second.popen.wait(20) == 1
    second.end()


def test_no_process_survives_a_killed_supervisor(site: SharedSite) -> None:
    group = descendants(site.web.popen.pid)
    site.web.end(signal.SIGKILL)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in group))
    site.start()
