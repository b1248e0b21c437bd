"""Rules about the status of a generation."""

from .models import Generation


def can_continue(generation: Generation) -> bool:
    """Return whether a generation ended before the model had finished, so that the user may continue it."""
    if generation.status in {
        Generation.Status.STOPPED,
        Generation.Status.INTERRUPTED,
        Generation.Status.FAILED,
    }:
        return True
    return generation.status == Generation.Status.COMPLETE and generation.finish_reason == "length"
