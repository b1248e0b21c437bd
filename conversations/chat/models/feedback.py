"""Users' ratings of single answers."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from .conversations import Message


class Feedback(models.Model):
    """A user's thumbs up or thumbs down for an answer. It is counted but opens no case."""

    MOVES_TO_ACCOUNT = ("user",)
    """The fields that pass to the new account when a guest signs up."""

    class Rating(models.IntegerChoices):
        UP = 1, _("good")
        DOWN = -1, _("bad")

    class Reason(models.TextChoices):
        NONE = "", _("no reason given")
        CORRECT = "correct", _("correct")
        CLEAR = "clear", _("easy to understand")
        COMPLETE = "complete", pgettext_lazy("of an answer", "complete")
        WRONG = "wrong", _("wrong")
        UNCLEAR = "unclear", _("hard to understand")
        MISSED = "missed", _("not what I asked")
        LENGTH = "length", _("too long or too short")

    REASONS = {
        Rating.UP: (Reason.CORRECT, Reason.CLEAR, Reason.COMPLETE),
        Rating.DOWN: (Reason.WRONG, Reason.UNCLEAR, Reason.MISSED, Reason.LENGTH),
    }

    message = models.ForeignKey(Message, models.CASCADE, related_name="feedback", verbose_name=_("message"))
    user = models.ForeignKey("accounts.User", models.CASCADE, related_name="feedback", verbose_name=_("user"))
    rating = models.SmallIntegerField(_("rating"), choices=Rating)
    reason = models.CharField(_("reason"), max_length=16, choices=Reason, blank=True)
    created_at = models.DateTimeField(_("created at"))
    updated_at = models.DateTimeField(_("updated at"))

    class Meta:
        verbose_name = _("feedback")
        verbose_name_plural = _("feedback")
        indexes = [models.Index(fields=["created_at"], name="feedback_created")]
        constraints = [
            models.UniqueConstraint(name="feedback_one_per_person", fields=["message", "user"]),
            models.CheckConstraint(name="feedback_rating", condition=Q(rating__in=[1, -1])),
        ]

    def __str__(self) -> str:
        return f"{self.rating:+d}"

    @property
    def reasons(self) -> tuple["Feedback.Reason", ...]:
        """The reasons that a user can choose for this rating."""
        return self.REASONS[self.Rating(self.rating)]
