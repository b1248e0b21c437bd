"""Reports of problems, the cases that staff review, and the evidence kept with them."""

import datetime as dt
import uuid
from typing import Any, Self

from django.db import models
from django.db.models import F, ProtectedError, Q
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from conversations.accounts.models import User

from .categories import NEEDS_COMMENT, Category

COMMENT_LENGTH = 1_000
"""The maximum length of a comment, an appeal or an answer to a question, in characters."""
_OPEN = ["open", "in_review", "escalated"]
CASE_IS_OPEN = Q(status__in=_OPEN)
"""The query condition for `ReviewCase.is_open`: the case is waiting for a decision."""
CASE_WAITS_SINCE = Coalesce("reopened_at", "opened_at")
"""The query expression for `ReviewCase.waiting_since`: when the case was opened or last reopened."""
REPORT_IS_WAITING = Q(status="pending") | Q(appeal_status="pending")
"""The query condition for `Report.is_waiting`: the report is waiting for a decision."""
REPORT_IS_DECIDED = ~Q(status="pending")
"""The query condition for `Report.is_decided`: the report has been decided."""

_SEEN_UNTIL = Coalesce("seen_at", "created_at")
REPORT_HAS_NEWS = Q(decided_at__gt=_SEEN_UNTIL) | Q(asked_at__gt=_SEEN_UNTIL)
"""The query condition for `rules.has_news`: staff have replied since the reporter last looked."""


def claim_is_live(now: dt.datetime) -> Q:
    """Return the query condition for `ReviewCase.has_live_claim`: someone is working on the case."""
    return Q(claimed_by__isnull=False, claim_expires_at__gt=now)


def set_null_unless_open(collector: Any, field: Any, sub_objs: Any, using: str) -> None:
    """Set the field to NULL on deletion, unless an open case refers to the deleted object (legal hold).

    Raises ProtectedError if there is an open case; Django admin shows it as the obstacle.
    """
    held = sub_objs.filter(CASE_IS_OPEN)
    if held.exists():
        raise ProtectedError("A report about this is being reviewed.", set(held))
    models.SET_NULL(collector, field, sub_objs, using)


set_null_unless_open.lazy_sub_objs = True  # type: ignore[attr-defined]


class ReviewCaseQuerySet(models.QuerySet["ReviewCase"]):
    """Queries on review cases."""

    def open(self) -> Self:
        """Return the cases that are waiting for a decision."""
        return self.filter(CASE_IS_OPEN)

    def with_live_claim(self, now: dt.datetime) -> Self:
        """Return the cases that someone is working on: `ReviewCase.has_live_claim`."""
        return self.filter(claim_is_live(now))

    def with_lapsed_claim(self, now: dt.datetime) -> Self:
        """Return the cases whose claim has lapsed: `ReviewCase.has_lapsed_claim`."""
        return self.filter(claimed_by__isnull=False, claim_expires_at__lte=now)

    def by_priority(self) -> Self:
        return self.order_by("queue_key", "pk")


class ReviewCase(models.Model):
    """A case for staff to decide: one per reported answer, and one per report about the application itself."""

    MOVES_TO_ACCOUNT = ("subject",)
    """The fields that are updated to the new account when a guest signs up."""

    class Status(models.TextChoices):
        OPEN = "open", _("open")
        IN_REVIEW = "in_review", _("in review")
        ESCALATED = "escalated", _("escalated")
        RESOLVED = "resolved", _("resolved")
        DISMISSED = "dismissed", _("dismissed")

    OPEN = tuple(_OPEN)

    uuid = models.UUIDField(_("public ID"), default=uuid.uuid4, unique=True, editable=False)
    message = models.OneToOneField(
        "chat.Message",
        set_null_unless_open,
        null=True,
        blank=True,
        related_name="review_case",
        verbose_name=_("message"),
    )
    subject = models.ForeignKey(
        "accounts.User",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="cases_about",
        verbose_name=_("reported user"),
        help_text=_("The owner of the conversation."),
    )
    category = models.CharField(
        _("category"),
        max_length=16,
        choices=Category,
        help_text=_("The most severe category among the undecided reports."),
    )
    status = models.CharField(_("status"), max_length=16, choices=Status, default=Status.OPEN)
    is_escalated = models.BooleanField(_("escalated"), default=False)
    points = models.PositiveSmallIntegerField(
        _("points"), default=0, help_text=_("Priority, not counting waiting time. See docs/reviewing.md.")
    )
    queue_key = models.DateTimeField(
        _("queue order"),
        help_text=_(
            "The time the case was opened or last reopened, minus one hour per point. Earlier cases come first."
        ),
    )
    reports_pending = models.PositiveIntegerField(_("reports to decide"), default=0)
    reporters = models.PositiveIntegerField(_("number of reporters"), default=0)
    notices = models.ManyToManyField(
        "accounts.AccountNotice", related_name="cases", blank=True, verbose_name=_("account notices")
    )
    claimed_by = models.ForeignKey(
        "accounts.User",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("claimed by"),
    )
    claim_expires_at = models.DateTimeField(_("claim expires at"), null=True, blank=True)
    assignee = models.ForeignKey(
        "accounts.User",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("assigned to"),
    )
    version = models.PositiveIntegerField(
        _("version"),
        default=1,
        help_text=_("Increases with every change. Forms that show an older version are rejected."),
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
            ("claim_reviewcase", _("Can claim review cases, add notes and question reporters")),
            ("decide_reviewcase", _("Can decide review cases")),
            ("assign_reviewcase", _("Can assign review cases to colleagues")),
            ("suspend_user", _("Can suspend users as part of a decision")),
            ("rerun_reviewcase", _("Can rerun reported prompts")),
            ("reveal_reporter", _("Can reveal reporters")),
            ("read_conversation", _("Can read full conversations if they give a reason")),
            ("view_review_figures", _("Can view review statistics")),
            ("export_reviewcase", _("Can export review cases")),
        ]
        indexes = [
            models.Index(
                fields=["queue_key"],
                condition=CASE_IS_OPEN,
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
                condition=Q(closed_at__isnull=True) & CASE_IS_OPEN
                | (Q(status__in=["resolved", "dismissed"]) & Q(closed_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="reviewcase_open_exactly_with_pending_reports",
                condition=Q(reports_pending__gt=0) & CASE_IS_OPEN
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

    @property
    def waiting_since(self) -> dt.datetime:
        """Return when the case was opened or last reopened."""
        return self.reopened_at or self.opened_at

    def has_live_claim(self, now: dt.datetime) -> bool:
        """Return whether someone is working on the case."""
        return self.claimed_by_id is not None and not self.has_lapsed_claim(now)

    def has_lapsed_claim(self, now: dt.datetime) -> bool:
        """Return whether the case has a claim that ran out."""
        return self.claimed_by_id is not None and (
            self.claim_expires_at is None or self.claim_expires_at <= now
        )

    def is_claimed_by(self, staff: User, now: dt.datetime) -> bool:
        """Return whether this member of staff is working on the case."""
        return self.has_live_claim(now) and self.claimed_by_id == staff.pk

    def is_claimed_by_another(self, staff: User, now: dt.datetime) -> bool:
        """Return whether someone other than this member of staff is working on the case."""
        return self.has_live_claim(now) and self.claimed_by_id != staff.pk

    def drop_claim(self) -> None:
        """Remove the claim without saving the case."""
        self.claimed_by, self.claim_expires_at = None, None


class Snapshot(models.Model):
    """A copy of what was reported, taken when the report was filed.

    Snapshots never change, and a case keeps identical content only once. review.services.snapshots documents `content`.
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
    """Queries on reports."""

    def visible_to(self, user: Any) -> Self:
        """Return the reports filed by this user. Every query on behalf of a reporter starts here."""
        if not user.is_authenticated or not user.is_active:
            return self.none()
        return self.filter(reporter=user)

    def to_decide(self) -> Self:
        """Return the reports that are waiting for a decision: `Report.is_waiting`."""
        return self.filter(REPORT_IS_WAITING)

    def decided(self) -> Self:
        """Return the reports that have been decided, including those under appeal: `Report.is_decided`."""
        return self.filter(REPORT_IS_DECIDED)


class Report(models.Model):
    """One person's report of one problem, with its outcome and any appeal."""

    MOVES_TO_ACCOUNT = ("reporter",)
    """The fields that are updated to the new account when a guest signs up."""

    class Status(models.TextChoices):
        PENDING = "pending", _("waiting for review")
        UPHELD = "upheld", _("upheld")
        NOT_UPHELD = "not_upheld", _("not upheld")
        IGNORED = "ignored", _("ignored")

    class Appeal(models.TextChoices):
        NONE = "", _("no appeal")
        PENDING = "pending", _("appeal under review")
        GRANTED = "granted", _("appeal granted")
        DENIED = "denied", _("appeal denied")

    uuid = models.UUIDField(_("public ID"), default=uuid.uuid4, unique=True, editable=False)
    reference = models.CharField(
        _("reference number"), max_length=16, unique=True, help_text=_("The number the reporter quotes.")
    )
    case = models.ForeignKey(
        ReviewCase, models.PROTECT, related_name="reports", verbose_name=_("review case")
    )
    reporter = models.ForeignKey(
        "accounts.User",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="reports",
        verbose_name=_("reporter"),
    )
    pseudonym = models.CharField(
        _("pseudonym"), max_length=16, db_index=True, help_text=_("The same for all reports from one person.")
    )
    category = models.CharField(_("category"), max_length=16, choices=Category)
    comment = models.TextField(_("comment"), max_length=COMMENT_LENGTH, blank=True)
    language = models.CharField(
        _("language"), max_length=16, blank=True, help_text=_("The language for emails to the reporter.")
    )
    includes_context = models.BooleanField(_("includes surrounding turns"), default=False)
    snapshot = models.ForeignKey(Snapshot, models.PROTECT, related_name="reports", verbose_name=_("snapshot"))
    status = models.CharField(_("status"), max_length=16, choices=Status, default=Status.PENDING)
    reply = models.TextField(_("reply"), blank=True, help_text=_("What staff told the reporter."))
    created_at = models.DateTimeField(_("created at"))
    updated_at = models.DateTimeField(_("updated at"))
    decided_at = models.DateTimeField(_("decided at"), null=True, blank=True)
    seen_at = models.DateTimeField(
        _("seen at"), null=True, blank=True, help_text=_("When the reporter last looked for replies.")
    )

    question = models.TextField(_("question"), blank=True, help_text=_("What staff asked the reporter."))
    asked_at = models.DateTimeField(_("asked at"), null=True, blank=True)
    clarification = models.TextField(_("clarification"), max_length=COMMENT_LENGTH, blank=True)
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
                condition=~Q(category=NEEDS_COMMENT.value) | ~Q(comment=""),
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

    @property
    def is_waiting(self) -> bool:
        """Return whether the report is waiting for a decision, either its first or one on an appeal."""
        return self.status == self.Status.PENDING or self.appeal_status == self.Appeal.PENDING

    @property
    def is_decided(self) -> bool:
        """Return whether the report has been decided. An appeal may still change the decision."""
        return self.status != self.Status.PENDING

    @property
    def awaits_reporter(self) -> bool:
        """Return whether the reporter has yet to answer a question from staff."""
        return bool(self.question) and not self.clarification
