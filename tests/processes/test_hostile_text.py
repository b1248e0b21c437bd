"""Tests that answers which are slow to render don't delay other users and are shown completely in the end."""

import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Self

import httpx
import pytest

from tests.fakes import RunningUpstream, running_upstream
from tests.hostile_texts import hostile_texts
from tests.site import Site, Visitor

NAMES = ["tildes", "backticks", "perl substitutions", "wide table", "brackets", "one address used often"]


@pytest.fixture(scope="module")
def upstream() -> Iterator[RunningUpstream]:
    with running_upstream() as running:
        yield running


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, upstream: RunningUpstream) -> Iterator[Site]:
    data: Path = tmp_path_factory.mktemp("hostile") / "data"
    started = Site(data, OPENAI_BASE_URL=upstream.base_url, CHAT_SENDS_PER_MINUTE="1000").start()
    yield started
    started.web.end()


@pytest.fixture(scope="module")
def visitor(site: Site) -> Visitor:
    return site.log_in()


def pieces(text: str) -> list[str]:
    return [text[begin : begin + 400] for begin in range(0, len(text), 400)]


class Asking(threading.Thread):
    """Requests /healthz repeatedly until told to stop."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address
        self._is_stopped = threading.Event()
        self.codes: list[int] = []

    def run(self) -> None:
        with httpx.Client(base_url=self._address, timeout=5) as client:
            while not self._is_stopped.is_set():
                try:
                    self.codes.append(client.get("/healthz").status_code)
                except httpx.TimeoutException:
                    self.codes.append(0)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._is_stopped.set()
        self.join(10)


def answers(site: Site) -> list[tuple[str, str]]:
    """Return the status and text of each answer, newest last."""
    with closing(sqlite3.connect(Path(site.settings["DATA_DIR"]) / "chat.sqlite3")) as database:
        return database.execute(
            "SELECT g.status, m.text FROM chat_generation g JOIN chat_message m "
            "ON m.id = g.message_id ORDER BY g.id"
        ).fetchall()


@pytest.mark.parametrize("name", NAMES)
def test_text_that_is_slow_to_render_delays_no_one(
    name: str, site: Site, upstream: RunningUpstream, visitor: Visitor
) -> None:
    text = hostile_texts()[name]
    words = [f"word{number} " for number in range(100)]
    gate = upstream.hold()
    with visitor.socket() as other, visitor.socket() as page:
        upstream.answer_with(*words[:50], gate, *words[50:])
        other.say("An ordinary question")
        other.until("word49")
        upstream.answer_with(*(text[begin : begin + 400] for begin in range(0, len(text), 400)))
        with Asking(site.address) as asking:
            page.say("A question")
            page.until("The answer is (being written|complete)")
            gate.release()
            other.until("The answer is complete")
            page.until("The answer is complete", seconds=40)
    assert asking.codes
    assert set(asking.codes) == {200}
    assert answers(site)[-2:] == [("complete", "".join(words)), ("complete", text)]
    for seen in (other, page):
        address = re.search(r'data-url="([^"]+)"', seen.frames)
        assert address
        assert visitor.client.get(address.group(1), timeout=30).status_code == 200
    assert "Traceback" not in site.web.output
