"""Rules about the status of a generation."""

import datetime as dt
import math

from .models import ErrorCode, Generation


def can_continue(generation: Generation) -> bool:
    """Return whether a generation ended before the model had finished, so that the user may continue it.

    A conversation that is too long for its model stays too long.
    """
    if generation.error_code == ErrorCode.CONTEXT_LENGTH:
        return False
    if generation.status in {
        Generation.Status.STOPPED,
        Generation.Status.INTERRUPTED,
        Generation.Status.FAILED,
    }:
        return True
    return generation.status == Generation.Status.COMPLETE and generation.finish_reason == "length"


def seconds_until_retry(generation: Generation, *, now: dt.datetime) -> int:
    """Return how many seconds the model service still wants to be left alone, or 0."""
    if generation.retry_at is None:
        return 0
    return max(0, math.ceil((generation.retry_at - now).total_seconds()))
