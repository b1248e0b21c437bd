"""Tests of the limits for clients (sizes, times, hosts and zero bytes) over real connections."""

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from tests.site import ROOT, Site

ZERO_COOKIE = '"\\000bcdefghijklmnop"'
"""A value that contains a zero byte once it is unquoted, and is long enough to be a session key."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for the server's temporary files."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, files: Path) -> Iterator[Site]:
    started = Site(tmp_path_factory.mktemp("sqlite"), TMPDIR=str(files)).start()
    yield started
    started.web.end()


@pytest.fixture(scope="module")
def postgres_site(tmp_path_factory: pytest.TempPathFactory, postgres_url: str) -> Iterator[Site]:
    started = Site(tmp_path_factory.mktemp("postgres"), DATABASE_URL=postgres_url).start()
    yield started
    started.web.end()


@pytest.fixture(params=["site", "postgres_site"])
def each_site(request: pytest.FixtureRequest) -> Site:
    return request.getfixturevalue(request.param)


def open_request(site: Site, head: str) -> socket.socket:
    """Connect and send the head of a request."""
    host, port = site.address.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    connection.sendall(head.replace("\n", "\r\n").replace("HOST", f"{host}:{port}").encode())
    return connection


def read_answer(connection: socket.socket, *, end: str) -> str:
    """Read until `end` has arrived."""
    received = b""
    while not received.endswith(end.encode()):
        more = connection.recv(65_536)
        assert more, f"closed after {received!r}"
        received += more
    return received.decode()


def read_all(connection: socket.socket) -> str:
    """Read until the other side closes or resets the connection."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while more := connection.recv(65_536):
            received += more
    return received.decode()


def files_held_in(folder: Path, *, process: int) -> list[Path]:
    """Return the files in a folder that a process has open, including unlinked ones."""
    held = []
    for link in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            held.append(link.readlink())
    return [path for path in held if folder in path.parents]


# --- Sizes ---


@pytest.mark.parametrize(
    ("path", "limit"), [("/accounts/login/", 65_536), ("/send/", 262_144), ("/admin/login/", 262_144)]
)
def test_a_body_with_too_large_a_length_is_refused_before_it_arrives(
    site: Site, path: str, limit: int
) -> None:
    with open_request(
        site, f"POST {path} HTTP/1.1\nHost: HOST\nExpect: 100-continue\nContent-Length: {limit + 1}\n\n"
    ) as connection:
        answer = read_answer(connection, end=f"You can send up to {limit:,} bytes here.\n")
    assert answer.startswith("HTTP/1.1 413 ")


def test_a_body_without_a_length_is_refused_once_it_is_too_large(site: Site) -> None:
    chunk = b"2000\r\n" + b"x" * 0x2000 + b"\r\n"
    head = "POST /accounts/login/ HTTP/1.1\nHost: HOST\nTransfer-Encoding: chunked\n\n"
    with open_request(site, head) as connection:
        connection.sendall(chunk * 9)
        answer = read_answer(connection, end="You can send up to 65,536 bytes here.\n")
        assert answer.startswith("HTTP/1.1 413 ")
        # Further data fills the buffers on the way, because the server doesn't read it.
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            for _number in range(10_000):
                connection.sendall(chunk)
    assert httpx.get(f"{site.address}/healthz").status_code == 200


def test_an_incomplete_body_is_not_written_to_disk(site: Site, files: Path) -> None:
    head = "POST /accounts/login/ HTTP/1.1\nHost: HOST\n"
    with (
        open_request(site, f"{head}Transfer-Encoding: chunked\n\n8000\n") as chunked,
        open_request(site, f"{head.replace('accounts/login', 'send')}Content-Length: 200000\n\n") as measured,
    ):
        chunked.sendall(b"x" * 0x7FFF)
        measured.sendall(b"x" * 150_000)
        # This later request was answered, so the process has read everything that came before.
        assert httpx.get(f"{site.address}/healthz").status_code == 200
        assert files_held_in(files, process=site.web.popen.pid) == []


def test_a_small_body_without_a_length_is_accepted(site: Site) -> None:
    head = "POST /send/ HTTP/1.1\nHost: HOST\nConnection: close\nTransfer-Encoding: chunked\n\n"
    with open_request(site, head + "3\nx=y\n0\n\n") as connection:
        assert read_all(connection).startswith("HTTP/1.1 403 ")  # The request has no CSRF token.


def test_the_longest_message_can_be_sent_without_the_script(site: Site) -> None:
    visitor = site.log_in()
    token = visitor.client.cookies["csrftoken"]
    # Each character is four bytes, which become twelve when they are percent-encoded.
    text = "𝒜" * 16_000
    form = f"csrfmiddlewaretoken={token}&client_id={uuid.uuid4()}&text={quote(text)}"
    assert len(form) > 192_000
    answer = visitor.client.post(
        "/send/", content=form, headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    # The site rejects it for having too many tokens and returns the text, so it has read all of it.
    assert answer.status_code == 422
    assert text in answer.text


def test_too_many_or_too_long_headers_are_refused(site: Site) -> None:
    for headers in ("a: b\n" * 101, f"a: {'b' * 5_000}\n" * 4):
        with open_request(site, f"GET / HTTP/1.1\nHost: HOST\n{headers}\n") as connection:
            assert read_all(connection).startswith("HTTP/1.1 400 ")


# --- Times ---


@pytest.fixture
def impatient_port() -> Iterator[int]:
    """The port of a server that allows half a second for a request."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.processes.limited_server", "0.5"],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.kill()


STARTS = {
    "nothing": b"",
    "half a line": b"GET / HT",
    "half of the headers": b"GET / HTTP/1.1\r\nHost: x\r\nA: ",
    "half of a second request": b"GET /short HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\nA: ",
    "half of a body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\nx",
    "half of a chunked body": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nF000\r\nx",
}


def test_slow_requests_are_closed_but_complete_ones_are_not(impatient_port: int) -> None:
    address = ("127.0.0.1", impatient_port)
    with (
        connect(f"ws://127.0.0.1:{impatient_port}/") as page,
        socket.create_connection(address, timeout=20) as long_answer,
        contextlib.ExitStack() as stack,
    ):
        long_answer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        while b"begun" not in long_answer.recv(65_536):
            pass
        slow = {}
        for name, start in STARTS.items():
            for _number in range(50):
                connection = stack.enter_context(socket.create_connection(address, timeout=20))
                connection.sendall(start)
                slow[connection] = name
        answers = _trickle_until_closed(slow)
        assert len(answers) == 300
        assert {name for name, answer in answers if b"HTTP/1.1 408 " in answer} == {
            "half of the headers",
            "half of a second request",
            "half of a body",
            "half of a chunked body",
        }
        page.send("still here?")
        assert page.recv(timeout=20) == "still here?"
        assert b"and done" in read_all(long_answer).encode()


def _trickle_until_closed(slow: dict[socket.socket, str]) -> list[tuple[str, bytes]]:
    """Send each connection a byte from time to time until all are closed, and return their responses."""
    answers = []
    received = dict.fromkeys(slow, b"")
    end = time.monotonic() + 20
    while slow:
        assert time.monotonic() < end, f"{len(slow)} are open"
        readable, _writable, _failed = select.select(list(slow), [], [], 0.1)
        for connection in list(slow):
            is_open = True
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                is_open = False
                if connection in readable:
                    more = connection.recv(65_536)
                    received[connection] += more
                    is_open = bool(more)
                else:
                    is_open = True
                    if slow[connection] != "nothing":
                        connection.send(b"x")
            if not is_open:
                answers.append((slow.pop(connection), received[connection]))
    return answers


# --- Addresses ---


def test_unknown_hosts_get_nothing_not_even_static_files(site: Site) -> None:
    for path in ("/static/chat/chat.css", "/healthz", "/accounts/login/", "/nowhere"):
        own, foreign = (httpx.get(site.address + path, headers=headers) for headers in ({}, {"Host": "evil"}))
        assert own.status_code in {200, 404}
        assert foreign.status_code == 400, path
        assert "default-src" in foreign.headers["Content-Security-Policy"]


def test_a_socket_at_an_unknown_address_is_refused(site: Site) -> None:
    address = site.address.replace("http", "ws")
    for path in ("/ws/nowhere/", "/ws/chat/%00", "/"):
        with pytest.raises(InvalidStatus, match="403"), connect(address + path, origin=Origin(site.address)):
            pass
    assert "No route found" not in site.web.output


def test_a_cookie_with_a_zero_byte_is_ignored(each_site: Site) -> None:
    address = each_site.address
    names = ("sessionid", "csrftoken", "messages", "django_language")
    cookies = {"Cookie": "; ".join(f"{name}={ZERO_COOKIE}" for name in names)}
    for path in ("/", "/accounts/login/", "/healthz", "/static/chat/chat.css"):
        with_zeros, without = (httpx.get(address + path, headers=headers) for headers in (cookies, {}))
        assert with_zeros.status_code == without.status_code, path
    with (
        connect(
            address.replace("http", "ws") + "/ws/chat/", origin=Origin(address), additional_headers=cookies
        ) as page,
        pytest.raises(ConnectionClosedError, match="4401"),
    ):
        page.recv(timeout=20)


def test_other_cookies_are_kept_beside_one_with_a_zero_byte(site: Site) -> None:
    session = site.log_in().client.cookies["sessionid"]
    cookies = {"Cookie": f"csrftoken={ZERO_COOKIE}; sessionid={session}; other={ZERO_COOKIE}"}
    assert httpx.get(site.address, headers=cookies).status_code == 200


def test_a_zero_byte_in_a_url_is_refused(each_site: Site) -> None:
    visitor = each_site.log_in()
    for path in (
        "/join/%00/",
        "/static/%00",
        "/admin/accounts/user/?username=%00",
        "/admin/accounts/user/%00/change/",
        "/admin/autocomplete/?app_label=conversations&model_name=report&field_name=reporter&term=%00",
    ):
        assert visitor.client.get(path).status_code == 400, path
