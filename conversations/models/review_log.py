"""The append-only log of all that happens to review cases."""

from typing import Any, NoReturn

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from .reports import Report, ReviewCase
from .users import User


class AppendOnly(Exception):
    """Something tried to change or delete what is only ever added to."""


class ReviewEventQuerySet(models.QuerySet["ReviewEvent"]):
    """The look-ups of the log, which can be added to and nothing else."""

    def update(self, **kwargs: Any) -> NoReturn:
        raise AppendOnly

    def delete(self) -> NoReturn:
        raise AppendOnly


class ReviewEvent(models.Model):
    """One thing that happened to a case: who did what, when and why. Each carries a digest over itself and the one before.

    Written by operations.review_log alone, which also verifies the chain.
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
        ANSWERED = "answered", _("information given")
        DECIDED = "decided", _("decided")
        APPEALED = "appealed", _("appealed")
        RERUN = "rerun", _("prompt run again")
        REVEALED = "revealed", _("reporter revealed")
        OPENED = "opened", _("conversation opened")
        TRACED = "traced", _("end-user id looked up")
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
    # The account may be deleted; who it was stays in the two fields below, which the digest covers.
    actor = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("by")
    )
    actor_uuid = models.UUIDField(_("public id of who did it"), null=True, blank=True)
    actor_name = models.CharField(_("name of who did it"), max_length=150, blank=True)
    outcome = models.CharField(_("outcome"), max_length=16, choices=Outcome, blank=True)
    is_overturn = models.BooleanField(
        _("overturns"), default=False, help_text=_("Whether it is the opposite of the decision before.")
    )
    text = models.TextField(_("reason or note"), blank=True)
    details = models.JSONField(_("details"), default=dict, blank=True)
    at = models.DateTimeField(_("at"))
    previous_digest = models.CharField(_("digest before"), max_length=64)
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
    """Where the log ends: one row, locked while an event is added, so that events stand in one line."""

    sequence = models.PositiveBigIntegerField(_("number"), default=0)
    digest = models.CharField(_("digest"), max_length=64, blank=True)

    class Meta:
        verbose_name = _("end of the review log")
        verbose_name_plural = _("end of the review log")
        constraints = [models.CheckConstraint(name="reviewloghead_is_one", condition=Q(pk=1))]

    def __str__(self) -> str:
        return str(self.sequence)
