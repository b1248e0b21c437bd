"""Export queries for the evaluation set."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet

from conversations.review.services.exports import _AT_ONCE

from .models import EvaluationItem


def evaluation_items(items: QuerySet[EvaluationItem]) -> Iterator[dict[str, Any]]:
    """Yield evaluation items in their export format, oldest first. The export leaves out who added them."""
    last = 0
    of_file = items.select_related("case").order_by("pk")
    while found := list(of_file.filter(pk__gt=last)[:_AT_ONCE]):
        last = found[-1].pk
        for item in found:
            yield {
                "id": str(item.uuid),
                "case": str(item.case.uuid),
                "category": item.category,
                "messages": item.messages,
                "answer": item.answer,
                "reasoning": item.reasoning,
                "vetted_answer": item.vetted_answer,
                "note": item.note,
                "created_at": item.created_at.astimezone(dt.UTC).isoformat(timespec="seconds"),
            }
