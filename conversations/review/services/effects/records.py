"""Effects that add to the blocklist or the evaluation set."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from conversations.accounts.models import User
from conversations.common.refusals import Refused
from conversations.review.models import BlocklistEntry, ReviewCase
from conversations.review.models.records import BLOCKLIST_TEXT_LENGTH

from .base import UPHELD, ChosenEffect


@dataclass(frozen=True, slots=True)
class AddToBlocklist(ChosenEffect):
    """Add a phrase to the blocklist. An existing entry is left unchanged."""

    text: str

    outcomes = frozenset({UPHELD})
    fields: ClassVar[Mapping[str, forms.Field]] = {
        "blocklist_text": forms.CharField(
            label=gettext_lazy("Phrase for the blocklist"),
            required=False,
            max_length=BLOCKLIST_TEXT_LENGTH,
        ),
    }
    labels = {"blocklist": gettext_lazy("Blocklist")}

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self | None:
        text = given.get("blocklist_text", "").strip()
        return cls(text) if text else None

    def check(self, case: ReviewCase, *, staff: User) -> None:
        if len(self.text) > BLOCKLIST_TEXT_LENGTH:
            raise Refused(_("This phrase is too long for the blocklist."))

    def preview(self, case: ReviewCase) -> str:
        return _("The phrase “%(text)s” will be added to the blocklist.") % {"text": self.text}

    def apply(self, case: ReviewCase, *, staff: User, now: dt.datetime) -> None:
        BlocklistEntry.objects.get_or_create(
            text=self.text, defaults={"case": case, "added_by": staff, "created_at": now}
        )

    def log(self) -> dict[str, object]:
        return {"blocklist": self.text}
