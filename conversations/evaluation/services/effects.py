"""What a decision of the review may add to the evaluation set."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from conversations.accounts.models import User
from conversations.evaluation.models import EvaluationItem
from conversations.review.models import ReviewCase
from conversations.review.services.effects.base import DISMISSED, UPHELD, ChosenEffect


@dataclass(frozen=True, slots=True)
class AddToEvaluationSet(ChosenEffect):
    """Add the prompt and answer from the newest snapshot to the evaluation set, once per case."""

    vetted_answer: str = ""
    note: str = ""

    outcomes = frozenset({UPHELD, DISMISSED})
    fields: ClassVar[Mapping[str, forms.Field]] = {
        "adds_to_evaluation": forms.BooleanField(
            label=gettext_lazy("Add the prompt and answer to the evaluation set"), required=False
        ),
    }
    labels = {"evaluation_set": gettext_lazy("Added to the evaluation set")}

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self | None:
        if not given.get("adds_to_evaluation"):
            return None
        return cls(given.get("vetted_text", "").strip(), given.get("reason", "").strip())

    @classmethod
    def is_offered(cls, case: ReviewCase, *, staff: User) -> bool:
        return case.message is not None or case.snapshots.filter(content__kind="answer").exists()

    def check(self, case: ReviewCase, *, staff: User) -> None:
        """Accept any case. `apply` skips those without a prompt."""

    def preview(self, case: ReviewCase) -> str:
        return _("The prompt and answer will be added to the evaluation set.")

    def apply(self, case: ReviewCase, *, staff: User, now: dt.datetime) -> None:
        snapshot = case.snapshots.order_by("-pk").first()
        messages = snapshot.content.get("messages", []) if snapshot else []
        if case.evaluation_items.exists() or not messages:
            return
        position = next((i for i, message in enumerate(messages) if message["is_reported"]), len(messages))
        EvaluationItem.objects.create(
            case=case,
            category=case.category,
            messages=[{"role": message["role"], "text": message["text"]} for message in messages[:position]],
            answer=messages[position]["text"] if position < len(messages) else "",
            reasoning=messages[position].get("reasoning", "") if position < len(messages) else "",
            vetted_answer=self.vetted_answer,
            note=self.note,
            added_by=staff,
            created_at=now,
        )

    def log(self) -> dict[str, object]:
        return {"evaluation_set": True}
