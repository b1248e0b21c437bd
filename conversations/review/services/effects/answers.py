"""Effects of a decision on the answer."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from conversations.accounts.models import User
from conversations.chat.generation import ending
from conversations.chat.models import Generation
from conversations.common.refusals import Refused
from conversations.review.models import ReviewCase
from conversations.review.services import cases

from .base import DISMISSED, UPHELD, ChosenEffect, Effect
from .fields import text_field

VETTED_LENGTH = 50_000


@dataclass(frozen=True, slots=True)
class HideAnswer(ChosenEffect):
    """Hide the answer or replace it with a vetted text, and stop any generation that is writing it."""

    vetted_text: str = ""

    outcomes = frozenset({UPHELD})
    fields: ClassVar[Mapping[str, forms.Field]] = {
        "hides_answer": forms.BooleanField(label=gettext_lazy("Hide the answer"), required=False),
        "vetted_text": text_field(
            gettext_lazy("Replace it with a vetted text (Markdown)"),
            required=False,
            max_length=VETTED_LENGTH,
        ),
    }
    labels = {
        "hidden": gettext_lazy("Answer hidden"),
        "vetted_text": gettext_lazy("Vetted text"),
    }

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self | None:
        vetted_text = given.get("vetted_text", "").strip()
        return cls(vetted_text) if given.get("hides_answer") or vetted_text else None

    @classmethod
    def is_offered(cls, case: ReviewCase, *, staff: User) -> bool:
        return case.message is not None

    @staticmethod
    def is_in(details: Mapping[str, Any]) -> bool:
        """Return whether a decision with these details in the log hid the answer."""
        return bool(details.get("hidden"))

    def check(self, case: ReviewCase, *, staff: User) -> None:
        if case.message is None:
            raise Refused(_("The answer has been deleted, so it can't be hidden or replaced."))

    def preview(self, case: ReviewCase) -> str:
        if self.vetted_text:
            return _(
                "The user will see the vetted text instead of the answer. Open pages update immediately."
            )
        return _("The user will see a notice instead of the answer. Open pages update immediately.")

    def apply(self, case: ReviewCase, *, staff: User, now: dt.datetime) -> None:
        message = case.message
        if message is None:
            return
        message.hidden_at, message.vetted_text = message.hidden_at or now, self.vetted_text
        cases.bump_revision(message)
        ending.stop(Generation.objects.filter(message=message), now=now)

    def log(self) -> dict[str, object]:
        return {"hidden": True, "vetted_text": self.vetted_text}


class ShowAnswerAgain(Effect):
    """Show a hidden answer again."""

    outcomes = frozenset({DISMISSED})

    def preview(self, case: ReviewCase) -> str:
        if case.message is None or not case.message.is_hidden:
            return ""
        return _("The hidden answer will be shown again.")

    def apply(self, case: ReviewCase, *, staff: User, now: dt.datetime) -> None:
        message = case.message
        if message is not None and message.is_hidden:
            message.hidden_at, message.vetted_text = None, ""
            cases.bump_revision(message)
