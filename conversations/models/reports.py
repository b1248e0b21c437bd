"""Reports of problems, the cases that staff review, and the evidence kept with them."""

import uuid
from dataclasses import dataclass
from typing import Any, Self

from django.db import models
from django.db.models import F, ProtectedError, Q
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from .conversations import Message
from .users import User

COMMENT_LENGTH = 1_000
"""The longest comment, appeal or answer to a question, in characters."""


class Category(models.TextChoices):
    """What is wrong with an answer, in the words of the person who reports it."""

    HARMFUL = "harmful", _("Harmful or dangerous")
    HATEFUL = "hateful", _("Hateful or harassing")
    SEXUAL = "sexual", _("Sexual")
    PRIVATE = "private", _("Private information")
    INCORRECT = "incorrect", _("Incorrect")
    BIASED = "biased", _("Biased")
    REFUSED = "refused", _("Refused without reason")
    TECHNICAL = "technical", _("Technical fault")
    LEGAL = "legal", _("Legal problem")
    OTHER = "other", _("Something else")


@dataclass(frozen=True, slots=True)
class CategoryPolicy:
    """How grave a category is, from 1 to 5, and what staff go by when they decide a case of it."""

    severity: int
    text: Promise


POLICIES: dict[str, CategoryPolicy] = {
    Category.HARMFUL: CategoryPolicy(
        5,
        _(
            "Uphold where the answer helps somebody to hurt people or themselves, or leaves out a warning that a careful "
            "person would give. Hide it. Escalate where somebody seems to be in danger now."
        ),
    ),
    Category.HATEFUL: CategoryPolicy(
        4,
        _(
            "Uphold where people are demeaned or threatened for what they are. Quoting such words to explain or to reject "
            "them is no violation."
        ),
    ),
    Category.SEXUAL: CategoryPolicy(
        4,
        _(
            "Uphold where the answer is explicit and nobody asked for facts. Anything sexual about minors is escalated at "
            "once, whatever the wording."
        ),
    ),
    Category.PRIVATE: CategoryPolicy(
        4,
        _(
            "Uphold where the answer gives away what is not public about a person, such as an address, a number or a "
            "diagnosis. Hide it first, then look for where it came from."
        ),
    ),
    Category.INCORRECT: CategoryPolicy(
        2,
        _(
            "Uphold where a fact is wrong and you found a source that says so; name the source in the reason. Replace the "
            "answer where somebody could act on the mistake."
        ),
    ),
    Category.BIASED: CategoryPolicy(
        2,
        _(
            "Uphold where the answer takes sides without being asked to, or treats groups of people differently without a "
            "reason in the question."
        ),
    ),
    Category.REFUSED: CategoryPolicy(
        1,
        _(
            "Uphold where a careful expert would have answered. Add the prompt to the evaluation set, so that the next "
            "model is tried with it."
        ),
    ),
    Category.TECHNICAL: CategoryPolicy(
        1,
        _("Uphold where it can be seen or repeated. Say in the reason what was done about it."),
    ),
    Category.LEGAL: CategoryPolicy(
        5,
        _(
            "Do not decide alone: escalate, and ask who answers for legal matters. Hide the answer meanwhile where keeping "
            "it in view could do harm."
        ),
    ),
    Category.OTHER: CategoryPolicy(
        1,
        _("Go by the category that comes closest, and name it in the reason."),
    ),
}


def set_null_unless_open(collector: Any, field: Any, sub_objs: Any, using: str) -> None:
    """Legal hold: what an open case is about can't be deleted; once it is closed, the case lives on without it.

    Raises ProtectedError, which Django admin shows as what stands in the way.
    """
    held = sub_objs.filter(status__in=ReviewCase.OPEN)
    if held.exists():
        raise ProtectedError("A report about this is being reviewed.", set(held))
    models.SET_NULL(collector, field, sub_objs, using)


set_null_unless_open.lazy_sub_objs = True  # type: ignore[attr-defined]


class ReviewCaseQuerySet(models.QuerySet["ReviewCase"]):
    """The look-ups of cases."""

    def open(self) -> Self:
        """Return the cases that wait for a decision."""
        return self.filter(status__in=ReviewCase.OPEN)

    def by_priority(self) -> Self:
        return self.order_by("sorts_at", "pk")


class ReviewCase(models.Model):
    """What staff decide: one for each reported answer, and one for each report about the application itself."""

    class Status(models.TextChoices):
        OPEN = "open", _("open")
        IN_REVIEW = "in_review", _("in review")
        ESCALATED = "escalated", _("escalated")
        RESOLVED = "resolved", _("resolved")
        DISMISSED = "dismissed", _("dismissed")

    OPEN = (Status.OPEN, Status.IN_REVIEW, Status.ESCALATED)

    uuid = models.UUIDField(_("public id"), default=uuid.uuid4, unique=True, editable=False)
    message = models.OneToOneField(
        Message,
        set_null_unless_open,
        null=True,
        blank=True,
        related_name="review_case",
        verbose_name=_("message"),
    )
    subject = models.ForeignKey(
        User,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="cases_about",
        verbose_name=_("reported user"),
        help_text=_("Whose conversation it is."),
    )
    category = models.CharField(
        _("category"),
        max_length=16,
        choices=Category,
        help_text=_("The gravest one of the reports that are not decided."),
    )
    status = models.CharField(_("status"), max_length=16, choices=Status, default=Status.OPEN)
    is_escalated = models.BooleanField(_("escalated"), default=False)
    points = models.PositiveSmallIntegerField(
        _("points"), default=0, help_text=_("Priority without age: see docs/reviewing.md.")
    )
    sorts_at = models.DateTimeField(
        _("place in the queue"),
        help_text=_(
            "When it was opened, moved back by its points: ages all cases alike without writing them."
        ),
    )
    reports_pending = models.PositiveIntegerField(_("reports to decide"), default=0)
    reporters = models.PositiveIntegerField(_("people who reported"), default=0)
    claimed_by = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("claimed by")
    )
    claim_expires_at = models.DateTimeField(_("claim expires at"), null=True, blank=True)
    assignee = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("assigned to")
    )
    version = models.PositiveIntegerField(
        _("version"),
        default=1,
        help_text=_("Raised by every change: a form that shows an older one is refused."),
    )
    opened_at = models.DateTimeField(_("opened at"))
    reopened_at = models.DateTimeField(_("reopened at"), null=True, blank=True)
    first_claimed_at = models.DateTimeField(_("first claimed at"), null=True, blank=True)
    closed_at = models.DateTimeField(_("closed at"), null=True, blank=True)
    reminded_at = models.DateTimeField(_("reminded at"), null=True, blank=True)

    objects = ReviewCaseQuerySet.as_manager()

    class Meta:
        verbose_name = _("review case")
        verbose_name_plural = _("review cases")
        permissions = [
            ("claim_reviewcase", _("Can claim, note and ask about review cases")),
            ("decide_reviewcase", _("Can decide review cases")),
            ("assign_reviewcase", _("Can assign review cases to colleagues")),
            ("suspend_user", _("Can suspend users in a decision")),
            ("rerun_reviewcase", _("Can run a reported prompt again")),
            ("reveal_reporter", _("Can reveal who reported")),
            ("read_conversation", _("Can read whole conversations, for a stated reason")),
            ("view_review_figures", _("Can see the figures of the review")),
            ("export_reviewcase", _("Can export review cases")),
        ]
        indexes = [
            models.Index(
                fields=["sorts_at"],
                condition=Q(status__in=["open", "in_review", "escalated"]),
                name="reviewcase_queue",
            ),
            models.Index(fields=["closed_at"], name="reviewcase_closed"),
            models.Index(fields=["opened_at"], name="reviewcase_opened"),
        ]
        constraints = [
            models.CheckConstraint(
                name="reviewcase_status",
                condition=Q(status__in=["open", "in_review", "escalated", "resolved", "dismissed"]),
            ),
            models.CheckConstraint(name="reviewcase_category", condition=Q(category__in=Category.values)),
            models.CheckConstraint(
                name="reviewcase_closed_exactly_when_decided",
                condition=Q(status__in=["open", "in_review", "escalated"], closed_at__isnull=True)
                | (Q(status__in=["resolved", "dismissed"]) & Q(closed_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="reviewcase_open_exactly_with_pending_reports",
                condition=Q(status__in=["open", "in_review", "escalated"], reports_pending__gt=0)
                | Q(status__in=["resolved", "dismissed"], reports_pending=0),
            ),
            models.CheckConstraint(
                name="reviewcase_claim_has_an_end",
                condition=Q(claimed_by__isnull=True) | Q(claim_expires_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"#{self.pk}"

    @property
    def is_open(self) -> bool:
        return self.status in self.OPEN


class Snapshot(models.Model):
    """What a report was about, as it was when it was filed. Never changed; equal contents of a case are kept once.

    `content` is made by operations.snapshots, which says what is in it.
    """

    case = models.ForeignKey(
        ReviewCase, models.CASCADE, related_name="snapshots", verbose_name=_("review case")
    )
    digest = models.CharField(_("digest"), max_length=64, help_text=_("SHA-256 of the content."))
    content = models.JSONField(_("content"))
    created_at = models.DateTimeField(_("created at"))

    class Meta:
        verbose_name = _("snapshot")
        verbose_name_plural = _("snapshots")
        constraints = [
            models.UniqueConstraint(name="snapshot_once_a_case", fields=["case", "digest"]),
        ]

    def __str__(self) -> str:
        return self.digest[:12]


class ReportQuerySet(models.QuerySet["Report"]):
    """The look-ups of reports."""

    def visible_to(self, user: Any) -> Self:
        """Return the reports that this user filed: every look-up of a person who reports starts here."""
        if not user.is_authenticated or not user.is_active:
            return self.none()
        return self.filter(reporter=user)

    def to_decide(self) -> Self:
        """Return the reports that wait: new ones, and decided ones with an appeal."""
        return self.filter(Q(status=Report.Status.PENDING) | Q(appeal_status=Report.Appeal.PENDING))


class Report(models.Model):
    """One person's report of one problem, what came of it, and the appeal against that."""

    class Status(models.TextChoices):
        PENDING = "pending", _("waiting for review")
        UPHELD = "upheld", _("upheld")
        NOT_UPHELD = "not_upheld", _("not upheld")
        IGNORED = "ignored", _("ignored")

    class Appeal(models.TextChoices):
        NONE = "", _("no appeal")
        PENDING = "pending", _("appeal is being reviewed")
        GRANTED = "granted", _("appeal granted")
        DENIED = "denied", _("appeal denied")

    uuid = models.UUIDField(_("public id"), default=uuid.uuid4, unique=True, editable=False)
    reference = models.CharField(
        _("reference number"), max_length=16, unique=True, help_text=_("What the person quotes.")
    )
    case = models.ForeignKey(
        ReviewCase, models.PROTECT, related_name="reports", verbose_name=_("review case")
    )
    reporter = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="reports", verbose_name=_("reporter")
    )
    pseudonym = models.CharField(
        _("pseudonym"), max_length=16, db_index=True, help_text=_("The same for all reports of one person.")
    )
    category = models.CharField(_("category"), max_length=16, choices=Category)
    comment = models.TextField(_("comment"), max_length=COMMENT_LENGTH, blank=True)
    language = models.CharField(
        _("language"), max_length=16, blank=True, help_text=_("In which the person is written to.")
    )
    includes_context = models.BooleanField(_("includes the turns around it"), default=False)
    snapshot = models.ForeignKey(Snapshot, models.PROTECT, related_name="reports", verbose_name=_("snapshot"))
    status = models.CharField(_("status"), max_length=16, choices=Status, default=Status.PENDING)
    reply = models.TextField(_("reply"), blank=True, help_text=_("What staff wrote to the person."))
    created_at = models.DateTimeField(_("created at"))
    updated_at = models.DateTimeField(_("updated at"))
    decided_at = models.DateTimeField(_("decided at"), null=True, blank=True)

    question = models.TextField(_("question"), blank=True, help_text=_("What staff want to know."))
    asked_at = models.DateTimeField(_("asked at"), null=True, blank=True)
    answer = models.TextField(_("answer"), max_length=COMMENT_LENGTH, blank=True)
    answered_at = models.DateTimeField(_("answered at"), null=True, blank=True)

    appeal = models.TextField(_("appeal"), max_length=COMMENT_LENGTH, blank=True)
    appeal_status = models.CharField(_("status of the appeal"), max_length=16, choices=Appeal, blank=True)
    appealed_at = models.DateTimeField(_("appealed at"), null=True, blank=True)

    objects = ReportQuerySet.as_manager()

    class Meta:
        verbose_name = _("report")
        verbose_name_plural = _("reports")
        indexes = [
            models.Index("reporter", F("created_at").desc(), name="report_newest_first"),
        ]
        constraints = [
            models.CheckConstraint(
                name="report_status", condition=Q(status__in=["pending", "upheld", "not_upheld", "ignored"])
            ),
            models.CheckConstraint(
                name="report_appeal_status",
                condition=Q(appeal_status__in=["", "pending", "granted", "denied"]),
            ),
            models.CheckConstraint(name="report_category", condition=Q(category__in=Category.values)),
            models.CheckConstraint(
                name="report_of_something_else_says_what",
                condition=~Q(category="other") | ~Q(comment=""),
            ),
            models.CheckConstraint(
                name="report_decided_exactly_when_not_pending",
                condition=Q(status="pending", decided_at__isnull=True)
                | (~Q(status="pending") & Q(decided_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="report_appealed_only_when_decided",
                condition=Q(appeal_status="", appealed_at__isnull=True)
                | (~Q(appeal_status="") & Q(appealed_at__isnull=False) & ~Q(status="pending")),
            ),
            models.UniqueConstraint(
                name="report_one_pending_per_person",
                fields=["case", "reporter"],
                condition=Q(status="pending"),
            ),
        ]

    def __str__(self) -> str:
        return self.reference
