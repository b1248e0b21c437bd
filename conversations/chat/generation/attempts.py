"""Log a repeated failure once when it begins, and once when it is over."""

import logging
from types import TracebackType


class Attempts:
    """Run an operation that is retried after it fails: `with attempts: …` swallows exceptions of the given kinds.

    Only the first failure in a row is logged, and the first success after it. `what` is the sentence for the log. The
    log names only the type of the exception, because its message may quote a conversation.
    """

    def __init__(
        self, what: str, *, logger: logging.Logger, kinds: tuple[type[Exception], ...] = (Exception,)
    ) -> None:
        self.is_failing = False
        """Whether the last attempt failed."""
        self._what = what
        self._logger = logger
        self._kinds = kinds

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if error is not None and not isinstance(error, self._kinds):
            return False
        has_failed = error is not None
        if has_failed and not self.is_failing:
            self._logger.error("%s (%s); retrying.", self._what, type(error).__qualname__)
        elif self.is_failing and not has_failed:
            self._logger.warning("%s; recovered.", self._what)
        self.is_failing = has_failed
        return has_failed
