"""Tests of two web processes and two workers on PostgreSQL and Redis, also while parts of them fail."""

import re
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
import redis
from websockets.exceptions import ConnectionClosed

from tests.fakes import Gate, RunningUpstream, Thought, running_upstream
from tests.site import Process, Site, Socket, Visitor, wait_until

COMPLETE = "The answer is complete"


class Cluster:
    """The site in four processes, with the services it uses."""

    def __init__(
        self, data_dir: Path, *, upstream: RunningUpstream, postgres_url: str, redis_url: str
    ) -> None:
        self.upstream = upstream
        self.redis = redis.Redis.from_url(redis_url.partition("?")[0])
        [self.client_name] = parse_qs(urlsplit(redis_url).query)["client_name"]
        self.database = psycopg.connect(postgres_url, autocommit=True)
        settings = {
            "OPENAI_BASE_URL": upstream.base_url,
            "DATABASE_URL": postgres_url,
            "REDIS_URL": redis_url,
            "GENERATION_RUNNER": "worker",
            "CHAT_SOCKETS_PER_USER": "100",
            "CHAT_SENDS_PER_MINUTE": "1000",
        }
        self.a, self.b = Site(data_dir, **settings), Site(data_dir, **settings)
        # The first process runs the migrations.
        self.a.start()
        self.b.start()
        self.workers: list[Process] = []
        self.start_workers()

    def start_workers(self) -> None:
        """Run exactly two workers, replacing any that have ended."""
        self.workers = [worker for worker in self.workers if worker.popen.poll() is None]
        while len(self.workers) < 2:
            self.workers.append(Process("generate", env=self.a.settings))
        for worker in self.workers:
            worker.wait_for("Generating as")

    def end(self) -> None:
        for process in (self.a.web, self.b.web, *self.workers):
            process.end(signal.SIGKILL)
        self.database.close()
        self.redis.close()

    def query(self, statement: str, *values: Any) -> list[Any]:
        return self.database.execute(statement, values).fetchall()

    def answer(self, message: str) -> tuple[str, str]:
        """Return the status of a message's latest generation, and the message's text."""
        [*_, (status, text)] = self.query(
            "SELECT g.status, m.text FROM chat_generation g JOIN chat_message m "
            "ON m.id = g.message_id WHERE m.uuid = %s ORDER BY g.id",
            message,
        )
        return status, text

    def journal(self, message: str) -> str:
        rows = self.query(
            "SELECT c.text FROM chat_generationchunk c JOIN chat_generation g "
            "ON g.id = c.generation_id JOIN chat_message m ON m.id = g.message_id "
            "WHERE m.uuid = %s ORDER BY c.offset",
            message,
        )
        return "".join(text for (text,) in rows)

    def writer_of(self, message: str) -> Process:
        """Return the worker that writes this message."""
        [(runner,)] = self.query(
            "SELECT g.runner FROM chat_generation g JOIN chat_message m "
            "ON m.id = g.message_id WHERE m.uuid = %s AND g.status = 'running'",
            message,
        )
        return next(w for w in self.workers if w.popen.pid == int(runner.split(":")[1]))

    def redis_connections(self) -> list[dict[str, str]]:
        """Return only the site's own connections to Redis."""
        return [client for client in self.redis.client_list() if client["name"] == self.client_name]

    def listening(self) -> int:
        """Return how many processes receive the updates of the others."""
        return sum(client["sub"] != "0" for client in self.redis_connections())


class Viewer:
    """A page showing one conversation. Applies frames like a browser, and reconnects after it is cut off."""

    def __init__(self, visitor: Visitor, address: str, stack: ExitStack) -> None:
        self.visitor = visitor
        self.address = address
        self.stack = stack
        self.conversation = ""
        self.cursor: dict[str, str] = {}
        self.done = self.open = self.said = self.reasoning = ""
        self.grown = 0
        self.socket: Socket
        self.connect()

    def connect(self, address: str = "") -> None:
        self.address = address or self.address
        self.socket = self.stack.enter_context(self.visitor.socket(self.address))
        if self.conversation:
            self.socket.send(action="attach", conversation=self.conversation, **self.cursor)

    def attach(self, conversation: str) -> None:
        self.conversation = conversation
        self.socket.send(action="attach", conversation=conversation)

    @property
    def message(self) -> str:
        """The public ID of the answer."""
        return self.cursor["message"]

    @property
    def words(self) -> list[str]:
        """The words of the answer that are shown."""
        return re.findall(r"w\d+", self.done + self.open)

    def until(self, is_so: Any, *, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not is_so():
            try:
                frame = str(self.socket.connection.recv(timeout=max(0.01, end - time.monotonic())))
            except TimeoutError as error:
                raise TimeoutError(f"{self.words[-1:]} {self.said!r} {self.done[-300:]!r}") from error
            except ConnectionClosed:
                self.connect()
                continue
            for target, swap, html in re.findall(
                r'<hx-partial hx-target="(.*?)" hx-swap="(.*?)">(.*?)</hx-partial>', frame, re.S
            ):
                self._apply(unescape(target), swap, html)

    def until_said(self, text: str) -> None:
        self.until(lambda: text in self.said)

    def until_word(self, number: int) -> None:
        self.until(lambda: f"w{number}" in self.words)

    def _apply(self, target: str, swap: str, html: str) -> None:
        if target == "#location":
            self.conversation = re.findall(r'data-url="/c/(.*?)/"', html)[0]
        elif target == "#cursor":
            self.cursor = dict(re.findall(r'name="(.*?)" value="(.*?)"', html))
        elif target in {"#announce", "#composer-error"}:
            self.said = unescape(html)
        elif target == "#thread" or target.startswith("#m-"):
            self.done, _, self.open = _answer_in(html).partition('class="prose open"')
            self.reasoning = unescape(
                "".join(re.findall(r'class="reasoning__text".*?>(.*?)</div>', html, re.S))
            )
        elif target.endswith(">.reasoning__text"):
            self.reasoning = ("" if swap == "innerHTML" else self.reasoning) + unescape(html)
        elif target.startswith(".done"):
            self.done = html if swap == "innerHTML" else self.done + html
        elif target == ".open":
            self.open = html
            self.grown += 1
        elif target.startswith(".open>"):
            self.open += html
            self.grown += 1


def _answer_in(html: str) -> str:
    """Return the text shown of the last answer, without the question above it and the buttons below it."""
    return html.rpartition('class="prose done"')[2].partition('class="status"')[0]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, postgres_url: str, redis_url: str) -> Iterator[Cluster]:
    with running_upstream() as upstream:
        started = Cluster(
            tmp_path_factory.mktemp("scaled-out") / "data",
            upstream=upstream,
            postgres_url=postgres_url,
            redis_url=redis_url,
        )
        yield started
        started.end()


@pytest.fixture(scope="module")
def alice(cluster: Cluster) -> Visitor:
    return cluster.a.sign_up("alice")


@pytest.fixture(scope="module")
def charlie(cluster: Cluster) -> Visitor:
    return cluster.b.sign_up("charlie")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as entered:
        yield entered


@pytest.fixture
def gate(cluster: Cluster) -> Iterator[Gate]:
    """Holds back the test's answer. Anything still held back is released at the end."""
    held = cluster.upstream.hold()
    yield held
    held.release()


def deltas(start: int, end: int) -> list[str]:
    """Return numbered words in paragraphs of twenty."""
    return [f"w{number}" + ("\n\n" if number % 20 == 19 else " ") for number in range(start, end)]


def words(end: int) -> list[str]:
    return [f"w{number}" for number in range(end)]


@contextmanager
def both_watching(
    cluster: Cluster, alice: Visitor, stack: ExitStack, *steps: Any, rate: float = 0
) -> Iterator[tuple[Viewer, Viewer]]:
    """Make Alice ask through one web process and watch through both."""
    cluster.upstream.answer_with(*steps, rate=rate)
    asking = Viewer(alice, cluster.a.address, stack)
    asking.socket.say("Count")
    asking.until(lambda: asking.conversation and asking.cursor.get("open"))
    watching = Viewer(alice, cluster.b.address, stack)
    watching.attach(asking.conversation)
    watching.until(lambda: watching.cursor.get("open"))
    yield asking, watching


def assert_whole(cluster: Cluster, *viewers: Viewer, status: str, count: int) -> None:
    """Check that the database, all watching pages, and pages newly loaded from either process show the same words."""
    viewer = viewers[-1]
    found, text = cluster.answer(viewer.message)
    assert (found, text.split()) == (status, words(count))
    for watched in viewers:
        assert watched.words == words(count)
    for site in (cluster.a, cluster.b):
        page = viewer.visitor.client.get(f"{site.address}/c/{viewer.conversation}/").text
        assert re.findall(r"w\d+", _answer_in(page)) == words(count)
    assert cluster.journal(viewer.message) == ""


def test_an_answer_streams_to_another_process(
    cluster: Cluster, alice: Visitor, stack: ExitStack, gate: Gate
) -> None:
    with both_watching(cluster, alice, stack, *deltas(0, 50), gate, *deltas(50, 90)) as viewers:
        for viewer in viewers:
            viewer.until_word(49)
        gate.release()
        for viewer in viewers:
            viewer.until_said(COMPLETE)
        assert_whole(cluster, *viewers, status="complete", count=90)


def test_late_viewers_get_as_many_frames_as_early_ones(
    cluster: Cluster, alice: Visitor, stack: ExitStack
) -> None:
    cluster.upstream.answer_with(*deltas(0, 150), rate=50)
    asking = Viewer(alice, cluster.a.address, stack)
    asking.socket.say("Count")
    asking.until_word(25)
    # This process has no other viewer of the answer.
    late = Viewer(alice, cluster.b.address, stack)
    late.attach(asking.conversation)
    for viewer in (late, asking):
        viewer.until_said(COMPLETE)
    assert_whole(cluster, asking, late, status="complete", count=150)
    # From the journal alone, there would be one frame per second.
    assert late.grown > 15


def test_reasoning_streams_to_all_processes_and_is_sent_again_on_reconnecting(
    cluster: Cluster, alice: Visitor, stack: ExitStack, gate: Gate
) -> None:
    later = cluster.upstream.hold()
    steps = (Thought("Let <me> "), gate, Thought("think."), later, *deltas(0, 10))
    with both_watching(cluster, alice, stack, *steps) as viewers:
        for viewer in viewers:
            viewer.until(lambda v=viewer: v.reasoning == "Let <me> ")
        gate.release()
        for viewer in viewers:
            viewer.until(lambda v=viewer: v.reasoning == "Let <me> think.")
        # Move from one process to the other in the middle of the answer.
        viewers[0].socket.connection.close()
        viewers[0].reasoning = ""
        viewers[0].connect(cluster.b.address)
        viewers[0].until(lambda: viewers[0].reasoning == "Let <me> think.")
        later.release()
        for viewer in viewers:
            viewer.until_said(COMPLETE)
            assert viewer.reasoning == "Let <me> think."
        assert_whole(cluster, *viewers, status="complete", count=10)


def test_stop_reaches_the_worker_from_another_process(
    cluster: Cluster, alice: Visitor, stack: ExitStack, gate: Gate
) -> None:
    with both_watching(cluster, alice, stack, *deltas(0, 30), gate, "never") as viewers:
        for viewer in viewers:
            viewer.until_word(29)
        request = cluster.upstream.requests[-1]
        viewers[1].socket.send(action="stop", message=viewers[0].message)
        assert request.disconnected.wait(5)
        for viewer in viewers:
            viewer.until_said("The answer was stopped")
        assert_whole(cluster, *viewers, status="stopped", count=30)


def test_a_killed_worker_is_noticed_by_the_other_and_the_answer_can_continue(
    cluster: Cluster, alice: Visitor, stack: ExitStack, gate: Gate
) -> None:
    with both_watching(cluster, alice, stack, *deltas(0, 30), gate, "never") as viewers:
        for viewer in viewers:
            viewer.until_word(29)
        wait_until(lambda: cluster.journal(viewers[0].message).split() == words(30))
        cluster.writer_of(viewers[0].message).end(signal.SIGKILL)
        for viewer in viewers:
            viewer.until_said("The answer was interrupted")
        assert_whole(cluster, *viewers, status="interrupted", count=30)

        cluster.upstream.answer_with(*deltas(30, 45))
        viewers[1].socket.send(action="continue", message=viewers[0].message, client_id="")
        for viewer in viewers:
            viewer.until_said(COMPLETE)
        assert_whole(cluster, *viewers, status="complete", count=45)
    cluster.start_workers()


def test_a_terminated_worker_ends_at_once_and_keeps_all_text(
    cluster: Cluster, alice: Visitor, stack: ExitStack, gate: Gate
) -> None:
    with both_watching(cluster, alice, stack, *deltas(0, 30), gate, "never") as viewers:
        for viewer in viewers:
            viewer.until_word(29)
        assert cluster.writer_of(viewers[0].message).end() == 0
        for viewer in viewers:
            viewer.until_said("The answer was interrupted")
        assert_whole(cluster, *viewers, status="interrupted", count=30)
    cluster.start_workers()


def test_a_killed_web_process_does_not_touch_the_answer(
    cluster: Cluster, alice: Visitor, stack: ExitStack, gate: Gate
) -> None:
    with both_watching(cluster, alice, stack, *deltas(0, 30), gate, *deltas(30, 70)) as (asking, watching):
        asking.until_word(29)
        cluster.a.web.end(signal.SIGKILL)
        gate.release()
        # The page's position comes from the first process.
        asking.connect(cluster.b.address)
        for viewer in (asking, watching):
            viewer.until_said(COMPLETE)
        cluster.a.start()
        assert_whole(cluster, asking, watching, status="complete", count=70)


def test_answers_survive_lost_redis_connections(cluster: Cluster, alice: Visitor, stack: ExitStack) -> None:
    with both_watching(cluster, alice, stack, *deltas(0, 150), rate=50) as viewers:
        for number in (20, 50, 80, 110):
            viewers[0].until_word(number)
            for connection in cluster.redis_connections():
                cluster.redis.client_kill_filter(_id=connection["id"])
        for viewer in viewers:
            viewer.until_said(COMPLETE)
        assert_whole(cluster, *viewers, status="complete", count=150)
    wait_until(lambda: cluster.listening() == 4, what="all processes to listen again")


def test_answers_survive_lost_postgresql_connections(
    cluster: Cluster, alice: Visitor, stack: ExitStack
) -> None:
    with both_watching(cluster, alice, stack, *deltas(0, 150), rate=50) as viewers:
        cut = 0
        for number in (20, 50, 80, 110):
            viewers[0].until_word(number)
            # A pool whose connections were just cut may not have reconnected yet.
            cut += len(
                cluster.query(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        assert cut
        for viewer in viewers:
            viewer.until_said(COMPLETE)
        assert_whole(cluster, *viewers, status="complete", count=150)


def test_one_message_sent_fifty_times_at_once_is_one(
    cluster: Cluster, alice: Visitor, stack: ExitStack
) -> None:
    viewers = [Viewer(alice, site.address, stack) for site in (cluster.a, cluster.b) for _ in range(25)]
    text, client_id = f"Only once {uuid.uuid4()}", str(uuid.uuid4())
    together = threading.Barrier(len(viewers))

    def send(viewer: Viewer) -> None:
        together.wait(20)
        viewer.socket.send(action="send", conversation="", client_id=client_id, text=text)
        viewer.until_said(COMPLETE)

    cluster.upstream.answer_with(*deltas(0, 5))
    with ThreadPoolExecutor(len(viewers)) as pool:
        list(pool.map(send, viewers))
    assert len({viewer.conversation for viewer in viewers}) == 1
    assert_whole(cluster, *viewers, status="complete", count=5)
    [(messages, generations)] = cluster.query(
        "SELECT count(DISTINCT m.id), count(g.id) FROM chat_message m JOIN chat_generation g "
        "ON g.conversation_id = m.conversation_id WHERE m.text = %s",
        text,
    )
    assert (messages, generations) == (1, 1)
    assert [request.prompt for request in cluster.upstream.requests].count(text) == 1


def test_charlie_has_no_access_in_any_process(
    cluster: Cluster, alice: Visitor, charlie: Visitor, stack: ExitStack, gate: Gate
) -> None:
    with both_watching(cluster, alice, stack, *deltas(0, 30), gate, *deltas(30, 40)) as viewers:
        for viewer in viewers:
            viewer.until_word(29)
        conversation, cursor = viewers[0].conversation, viewers[0].cursor
        for site in (cluster.a, cluster.b):
            assert charlie.client.get(f"{site.address}/c/{conversation}/").status_code == 404
            stranger = Viewer(charlie, site.address, stack)
            for frame in (
                {"action": "attach", "conversation": conversation},
                {"action": "attach", "conversation": conversation, **cursor},
                {"action": "stop", "message": cursor["message"]},
                {"action": "continue", "message": cursor["message"], "client_id": str(uuid.uuid4())},
                {
                    "action": "send",
                    "conversation": conversation,
                    "client_id": str(uuid.uuid4()),
                    "text": "Mine",
                },
            ):
                stranger.said = ""
                stranger.socket.send(**frame)
                stranger.until_said("Conversation not found")
            assert (stranger.words, stranger.cursor) == ([], {})
        gate.release()
        for viewer in viewers:
            viewer.until_said(COMPLETE)
        assert_whole(cluster, *viewers, status="complete", count=40)
