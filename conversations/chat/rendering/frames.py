"""Turn the events of a conversation into frames without blocking the event loop."""

import asyncio
import contextvars
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from conversations.chat.generation import feed
from conversations.chat.generation.transcript import Entry
from conversations.chat.rendering import fragments
from conversations.common.rendering import highlighting, markdown

# Python renders in one thread at a time. The other threads are for renderings that wait for code to be highlighted.
_threads = ThreadPoolExecutor(max_workers=3, thread_name_prefix="rendering")


class FrameWriter:
    """Turns the events of one page's conversation into frames, in order."""

    def __init__(self) -> None:
        self.seconds = 0.0
        """How long the last frame occupied the event loop, or a thread's CPU."""
        self._writer: fragments.AnswerWriter | None = None
        highlighting.warm_up()

    async def frame(self, event: feed.Event) -> str:
        """Return the frame for an event, empty if it shows nothing. Slow events are rendered in a thread."""
        if self._is_quick(event):
            return self._measured(event, time.perf_counter)
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(
            _threads, context.run, self._measured, event, time.thread_time
        )

    def _is_quick(self, event: feed.Event) -> bool:
        match event:
            case feed.Added(entries) | feed.StaffEdited(entries):
                return _are_quick(entries)
            case feed.Replaced(entry):
                return _are_quick([entry])
            case feed.Grown(text):
                return self._writer is None or self._writer.is_quick(text)
            case feed.Ended(entry):
                return self._writer is None or self._writer.is_quick_to_end(entry)
        return True

    def _measured(self, event: feed.Event, clock: Callable[[], float]) -> str:
        begun = clock()
        frame = self._render(event)
        self.seconds = clock() - begun
        return frame

    def _render(self, event: feed.Event) -> str:
        frame = ""
        match event:
            case feed.Added(entries):
                frame, self._writer = fragments.added(entries)
            case feed.Replaced(entry):
                frame, self._writer = fragments.replaced(entry)
            case feed.StaffEdited(entries, revision):
                frame = fragments.staff_edited(entries, revision=revision)
            case feed.Resumed(entry, offset):
                self._writer = fragments.AnswerWriter(entry, offset=offset)
                frame = self._writer.resume()
            case feed.Grown(text) if self._writer is not None:
                frame = self._writer.grow(text)
            case feed.Reasoned(text, so_far_ms) if self._writer is not None:
                frame = self._writer.reason(text, so_far_ms=so_far_ms)
            case feed.Ended(entry) if self._writer is not None:
                frame, self._writer = self._writer.end(entry), None
            case feed.Gone():
                frame = fragments.gone()
        return frame


def _are_quick(entries: Sequence[Entry]) -> bool:
    return len(entries) <= 2 and markdown.is_quick("\n".join(entry.text for entry in entries))
