"""Keep the log readable while the same error repeats."""

import logging
import threading
import time

from conversations.common.outages import is_database_outage

WINDOW_SECONDS = 10.0
MAX_KINDS = 1_000


class CollapseRepeats(logging.Filter):
    """Pass each kind of warning once every ten seconds, and add to the next one how many were left out.

    Lines with the same text are one kind. So are all lines from one log call about the same outage of the database or
    Redis, in which the first line of the error replaces the traceback.
    """

    def __init__(self, name: str = "") -> None:
        super().__init__(name)
        self._lock = threading.Lock()
        self._kinds: dict[tuple[object, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        error = record.exc_info[1] if record.exc_info else None
        reason = _outage(error) if error is not None else ""
        text = record.msg if reason else record.getMessage()
        left_out = self._count((record.name, record.levelno, text, reason, type(error)), now=time.monotonic())
        if left_out is None:
            return False
        if reason or left_out:
            _rewrite(record, reason, left_out)
        return True

    def _count(self, kind: tuple[object, ...], *, now: float) -> int | None:
        """Return how many lines of this kind were left out before, or None if this one is left out too."""
        with self._lock:
            ends_at, left_out = self._kinds.get(kind, (0.0, 0))
            if now < ends_at:
                self._kinds[kind] = (ends_at, left_out + 1)
                return None
            if len(self._kinds) >= MAX_KINDS:
                self._kinds = {key: value for key, value in self._kinds.items() if now < value[0]}
            self._kinds[kind] = (now + WINDOW_SECONDS, 0)
            return left_out


def _outage(error: BaseException) -> str:
    """Return the outage behind the error in one line, or an empty text if there is none."""
    is_redis = type(error).__module__.partition(".")[0] == "redis"
    if not (is_redis or is_database_outage(error)):
        return ""
    [first_line, *_] = str(error).splitlines() or [""]
    return f"{type(error).__qualname__}: {first_line}"


def _rewrite(record: logging.LogRecord, reason: str, left_out: int) -> None:
    text = record.getMessage()
    if reason:
        text += f" ({reason})"
        record.exc_info = record.exc_text = None
    if left_out:
        text += f" ({left_out:,} more since the last such line)"
    record.msg, record.args = text, None
