"""The base classes of all effects."""

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from django import forms
from django.utils.functional import Promise

from conversations.accounts.models import User
from conversations.review.models import ReviewCase, ReviewEvent

UPHELD = ReviewEvent.Outcome.UPHELD
DISMISSED = ReviewEvent.Outcome.DISMISSED


class Effect(ABC):
    """Something that a decision does in addition to giving verdicts."""

    outcomes: ClassVar[frozenset[str]]
    """The outcomes that allow this effect."""

    @abstractmethod
    def preview(self, case: ReviewCase) -> str:
        """Return one sentence on what the effect would do, or an empty string if it would do nothing."""

    @abstractmethod
    def apply(self, case: ReviewCase, *, staff: User, now: dt.datetime) -> None:
        """Apply the effect to a locked case, within the transaction of the decision."""


class ChosenEffect(Effect):
    """An effect that staff choose, with its form fields and the values entered in them."""

    permission: ClassVar[str] = ""
    """The codename of a permission in this app, needed in addition to the permission to decide."""
    fields: ClassVar[Mapping[str, forms.Field]]
    """The effect's fields in the decision form, by name."""
    switch: ClassVar[str] = ""
    """The name of the checkbox field that turns on the effect. The page hides the other fields while it is off."""
    labels: ClassVar[Mapping[str, Promise]]
    """The labels of the effect's entries in the log, in display order."""

    @classmethod
    @abstractmethod
    def read(cls, given: Mapping[str, Any]) -> Self | None:
        """Return the effect with the cleaned values of a form, or None if it wasn't chosen."""

    @classmethod
    def is_offered(cls, case: ReviewCase, *, staff: User) -> bool:
        """Return whether the page of this case offers the effect to this member of staff."""
        return not cls.permission or staff.has_perm(f"review.{cls.permission}")

    @abstractmethod
    def check(self, case: ReviewCase, *, staff: User) -> None:
        """Raise Refused if the effect can't be applied to this case."""

    @abstractmethod
    def log(self) -> dict[str, object]:
        """Return the effect's details for the log. Empty values are left out."""
