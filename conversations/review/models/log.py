"""The append-only log of everything that happens to review cases."""

from typing import Any, NoReturn

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from .reports import Report, ReviewCase


class AppendOnly(Exception):
    """Raised on an attempt to change or delete an entry of the append-only log."""


class ReviewEventQuerySet(models.QuerySet["ReviewEvent"]):
    """Queries on the log. Updating and deleting raise AppendOnly."""

    def update(self, **kwargs: Any) -> NoReturn:
        raise AppendOnly

    def delete(self) -> NoReturn:
        raise AppendOnly


class ReviewEvent(models.Model):
    """An entry in the review log: who did what, when and why.

    Each event's digest covers its own fields and the digest of the previous event. Only review.services.review_log
    writes events; it also verifies the chain.
    """

    class Kind(models.TextChoices):
        FILED = "filed", _("reported")
        UPDATED = "updated", _("report updated")
        REOPENED = "reopened", _("reopened")
        CLAIMED = "claimed", _("claimed")
        RELEASED = "released", _("released")
        ASSIGNED = "assigned", _("assigned")
        ESCALATED = "escalated", _("escalated")
        NOTED = "noted", _("internal note")
        ASKED = "asked", _("information requested")
        ANSWERED = "answered", _("information provided")
        DECIDED = "decided", _("decided")
        APPEALED = "appealed", _("appealed")
        RERUN = "rerun", _("prompt rerun")
        REVEALED = "revealed", _("reporter revealed")
        OPENED = "opened", _("conversation opened")
        TRACED = "traced", _("pseudonymous user ID looked up")
        EXPORTED = "exported", _("exported")

    class Outcome(models.TextChoices):
        NONE = "", _("none")
        UPHELD = "upheld", _("upheld")
        DISMISSED = "dismissed", _("dismissed")

    sequence = models.PositiveBigIntegerField(_("number"), unique=True)
    case = models.ForeignKey(
        ReviewCase,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="events",
        verbose_name=_("review case"),
    )
    report = models.ForeignKey(
        Report, models.PROTECT, null=True, blank=True, related_name="events", verbose_name=_("report")
    )
    kind = models.CharField(_("kind"), max_length=16, choices=Kind)
    # The account may be deleted, so the two fields below keep its identity. The digest covers them.
    actor = models.ForeignKey(
        "accounts.User", models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("by")
    )
    actor_uuid = models.UUIDField(_("public ID of the actor"), null=True, blank=True)
    actor_name = models.CharField(_("name of the actor"), max_length=150, blank=True)
    outcome = models.CharField(_("outcome"), max_length=16, choices=Outcome, blank=True)
    is_overturn = models.BooleanField(
        _("overturns"), default=False, help_text=_("Whether it reverses the previous decision.")
    )
    text = models.TextField(_("reason or note"), blank=True)
    details = models.JSONField(_("details"), default=dict, blank=True)
    at = models.DateTimeField(_("time"))
    previous_digest = models.CharField(_("previous digest"), max_length=64)
    digest = models.CharField(_("digest"), max_length=64, unique=True)

    objects = ReviewEventQuerySet.as_manager()

    class Meta:
        verbose_name = _("review event")
        verbose_name_plural = _("review events")
        indexes = [
            models.Index(fields=["kind", "at"], name="reviewevent_kind_at"),
        ]
        constraints = [
            models.CheckConstraint(
                name="reviewevent_outcome_exactly_when_decided",
                condition=Q(kind="decided", outcome__in=["upheld", "dismissed"])
                | (~Q(kind="decided") & Q(outcome="")),
            ),
            models.CheckConstraint(
                name="reviewevent_decision_has_a_reason", condition=~Q(kind="decided") | ~Q(text="")
            ),
        ]

    def __str__(self) -> str:
        return str(self.sequence)

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnly
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnly


class ReviewLogHead(models.Model):
    """The end of the log. Locking its only row puts the events in a single order."""

    sequence = models.PositiveBigIntegerField(_("number"), default=0)
    digest = models.CharField(_("digest"), max_length=64, blank=True)

    class Meta:
        verbose_name = _("end of the review log")
        verbose_name_plural = _("end of the review log")
        constraints = [models.CheckConstraint(name="reviewloghead_is_one", condition=Q(pk=1))]

    def __str__(self) -> str:
        return str(self.sequence)
