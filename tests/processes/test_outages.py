"""Tests for what users see while the database is locked, full or unavailable, and that the site recovers."""

import re
import resource
import signal
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.proxy import Proxy
from tests.site import PASSWORD, Site, Visitor, _token, wait_until

SENTENCE = "can't read or save anything at the moment"
# Longer than a request that waits twenty seconds for a lock.
PATIENCE = 60


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    data = tmp_path_factory.mktemp("outages") / "data"
    started = Site(data, DATABASE_URL=f"sqlite:///{data}/chat.sqlite3?timeout=1").start()
    yield started
    started.web.end(signal.SIGKILL)


@pytest.fixture(scope="module")
def alice(site: Site) -> Visitor:
    visitor = site.sign_up("alice")
    visitor.client.timeout = httpx.Timeout(PATIENCE)
    return visitor


@contextmanager
def locked(site: Site) -> Iterator[None]:
    """Hold the write lock, like a process that hangs in the middle of a transaction."""
    path = Path(site.settings["DATA_DIR"]) / "chat.sqlite3"
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        yield
        database.execute("ROLLBACK")


def query(site: Site, sql: str, *values: str) -> list[Any]:
    with closing(sqlite3.connect(Path(site.settings["DATA_DIR"]) / "chat.sqlite3")) as database:
        return database.execute(sql, values).fetchall()


@contextmanager
def full_disk(site: Site) -> Iterator[None]:
    """Prevent the site's files from growing, as a full disk or a quota does."""
    pid = site.web.popen.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def log_of(site: Site) -> Iterator[list[str]]:
    """Collect the lines that the site logs during the block."""
    begin, lines = len(site.web.lines), list[str]()
    yield lines
    lines.extend(site.web.lines[begin:])


def post(visitor: Visitor, path: str, **fields: str) -> httpx.Response:
    token = visitor.client.cookies["csrftoken"]
    headers = {"Referer": visitor.address}
    return visitor.client.post(path, data={"csrfmiddlewaretoken": token, **fields}, headers=headers)


def assert_says_so(response: httpx.Response) -> None:
    assert response.status_code == 503
    assert SENTENCE in unescape(response.text)
    assert int(response.headers["Retry-After"]) > 0
    assert "no-store" in response.headers["Cache-Control"]
    assert "accounts/account" in response.text  # It is styled like the other pages.


def assert_logged_quietly(lines: list[str]) -> None:
    assert not [line for line in lines if line.startswith(("Traceback", "  File"))]
    outages = [line for line in lines if "Service Unavailable: " in line]
    assert len(outages) == 1
    assert "OperationalError" in outages[0]


@pytest.mark.parametrize("outage", [locked, full_disk])
def test_an_unsaved_message_can_be_sent_again_from_the_error_page(
    site: Site, alice: Visitor, outage: object
) -> None:
    text = f"Not <lost>, {uuid.uuid4()}\nand its second line"
    with log_of(site) as lines, outage(site):  # type: ignore[operator]
        fields = {"text": text, "client_id": str(uuid.uuid4()), "conversation": "", "model": "fake"}
        pages = [post(alice, "/send/", **fields) for _ in range(3)]
        for page in pages:
            assert_says_so(page)
            assert "sessionid" not in page.headers.get("Set-Cookie", "")
    kept = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', pages[-1].text, re.S))
    kept = {name: unescape(value) for name, value in kept.items()}
    assert fields.items() <= kept.items()
    for _ in range(2):
        again = alice.client.post("/send/", data=kept, headers={"Referer": site.address})
        assert again.status_code == 200
    assert query(site, "SELECT count(*) FROM chat_message WHERE text = ?", text) == [(1,)]
    assert_logged_quietly(lines)


def test_sign_up_and_sign_in_show_the_outage_without_repeating_secrets(site: Site, alice: Visitor) -> None:
    with httpx.Client(base_url=site.address, timeout=PATIENCE) as client:
        form = {"csrfmiddlewaretoken": _token(client.get("/accounts/login/").text)}
        headers = {"Referer": site.address}
        sign_up = {**form, "username": "dora", "password1": PASSWORD, "password2": PASSWORD}
        with locked(site):
            for path, fields in (
                ("/accounts/login/", {**form, "login": "alice", "password": PASSWORD}),
                ("/accounts/signup/", sign_up),
            ):
                page = client.post(path, data=fields, headers=headers)
                assert_says_so(page)
                assert PASSWORD not in page.text
                assert "go back" in page.text
            chinese = client.post(
                "/accounts/signup/", data=sign_up, headers={**headers, "Accept-Language": "zh-hans"}
            )
            assert chinese.status_code == 503
            assert 'lang="zh-hans"' in chinese.text
        assert client.post("/accounts/signup/", data=sign_up, headers=headers).status_code == 302


def test_a_session_that_cannot_be_saved_is_not_a_bad_request(site: Site, alice: Visitor) -> None:
    # Confirming one's password changes the session.
    with locked(site):
        page = post(alice, "/accounts/reauthenticate/", password=PASSWORD)
    assert_says_so(page)


def test_a_fragment_request_gets_a_sentence_instead_of_a_page(site: Site, alice: Visitor) -> None:
    with locked(site):
        alice.client.headers["HX-Request"] = "true"
        answer = post(alice, "/report/", category="technical", comment="It is slow.")
        del alice.client.headers["HX-Request"]
    assert (answer.status_code, "<html" in answer.text) == (503, False)
    assert SENTENCE in unescape(answer.text)


def test_health_is_reported_while_the_database_is_locked(site: Site, alice: Visitor) -> None:
    assert alice.client.get("/healthz").json() == {"status": "ok"}
    with locked(site):
        answer = alice.client.get("/healthz")
        assert (answer.status_code, answer.json()["database"]) == (503, "unavailable")
        # Reading still works.
        assert alice.client.get("/").status_code == 200
    assert alice.client.get("/healthz").status_code == 200


# --- PostgreSQL ---


@pytest.fixture(scope="module")
def postgres(postgres_url: str) -> Iterator[Proxy]:
    with Proxy.before(postgres_url, default_port=5432) as proxy:
        yield proxy


def test_the_site_recovers_from_a_postgresql_outage(
    tmp_path: Path, postgres: Proxy, postgres_url: str
) -> None:
    site = Site(tmp_path / "data", DATABASE_URL=postgres.instead_of(postgres_url)).start()
    try:
        visitor = site.sign_up("alice")
        visitor.client.timeout = httpx.Timeout(PATIENCE)
        postgres.pause()
        answer = visitor.client.get("/healthz")
        assert (answer.status_code, answer.json()["database"]) == (503, "unavailable")
        postgres.cut()
        with log_of(site) as lines:
            assert visitor.client.get("/healthz").status_code == 503
            assert_says_so(visitor.client.get("/"))
        assert not [line for line in lines if line.startswith("Traceback")]
        postgres.resume()
        wait_until(lambda: visitor.client.get("/healthz").status_code == 200)
        # The first page after the outage loads, although the open connections were lost.
        assert visitor.client.get("/").status_code == 200
    finally:
        postgres.resume()
        site.web.end(signal.SIGKILL)
