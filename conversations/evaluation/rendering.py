"""What the page of a case shows of a prompt that was run again."""

from dataclasses import dataclass

from conversations.chat.generation import transcript
from conversations.common.rendering.markdown import render_markdown
from conversations.review.models import ReviewCase

from .models import Rerun


@dataclass(frozen=True, slots=True)
class RerunResult:
    """A prompt that was run again, as far as it has come."""

    rerun: Rerun
    model: str
    status: str
    problem: str
    html: str
    is_open: bool


def newest_rerun(case: ReviewCase) -> RerunResult | None:
    """Return the newest answer to the prompt that was run again."""
    rerun = case.reruns.select_related("conversation", "requested_by").order_by("-pk").first()
    return rerun_result(rerun) if rerun else None


def rerun_result(rerun: Rerun) -> RerunResult:
    """Return how far a rerun has come."""
    tip = rerun.conversation.head_id
    [entry] = transcript.read_entries([tip]) if tip else [None]
    generation = entry.generation if entry else None
    return RerunResult(
        rerun=rerun,
        model=generation.model.label if generation else "",
        status=str(generation.get_status_display()) if generation else "",
        problem=str(generation.get_error_code_display()) if generation and generation.error_code else "",
        html=render_markdown(entry.text) if entry else "",
        is_open=bool(entry and entry.is_open),
    )
