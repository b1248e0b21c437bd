"""Tests for what remains after a process ends by SIGTERM or SIGKILL while an answer is streaming."""

import contextlib
import re
import signal
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.fakes import RunningUpstream, Thought, running_upstream
from tests.site import Process, Site, wait_until


@pytest.fixture
def upstream() -> Iterator[RunningUpstream]:
    with running_upstream() as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, upstream: RunningUpstream) -> Iterator[Site]:
    started = Site(tmp_path / "data", OPENAI_BASE_URL=upstream.base_url).start()
    yield started
    started.web.end(signal.SIGKILL)


def database_of(site: Site) -> Path:
    return Path(site.settings["DATA_DIR"]) / "chat.sqlite3"


def query(site: Site, sql: str) -> list[Any]:
    with closing(sqlite3.connect(database_of(site))) as database:
        return database.execute(sql).fetchall()


JOURNAL = 'SELECT text FROM chat_generationchunk ORDER BY "offset"'

ANSWER = (
    "SELECT g.status, m.text FROM chat_generation g JOIN chat_message m ON m.id = g.message_id ORDER BY g.id"
)


def test_the_first_start_prints_what_is_needed_and_the_second_keeps_the_data(tmp_path: Path) -> None:
    settings = {"DJANGO_SETTINGS_MODULE": "chatsite.settings"}
    site = Site(tmp_path / "data", **settings)
    del site.settings["DJANGO_SUPERUSER_PASSWORD"]
    site.start_empty()
    password = site.web.wait_for(r"First admin:  admin\nPassword:     (\S{12,})\n").group(1)
    assert site.web.end() == 0
    again = Site(tmp_path / "data", **settings).start()
    assert "Password" not in again.web.output
    assert password not in again.web.output
    page = again.log_in
    with pytest.raises(AssertionError, match="not signed in"):
        page()
    assert again.web.end() == 0


def test_after_a_kill_the_text_is_kept_and_the_answer_can_continue(
    site: Site, upstream: RunningUpstream
) -> None:
    text = "".join(f"word{number} " for number in range(200))
    upstream.answer_with(Thought("What to "), Thought("say?"), text, upstream.hold(), "lost")
    visitor = site.log_in()
    with visitor.socket() as page:
        page.say("Go")
        page.until("word199")
        # The figure in docs/architecture.md is about text that a commit had reached by the time it was shown. This
        # allows time for one more commit, as seen in the database itself.
        wait_until(lambda: query(site, "SELECT 1 FROM chat_generationchunk"))
        site.web.end(signal.SIGKILL)
    assert query(site, ANSWER) == [("running", "")]

    site.start()
    wait_until(lambda: query(site, ANSWER) == [("interrupted", text)])
    upstream.answer_with("and the rest.")
    [(message, conversation)] = query(
        site,
        "SELECT m.uuid, c.uuid FROM chat_message m JOIN chat_conversation c "
        "ON c.id = m.conversation_id WHERE m.role = 'assistant'",
    )
    message, conversation = str(uuid.UUID(message)), str(uuid.UUID(conversation))
    page_html = visitor.client.get(f"/c/{conversation}/").text
    assert "word199" in page_html
    assert '<div class="reasoning__text" dir="auto" hx-ignore>What to say?</div>' in page_html
    assert "interrupted" in page_html
    assert "Continue" in page_html
    with visitor.socket() as page:
        page.send(action="attach", conversation=conversation)
        page.send(action="continue", message=message, client_id="")
        page.until("The answer is complete")
    assert query(site, ANSWER)[-1] == ("complete", text + "and the rest.")


# One word every 20 ms, so a number of words corresponds to a time.
WORDS_A_SECOND = 50
MOST_WORDS_LOST = WORDS_A_SECOND // 4


def test_a_kill_soon_after_a_slow_commit_loses_a_quarter_of_a_second(
    site: Site, upstream: RunningUpstream
) -> None:
    visitor = site.log_in()
    for locked, after in ((15, 13), (30, 15), (50, 18)):
        upstream.answer_with(*(f"w{number} " for number in range(1_000)), rate=WORDS_A_SECOND)
        with visitor.socket() as page:
            page.say("Go")
            page.until(r"w19\b")
            # Another program writes to the database while this many words arrive.
            with closing(sqlite3.connect(database_of(site), isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                released_at = last_word(page.until(rf"w{20 + locked}\b"))
                other.execute("ROLLBACK")
            page.until(rf"w{released_at + after}\b")
            site.web.end(signal.SIGKILL)
            with contextlib.suppress(ConnectionClosed):
                page.until("nothing more")
        kept = last_word("".join(text for (text,) in query(site, JOURNAL)))
        assert last_word(page.frames) - kept <= MOST_WORDS_LOST
        site.start()


def last_word(text: str) -> int:
    """Return the highest number among the words in a text."""
    return max(int(number) for number in re.findall(r"w(\d+) ", text))


# Writes every heartbeat as if this process's clock were an hour behind all others.
AN_HOUR_BEHIND = """
CREATE TRIGGER an_hour_behind AFTER UPDATE OF heartbeat_at ON chat_generation
WHEN NEW.status = 'running' BEGIN
    UPDATE chat_generation SET heartbeat_at = strftime('%Y-%m-%d %H:%M:%f000', NEW.heartbeat_at, '-1 hour')
    WHERE id = NEW.id;
END
"""


def test_clock_differences_do_not_end_answers(site: Site, upstream: RunningUpstream) -> None:
    site.web.end()
    site.settings["GENERATION_LEASE_SECONDS"] = "4"
    site.start()
    with closing(sqlite3.connect(database_of(site))) as database:
        database.execute(AN_HOUR_BEHIND)
    gate = upstream.hold()
    upstream.answer_with("Before ", gate, "and after.")
    with site.log_in().socket() as page:
        page.say("Go")
        page.until("Before")
        observer = Process("reap", env=site.settings)
        assert observer.wait_for(r"(\d+) interrupted").group(1) == "0"
        observer.end()
        gate.release()
        page.until("The answer is complete")
    assert query(site, ANSWER) == [("complete", "Before and after.")]


def test_sigterm_keeps_all_text_that_was_shown(site: Site, upstream: RunningUpstream) -> None:
    upstream.answer_with("Shown ", "before the end. ", upstream.hold(), "never")
    with site.log_in().socket() as page:
        page.say("Go")
        page.until("before the end")
        assert site.web.end() == 0
    assert query(site, ANSWER) == [("interrupted", "Shown before the end. ")]
    assert query(site, "SELECT 1 FROM chat_generationchunk") == []
    upstream.wait_for_disconnect()


def test_conversations_are_not_logged(site: Site, upstream: RunningUpstream) -> None:
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
