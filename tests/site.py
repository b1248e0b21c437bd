"""Run the real site in separate processes, as `./run` does, for tests that need real processes."""

import atexit
import contextlib
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

ROOT = Path(__file__).resolve().parent.parent
ADMIN = "admin"
PASSWORD = "correct horse battery"


def wait_until(is_so: Callable[[], Any], *, seconds: float = 20, what: str = "it") -> Any:
    """Poll until a condition is true, and return its value. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while True:
        found = is_so()
        if found:
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"Waited {seconds} s for {what}.")
        time.sleep(0.01)


def descendants(pid: int) -> list[int]:
    """Return the process IDs of the children of a process, of their children, and so on."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text(encoding="ascii").split():
            found += [int(child), *descendants(int(child))]
    return found


class Process:
    """A `manage.py` process whose output is read line by line."""

    def __init__(self, *arguments: str, env: dict[str, str]) -> None:
        # Pass on only what a process needs to run, and nothing from the tests' own environment.
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        self.popen = subprocess.Popen(
            [sys.executable, "-u", "manage.py", *arguments],
            cwd=ROOT,
            env={**kept, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self.lines.append(line)

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def wait_for(self, pattern: str, *, seconds: float = 60) -> re.Match[str]:
        """Return the first match in the output. Raises TimeoutError, or RuntimeError if the process ends."""

        def found() -> re.Match[str] | None:
            match = re.search(pattern, self.output)
            if match is None and self.popen.poll() is not None:
                self._reader.join(5)
                match = re.search(pattern, self.output)
                if match is None:
                    raise RuntimeError(f"The process ended:\n{self.output}")
            return match

        try:
            return wait_until(found, seconds=seconds, what=pattern)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.output}") from error

    def end(self, number: int = signal.SIGTERM, *, seconds: float = 20) -> int:
        """Send a signal, wait for the process to end, and return its exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        code = self.popen.wait(seconds)
        self._reader.join(5)
        assert self.popen.stdout is not None
        self.popen.stdout.close()
        return code


@functools.cache
def started_once() -> Path:
    """Return the data folder of a site that has started and stopped, made once per run of the tests.

    A copy of it starts in a quarter of the time, because the database is migrated and the static files are collected.
    """
    folder = Path(tempfile.mkdtemp(prefix="chatsite-started-once-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    site = Site(folder / "data").start_empty()
    assert site.web.end() == 0
    return folder / "data"


class Site:
    """A web process with its data folder. The settings are the environment variables described in README.md."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        self.settings = {
            "DATA_DIR": str(data_dir),
            "PORT": "0",
            # On every machine, whatever its number of cores.
            "PROCESSES": "1",
            "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
            # A port with no server, for tests that need no upstream.
            "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
            "CHAT_MODEL": "fake",
            "DJANGO_SETTINGS_MODULE": "tests.quick_settings",
            **settings,
        }
        self.web: Process
        self.address = ""

    def start(self) -> Self:
        """Start with the data in the folder or, if there is none, with that of a site that has started once."""
        folder = Path(self.settings["DATA_DIR"])
        if not folder.exists() or not any(folder.iterdir()):
            shutil.copytree(started_once(), folder, dirs_exist_ok=True)
        return self.start_empty()

    def start_empty(self) -> Self:
        """Start with the data in the folder, which can be empty, as on a new machine."""
        self.web = Process("serve", env=self.settings)
        self.address = self.web.wait_for(r"Chat:\s+(http://\S+?)/\n").group(1)
        self.web.wait_for("Ready")
        # Reuse the port after a restart, because pages reconnect to the same address.
        self.settings["PORT"] = self.address.rpartition(":")[2]
        return self

    def log_in(self, username: str = ADMIN) -> "Visitor":
        return Visitor(self.address, username)

    def sign_up(self, username: str) -> "Visitor":
        """Create an account and return its signed-in visitor."""
        client = httpx.Client(base_url=self.address, follow_redirects=True)
        page = client.get("/accounts/signup/")
        form = {
            "csrfmiddlewaretoken": _token(page.text),
            "username": username,
            "password1": PASSWORD,
            "password2": PASSWORD,
        }
        client.post("/accounts/signup/", data=form, headers={"Referer": self.address}).raise_for_status()
        return Visitor(self.address, username, client=client)


def _token(page: str) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert found, page
    return found.group(1)


class Visitor:
    """A signed-in user, with the cookies of their browser."""

    def __init__(self, address: str, username: str, *, client: httpx.Client | None = None) -> None:
        self.address = address
        if client is None:
            client = httpx.Client(base_url=address, follow_redirects=True)
            form = {"csrfmiddlewaretoken": _token(client.get("/accounts/login/").text), "login": username}
            client.post("/accounts/login/", data={**form, "password": PASSWORD}, headers={"Referer": address})
        self.client = client
        weakref.finalize(self, client.close)
        assert "sessionid" in client.cookies, "not signed in"
        notice = client.get("/")
        if 'name="version"' in notice.text:
            version = re.findall(r'name="version" value="(\d+)"', notice.text)[0]
            form = {"csrfmiddlewaretoken": _token(notice.text), "version": version}
            client.post("/terms/", data=form, headers={"Referer": address})

    @contextlib.contextmanager
    def socket(self, address: str = "", *, open_timeout: float = 20) -> Iterator["Socket"]:
        base = address or self.address
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.client.cookies.jar)
        with connect(
            base.replace("http", "ws", 1) + "/ws/chat/",
            origin=Origin(base),
            additional_headers={"Cookie": cookies},
            max_size=None,
            open_timeout=open_timeout,
        ) as connection:
            yield Socket(connection)


class Socket:
    """A page's side of a real websocket. Assembles long frames and acknowledges what it receives, as the page does."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.frames = ""
        self._pieces = ""
        self._received = 0

    def send(self, **frame: Any) -> None:
        self.connection.send(json.dumps(frame))

    def say(self, text: str, *, conversation: str = "") -> str:
        client_id = str(uuid.uuid4())
        self.send(action="send", conversation=conversation, client_id=client_id, text=text)
        return client_id

    def until(self, pattern: str, *, seconds: float = 20) -> str:
        """Read frames until the pattern matches everything received so far, and return all of it."""
        end = time.monotonic() + seconds
        while not re.search(pattern, self.frames):
            try:
                self.frames += self._next(seconds=max(0.01, end - time.monotonic()))
            except TimeoutError as error:
                raise TimeoutError(f"{pattern} is not in {self.frames[-2_000:]!r}") from error
        return self.frames

    def closed(self, *, seconds: float = 20) -> int:
        """Read until the server closes the socket, and return the close code."""
        try:
            while True:
                self.frames += self._next(seconds=seconds)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006

    def _next(self, *, seconds: float) -> str:
        """Return the next frame, or an empty string for an incomplete one. Raises TimeoutError."""
        text = str(self.connection.recv(timeout=seconds))
        self._received += len(text.encode())
        if text[:1] not in {"(", "+", ")"}:
            return text
        self._pieces = ("" if text[0] == "(" else self._pieces) + text[1:]
        self.send(action="ack", received=self._received)
        return self._pieces if text[0] == ")" else ""
