"""The text that is being generated, as far as this process knows it, and notifications for viewers and runners.

Everything here belongs to one event loop. The journal in the database is authoritative: a live text that has gaps or is
out of date is filled from there.
"""

import asyncio
import bisect
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from . import changes
from .changes import Change
from .pace import Pace
from .transcript import Step


class GrowingText:
    """A text that grows at its end. Calls `on_growth` each time it has grown."""

    def __init__(self, on_growth: Callable[[], None]) -> None:
        self.length = 0
        """The number of characters known."""
        self.journaled = 0
        """For a copy: how far it was read from the journal. Always the end of a chunk."""
        self._on_growth = on_growth
        self._pieces: list[str] = []
        self._starts: list[int] = []
        # Text that arrived beyond a gap: one contiguous piece, starting at this offset.
        self._ahead: list[str] = []
        self._ahead_start = self._ahead_end = 0

    def append(self, text: str) -> None:
        """Add text at the end."""
        if not text:
            return
        # A string takes 50 bytes beside its characters, so short pieces are joined.
        if self._pieces and len(self._pieces[-1]) < 1_000:
            self._pieces[-1] += text
        else:
            self._starts.append(self.length)
            self._pieces.append(text)
        self.length += len(text)
        self._on_growth()

    def put(self, offset: int, text: str) -> None:
        """Add text that starts at `offset`, skipping the part that is known already.

        Text beyond a gap is kept until the gap is filled. Otherwise a copy, which is filled only up to the last commit,
        would never catch up with the broadcast. If the text beyond has a gap too, only the later part is kept.
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

    def since(self, offset: int) -> str:
        """Return the text from this offset on."""
        if offset >= self.length:
            return ""
        first = bisect.bisect_right(self._starts, offset) - 1
        if first == len(self._pieces) - 1:
            return self._pieces[first][offset - self._starts[first] :]
        joined = "".join(self._pieces[first:])
        return joined[offset - self._starts[first] :]


class LiveText(GrowingText):
    """The text and reasoning of a message while it is being written, and the viewers waiting for more."""

    def __init__(self, generation_id: int) -> None:
        super().__init__(self._wake)
        self.generation_id = generation_id
        self.reasoning = GrowingText(self._wake)
        """The model's reasoning; see `PartKind.REASONING`."""
        self.reasoning_ms = 0
        """How long the model has reasoned so far."""
        self.has_ended = False
        self.is_written_here = False
        """Whether this process's runner writes it. If not, it is a copy that may be out of date."""
        self._waiting: set[asyncio.Event] = set()

    def put_reasoning(self, offset: int, text: str, *, so_far_ms: int) -> None:
        """Add reasoning as `put` adds text. `so_far_ms` is the total time the model has reasoned."""
        self.reasoning_ms = max(self.reasoning_ms, so_far_ms)
        self.reasoning.put(offset, text)

    def end(self) -> None:
        """Mark the text as complete. The message in the database now holds all of it."""
        self.has_ended = True
        self._wake()

    @contextmanager
    def watched(self) -> Iterator[asyncio.Event]:
        """Yield an event that is set whenever text is added or the text ends."""
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


@dataclass(frozen=True, slots=True, eq=False)
class RunnerEvents:
    """The events that wake a runner."""

    turns: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a generation may have been queued."""
    stops: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a running generation may have been asked to stop."""


class Watch:
    """What a viewer of a conversation has heard and not yet handled."""

    def __init__(self) -> None:
        self.heard = asyncio.Event()
        """Set when anything was heard."""
        self.is_stale = True
        """Whether the viewer must look at the database, because something changed that no step describes."""
        self._steps: deque[Step] = deque()

    def hear(self, step: Step | None) -> None:
        """Note a change of the conversation."""
        if step is None:
            self.is_stale = True
        else:
            self._steps.append(step)
        self.heard.set()

    def next_step(self) -> Step | None:
        """Return the next step, or None if there is none or the viewer must look at the database."""
        if self.is_stale or not self._steps:
            return None
        step = self._steps.popleft()
        if not self._steps:
            self.heard.clear()
        return step

    def clear(self) -> None:
        """Forget everything heard, before a look at the database, which shows it all."""
        self.is_stale = False
        self._steps.clear()
        self.heard.clear()


class Hub:
    """The live texts of this process, and the viewers and runners that wait for changes. Belongs to one event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._texts: dict[int, LiveText] = {}
        self._watchers: defaultdict[int, set[Watch]] = defaultdict(set)
        self._runners: set[RunnerEvents] = set()
        self.copies_wanted = asyncio.Event()
        """Set when the copies may be out of date: a viewer has started to follow one, or something changed."""
        self.pace = Pace()
        changes.listen(self._heard)

    def close(self) -> None:
        changes.stop_listening(self._heard)

    def _heard(self, conversation_id: int, change: Change, step: Step | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.announce, conversation_id, change, step)

    def announce(self, conversation_id: int, change: Change = Change.ANY, step: Step | None = None) -> None:
        """Wake the runners this concerns, then the viewers. Runners come first because answers depend on them."""
        for runner in self._runners:
            if change in {Change.QUEUED, Change.ANY}:
                runner.turns.set()
            if change in {Change.STOP, Change.ANY}:
                runner.stops.set()
        for watch in self._watchers.get(conversation_id, ()):
            watch.hear(step)
        self.copies_wanted.set()

    @contextmanager
    def watching(self, conversation_id: int) -> Iterator[Watch]:
        """Yield what a viewer hears of the conversation from now on. It begins stale."""
        watch = Watch()
        self._watchers[conversation_id].add(watch)
        try:
            yield watch
        finally:
            self._watchers[conversation_id].discard(watch)
            if not self._watchers[conversation_id]:
                del self._watchers[conversation_id]

    def add_runner(self) -> RunnerEvents:
        """Register a runner and return the events that wake it."""
        events = RunnerEvents()
        self._runners.add(events)
        return events

    def remove_runner(self, events: RunnerEvents) -> None:
        self._runners.discard(events)

    def text_of(self, generation_id: int) -> LiveText:
        """Return the live text of a generation, empty if nothing is known of it yet."""
        return self._texts.setdefault(generation_id, LiveText(generation_id))

    def find(self, generation_id: int) -> LiveText | None:
        return self._texts.get(generation_id)

    def forget(self, generation_id: int) -> None:
        """Remove the text of a generation that has ended."""
        self._texts.pop(generation_id, None)

    def leave(self, live: LiveText) -> None:
        """Remove a copy that no viewer here follows any more, because nothing would update or end it."""
        if not live.is_written_here and not live.is_watched and self.find(live.generation_id) is live:
            self.forget(live.generation_id)

    def written_here(self) -> list[LiveText]:
        """Return the texts that this process's runner writes."""
        return [text for text in self._texts.values() if text.is_written_here]

    def copies(self) -> list[LiveText]:
        """Return the texts that viewers here follow and this process doesn't write."""
        return [text for text in self._texts.values() if not text.is_written_here and text.is_watched]


_hub: Hub | None = None


def current_hub() -> Hub:
    """Return the hub of the running event loop, creating it on the first call."""
    global _hub
    loop = asyncio.get_running_loop()
    if _hub is None or _hub._loop is not loop:
        if _hub is not None:
            _hub.close()
        _hub = Hub()
    return _hub
