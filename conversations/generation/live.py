"""What this process knows of the generations that are being written now, and who waits for news.

Everything here lives in one event loop. Nothing here is the truth: that is the journal in the database. A live text
that has a hole or stays behind is filled from there.
"""

import asyncio
import bisect
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from . import doorbell
from .doorbell import News


class LiveText:
    """The text of one message while it grows, from its first character, and the viewers who wait for more of it."""

    def __init__(self, generation_id: int) -> None:
        self.generation_id = generation_id
        self.length = 0
        """Characters known."""
        self.has_ended = False
        self.is_written_here = False
        """Whether the runner of this process writes it; elsewhere it is a copy that may be behind."""
        self.journaled = 0
        """How far a copy was read from the journal, which is always where a chunk ends."""
        self._pieces: list[str] = []
        self._starts: list[int] = []
        # What came from beyond a hole, in one piece that begins at an offset.
        self._ahead: list[str] = []
        self._ahead_start = self._ahead_end = 0
        self._waiting: set[asyncio.Event] = set()

    def append(self, text: str) -> None:
        """Add text at the end, and wake the viewers."""
        if text:
            self._starts.append(self.length)
            self._pieces.append(text)
            self.length += len(text)
            self._wake()

    def put(self, offset: int, text: str) -> None:
        """Add text that begins at `offset`; what is known already is passed over.

        Text from beyond a hole is kept until the hole is filled: a copy that could only be filled up to the last commit
        would never meet what is being broadcast. Where that has a hole too, the newer part is kept.
        """
        if offset > self.length:
            if offset != self._ahead_end:
                self._ahead, self._ahead_start = [], offset
            self._ahead.append(text)
            self._ahead_end = offset + len(text)
            return
        self.append(text[self.length - offset :])
        if self._ahead and self._ahead_start <= self.length:
            ahead, self._ahead = "".join(self._ahead), []
            self.append(ahead[self.length - self._ahead_start :])

    def end(self) -> None:
        """Say that no more comes: the message in the database now has the whole text."""
        self.has_ended = True
        self._wake()

    def since(self, offset: int) -> str:
        """Return all text from this offset on."""
        if offset >= self.length:
            return ""
        first = bisect.bisect_right(self._starts, offset) - 1
        if first == len(self._pieces) - 1:
            return self._pieces[first][offset - self._starts[first] :]
        joined = "".join(self._pieces[first:])
        return joined[offset - self._starts[first] :]

    @contextmanager
    def watched(self) -> Iterator[asyncio.Event]:
        """Give an event that is set whenever text came or the end."""
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            yield event
        finally:
            self._waiting.discard(event)

    @property
    def is_watched(self) -> bool:
        return bool(self._waiting)

    def _wake(self) -> None:
        for event in self._waiting:
            event.set()


class Pace:
    """How long viewers wait between two frames, in seconds, so that all of them together leave the process time to live.

    One viewer gets a frame every 50 ms. Many share at most half of a core for what rendering and sending a frame was
    seen to cost: their frames come less often and hold more text each.
    """

    SHORTEST = 0.05
    LONGEST = 1.0
    SHARE = 0.5

    def __init__(self) -> None:
        self._cost = 0.0
        self._viewers = 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count a viewer while an answer is streamed to it."""
        self._viewers += 1
        try:
            yield
        finally:
            self._viewers -= 1

    def note(self, seconds: float) -> None:
        """Take into account what one frame has just cost."""
        self._cost += 0.05 * (seconds - self._cost)

    @property
    def interval(self) -> float:
        return min(max(self.SHORTEST, self._viewers * self._cost / self.SHARE), self.LONGEST)


@dataclass(frozen=True, slots=True, eq=False)
class RunnerNews:
    """What a runner waits for."""

    turns: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a generation may have been queued."""
    stops: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when one may have been asked to stop."""


class Hub:
    """The live texts of this process and the waiting viewers and runners, of one event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._texts: dict[int, LiveText] = {}
        self._watchers: defaultdict[int, set[asyncio.Event]] = defaultdict(set)
        self._runners: set[RunnerNews] = set()
        self.copies_wanted = asyncio.Event()
        """Set when the copies may be behind: somebody has begun to watch one, or something changed."""
        self.pace = Pace()
        doorbell.listen(self._heard)

    def close(self) -> None:
        doorbell.stop_listening(self._heard)

    def _heard(self, conversation_id: int, news: News) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.ring, conversation_id, news)

    def ring(self, conversation_id: int, news: News = News.ANY) -> None:
        """Wake the runner where it has to act, first since an answer waits for it, and who waits for this conversation."""
        for runner in self._runners:
            if news in {News.TURN, News.ANY}:
                runner.turns.set()
            if news in {News.STOP, News.ANY}:
                runner.stops.set()
        for event in self._watchers.get(conversation_id, ()):
            event.set()
        self.copies_wanted.set()

    @contextmanager
    def watching(self, conversation_id: int) -> Iterator[asyncio.Event]:
        """Give an event that is set when the conversation changed."""
        event = asyncio.Event()
        self._watchers[conversation_id].add(event)
        try:
            yield event
        finally:
            self._watchers[conversation_id].discard(event)
            if not self._watchers[conversation_id]:
                del self._watchers[conversation_id]

    def add_runner(self) -> RunnerNews:
        """Return what is set when something changed that a runner may have to act on."""
        news = RunnerNews()
        self._runners.add(news)
        return news

    def remove_runner(self, news: RunnerNews) -> None:
        self._runners.discard(news)

    def text_of(self, generation_id: int) -> LiveText:
        """Return the live text of a generation, empty where nothing is known of it yet."""
        return self._texts.setdefault(generation_id, LiveText(generation_id))

    def find(self, generation_id: int) -> LiveText | None:
        return self._texts.get(generation_id)

    def forget(self, generation_id: int) -> None:
        """Drop the text of a generation that ended."""
        self._texts.pop(generation_id, None)

    def leave(self, live: LiveText) -> None:
        """Drop a copy that nobody here watches any more: it would grow for nobody, and its end would not be noticed."""
        if not live.is_written_here and not live.is_watched and self.find(live.generation_id) is live:
            self.forget(live.generation_id)

    def written_here(self) -> list[LiveText]:
        """Return the texts that the runner of this process writes."""
        return [text for text in self._texts.values() if text.is_written_here]

    def copies(self) -> list[LiveText]:
        """Return the texts that are watched here and written elsewhere, or not begun."""
        return [text for text in self._texts.values() if not text.is_written_here and text.is_watched]


_hub: Hub | None = None


def current_hub() -> Hub:
    """Return the hub of the running event loop, made at the first call."""
    global _hub
    loop = asyncio.get_running_loop()
    if _hub is None or _hub._loop is not loop:
        if _hub is not None:
            _hub.close()
        _hub = Hub()
    return _hub
