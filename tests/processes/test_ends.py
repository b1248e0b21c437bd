"""What is left when a process ends: by SIGTERM, by SIGKILL, in mid-stream."""

import signal
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import RunningUpstream, running_upstream
from tests.site import Site, wait_until


@pytest.fixture
def upstream() -> Iterator[RunningUpstream]:
    with running_upstream() as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, upstream: RunningUpstream) -> Iterator[Site]:
    started = Site(tmp_path / "data", OPENAI_BASE_URL=upstream.base_url).start()
    yield started
    started.web.end(signal.SIGKILL)


def query(site: Site, sql: str) -> list[Any]:
    with closing(sqlite3.connect(Path(site.settings["DATA_DIR"]) / "chat.sqlite3")) as database:
        return database.execute(sql).fetchall()


ANSWER = (
    "SELECT g.status, m.text FROM conversations_generation g JOIN conversations_message m ON m.id = g.message_id "
    "ORDER BY g.id"
)


def test_the_first_start_says_all_that_is_needed_and_the_second_keeps_the_data(tmp_path: Path) -> None:
    site = Site(tmp_path / "data")
    del site.settings["DJANGO_SUPERUSER_PASSWORD"]
    site.start()
    password = site.web.wait_for(r"First admin:  admin\nPassword:     (\S{12,})\n").group(1)
    assert site.web.end() == 0
    again = Site(tmp_path / "data").start()
    assert "Password" not in again.web.output
    assert password not in again.web.output
    page = again.log_in
    with pytest.raises(AssertionError, match="not signed in"):
        page()
    assert again.web.end() == 0


def test_after_a_kill_the_text_is_there_and_the_answer_goes_on(site: Site, upstream: RunningUpstream) -> None:
    text = "".join(f"word{number} " for number in range(200))
    upstream.answer_with(text, upstream.hold(), "lost")
    visitor = site.log_in()
    with visitor.socket() as page:
        page.say("Go")
        page.until("word199")
        # What a commit has reached by the time it was in view is what the figure in docs/architecture.md is about; the
        # journal is given the time of one more commit, seen in the database itself.
        wait_until(lambda: query(site, "SELECT 1 FROM conversations_generationchunk"))
        site.web.end(signal.SIGKILL)
    assert query(site, ANSWER) == [("running", "")]

    site.start()
    wait_until(lambda: query(site, ANSWER) == [("interrupted", text)])
    upstream.answer_with("and the rest.")
    [(message, conversation)] = query(
        site,
        "SELECT m.uuid, c.uuid FROM conversations_message m JOIN conversations_conversation c "
        "ON c.id = m.conversation_id WHERE m.role = 'assistant'",
    )
    message, conversation = str(uuid.UUID(message)), str(uuid.UUID(conversation))
    page_html = visitor.client.get(f"/c/{conversation}/").text
    assert "word199" in page_html
    assert "interrupted" in page_html
    assert "Continue" in page_html
    with visitor.socket() as page:
        page.send(action="attach", conversation=conversation)
        page.send(action="continue", message=message, client_id="")
        page.until("The answer is complete")
    assert query(site, ANSWER)[-1] == ("complete", text + "and the rest.")


def test_a_term_keeps_all_that_was_shown(site: Site, upstream: RunningUpstream) -> None:
    upstream.answer_with("Shown ", "before the end. ", upstream.hold(), "never")
    with site.log_in().socket() as page:
        page.say("Go")
        page.until("before the end")
        assert site.web.end() == 0
    assert query(site, ANSWER) == [("interrupted", "Shown before the end. ")]
    assert query(site, "SELECT 1 FROM conversations_generationchunk") == []
    upstream.wait_for_disconnect()


def test_nothing_said_is_in_the_log(site: Site, upstream: RunningUpstream) -> None:
    site.web.end()
    site.settings |= {"OPENAI_API_KEY": "sk-never-in-a-log", "LOG_LEVEL": "DEBUG"}
    site.start()
    visitor = site.log_in()
    upstream.answer_with("my-private-", "answer")
    with visitor.socket() as page:
        page.say("my-private-question")
        page.until("The answer is complete")
    for fault in ("unauthorized", "cut", "bad-json", "500-once"):
        upstream.respond_with(fault)
        with visitor.socket() as page:
            page.say("my-private-question")
            page.until("The answer (is complete|failed|was interrupted)")
    cookie = visitor.client.cookies["sessionid"]
    site.web.end()
    for secret in ("sk-never-in-a-log", "my-private", cookie):
        assert secret not in site.web.output
