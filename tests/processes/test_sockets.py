"""Tests of sockets on the real server: pages keep working, leases don't leak, and no client blocks the others."""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from conversations.chat.consumers import codes
from tests.fakes import RunningUpstream, running_upstream
from tests.proxy import Proxy
from tests.site import Site, Socket, Visitor, wait_until


@pytest.fixture(scope="module")
def upstream() -> Iterator[RunningUpstream]:
    with running_upstream() as running:
        yield running


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, upstream: RunningUpstream) -> Iterator[Site]:
    """A site that allows three open pages per user. Each test leaves it as it found it."""
    data = tmp_path_factory.mktemp("sockets")
    started = Site(
        data,
        OPENAI_BASE_URL=upstream.base_url,
        CHAT_SOCKETS_PER_USER="3",
    ).start()
    yield started
    started.web.end()


@pytest.fixture(scope="module")
def alice(site: Site) -> Visitor:
    return site.sign_up("alice")


@pytest.fixture(scope="module")
def bob(site: Site) -> Visitor:
    return site.sign_up("bob")


def database(site: Site) -> sqlite3.Connection:
    path = Path(site.settings["DATA_DIR"]) / "chat.sqlite3"
    return sqlite3.connect(path, isolation_level=None, timeout=20, check_same_thread=False)


def leases(site: Site) -> int:
    with closing(database(site)) as connection:
        return int(connection.execute("SELECT count(*) FROM chat_socketlease").fetchone()[0])


def wait_for_no_lease(site: Site) -> None:
    wait_until(lambda: leases(site) == 0, what="all leases to be released")


def works(visitor: Visitor) -> None:
    """Send a message on a new page and wait for its answer."""
    with visitor.socket() as page:
        page.say("Does it work?")
        page.until("The answer is complete")


def conversation_of(frames: str) -> str:
    return frames.partition('data-url="/c/')[2][:36]


# --- Long frames ---


def test_an_answer_of_more_than_a_mebibyte_arrives(
    site: Site, alice: Visitor, upstream: RunningUpstream
) -> None:
    lines = [f"Line {number}: {'word ' * 18}\n\n" for number in range(15_000)]
    text = "".join(lines)
    assert 1_400_000 < len(text) < 1_600_000
    upstream.answer_with(*(text[start : start + 50_000] for start in range(0, len(text), 50_000)))
    with alice.socket() as page:
        page.say("Go")
        frames = page.until("The answer is complete", seconds=60)
    # Another page receives all of it in one frame.
    with alice.socket() as page:
        page.send(action="attach", conversation=conversation_of(frames))
        page.until("Line 14999:", seconds=60)
        assert page.frames.count('<p dir="auto">Line ') == 15_000
        page.send(action="nonsense")
        page.until("invalid request")


def test_a_reader_that_stops_in_a_long_frame_delays_no_one(
    site: Site, alice: Visitor, bob: Visitor, upstream: RunningUpstream
) -> None:
    upstream.answer_with(*["word " * 2_000 + "\n\n"] * 100)
    with alice.socket() as page:
        page.say("Go")
        frames = page.until("The answer is complete", seconds=60)
    with alice.socket() as page:
        page.send(action="attach", conversation=conversation_of(frames))
        page.connection.recv(timeout=20)
        works(bob)
    wait_for_no_lease(site)


# --- Leases ---


@pytest.mark.parametrize("frame", ["x" * 70_000, b"\0" * 70_000, "x" * 1_200_000])
def test_pages_closed_for_oversized_frames_release_their_leases(
    site: Site, alice: Visitor, frame: str | bytes
) -> None:
    for _ in range(5):
        with alice.socket() as page, pytest.raises(ConnectionClosed):
            page.connection.send(frame)
            while True:
                page.connection.recv(timeout=20)
        wait_for_no_lease(site)
    works(alice)


def test_a_write_lock_leaks_no_lease_and_loses_no_message(site: Site, alice: Visitor) -> None:
    with closing(database(site)) as other, alice.socket() as page:
        page.say("First")
        page.until("The answer is complete")
        other.execute("BEGIN IMMEDIATE")
        page.say("Second", conversation=conversation_of(page.frames))
        # These connections wait for the lock. The first one leaves before it gets it.
        with pytest.raises(TimeoutError), alice.socket(open_timeout=0.5):
            pass
        opening = threading.Thread(target=works, args=[alice])
        opening.start()
        other.execute("ROLLBACK")
        page.until("The answer is complete[\\s\\S]+The answer is complete")
        opening.join(20)
        assert not opening.is_alive()
    wait_for_no_lease(site)
    works(alice)


# --- Floods ---


def test_a_page_that_floods_the_site_is_closed_and_the_others_are_served(
    site: Site, alice: Visitor, bob: Visitor
) -> None:
    with alice.socket() as page:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(20_000):
                page.connection.send("{}")
        # If the client is still sending, the connection may be reset before the code arrives.
        assert page.closed() in {codes.TOO_MANY_FRAMES, 1006}
    works(bob)
    wait_for_no_lease(site)
    works(alice)


def test_pings_are_not_all_answered(site: Site, alice: Visitor) -> None:
    with alice.socket() as page:
        pongs = [page.connection.ping() for _ in range(2_000)]
        page.send(action="nonsense")
        page.until("invalid request")
        assert sum(pong.is_set() for pong in pongs) < len(pongs)
        page.connection.ping()


def test_an_empty_message_is_refused_like_any_other(site: Site, alice: Visitor) -> None:
    with alice.socket() as page:
        page.connection.send("")
        page.until("invalid request")


def test_empty_bytes_are_refused_like_any_other(site: Site, alice: Visitor) -> None:
    with alice.socket() as page:
        page.connection.send(b"")
        page.until("Only text")


# --- The database goes away ---


def test_every_page_recovers_from_a_database_outage(
    tmp_path: Path, upstream: RunningUpstream, postgres_url: str
) -> None:
    with Proxy.before(postgres_url, default_port=5432) as proxy:
        url = proxy.instead_of(postgres_url)
        site = Site(tmp_path, OPENAI_BASE_URL=upstream.base_url, DATABASE_URL=url).start()
        visitor = site.log_in()
        with visitor.socket() as idle, visitor.socket() as busy:
            busy.say("First")
            frames = busy.until("The answer is complete")
            idle.send(action="attach", conversation=conversation_of(frames))
            idle.until("The answer is complete|First")
            proxy.cut()
            busy.say("Second", conversation=conversation_of(frames))
            # Either the message is refused with a reason, or the page reconnects and sends it again.
            with contextlib.suppress(ConnectionClosed):
                busy.until("save anything right now", seconds=60)
            proxy.resume()
            for page in (idle, busy):
                goes_on_or_reconnects(page)
        works(visitor)
        site.web.end()


def goes_on_or_reconnects(page: Socket) -> None:
    try:
        page.send(action="nonsense")
        page.until("invalid request", seconds=60)
    except ConnectionClosed as closed:
        assert closed.rcvd is not None
        assert closed.rcvd.code in codes.RECONNECTING
