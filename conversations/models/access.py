"""Who may use the site: how people sign up, previews, invitations, and what they accept before they begin."""

import datetime as dt
import uuid
from typing import Self

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from .generations import ChatModel
from .users import User


class SiteAccess(models.Model):
    """What an administrator sets for the whole site: one row, made when it is first needed."""

    class SignUp(models.TextChoices):
        OPEN = "open", _("open: whoever comes may sign up")
        INVITATION = "invitation", _("by invitation: with a code or a link only")
        APPROVAL = "approval", _("by approval: staff let each person in")
        CLOSED = "closed", _("closed: staff make the accounts")

    signup = models.CharField(
        _("sign-up"),
        max_length=16,
        choices=SignUp,
        blank=True,
        help_text=_("Empty: as the setting SIGNUP says."),
    )

    class Meta:
        verbose_name = _("access to the site")
        verbose_name_plural = _("access to the site")
        constraints = [
            models.CheckConstraint(name="siteaccess_is_one", condition=Q(pk=1)),
            models.CheckConstraint(
                name="siteaccess_signup",
                condition=Q(signup__in=["", "open", "invitation", "approval", "closed"]),
            ),
        ]

    def __str__(self) -> str:
        return self.get_signup_display() or "SIGNUP"


class UseNotice(models.Model):
    """What people accept before their first message. A change of it is a new version; the newest is in force."""

    version = models.PositiveIntegerField(_("version"), unique=True)
    text = models.TextField(_("text"), max_length=5_000, help_text=_("Markdown."))
    published_at = models.DateTimeField(_("published at"))

    class Meta:
        verbose_name = _("first-use notice")
        verbose_name_plural = _("first-use notices")

    def __str__(self) -> str:
        return f"v{self.version}"


class NoticeAcceptance(models.Model):
    """That a person accepted a version of the first-use notice, and when."""

    user = models.ForeignKey(User, models.CASCADE, related_name="acceptances", verbose_name=_("user"))
    notice = models.ForeignKey(
        UseNotice, models.PROTECT, related_name="acceptances", verbose_name=_("first-use notice")
    )
    accepted_at = models.DateTimeField(_("accepted at"))

    class Meta:
        verbose_name = _("acceptance of a notice")
        verbose_name_plural = _("acceptances of notices")
        constraints = [models.UniqueConstraint(name="noticeacceptance_once", fields=["user", "notice"])]

    def __str__(self) -> str:
        return f"{self.user_id}/{self.notice_id}"


class PreviewQuerySet(models.QuerySet["Preview"]):
    """The look-ups of previews."""

    def running(self, now: dt.datetime) -> Self:
        """Return the previews that people may use at this time."""
        return self.filter(is_enabled=True, starts_at__lte=now, ends_at__gt=now)


def validate_domains(value: str) -> None:
    """Check a list of mail domains, one a line. Raises ValidationError."""
    for line in value.split():
        if "." not in line or not all(part.replace("-", "").isalnum() for part in line.split(".")):
            raise ValidationError(_("%(line)s is not a domain such as example.org."), params={"line": line})


class Preview(models.Model):
    """A time in which invited people, and perhaps guests, try the site within limits."""

    uuid = models.UUIDField(_("public id"), default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=80, help_text=_("People see it in the chat."))
    welcome = models.TextField(_("welcome text"), max_length=5_000, blank=True, help_text=_("Markdown."))
    chat_models = models.ManyToManyField(
        ChatModel, blank=True, related_name="+", verbose_name=_("models"), help_text=_("None: all of them.")
    )
    starts_at = models.DateTimeField(_("starts at"))
    ends_at = models.DateTimeField(_("ends at"))
    seats = models.PositiveIntegerField(_("seats"), null=True, blank=True, help_text=_("Empty: any number."))
    messages_total = models.PositiveIntegerField(
        _("messages per person"), null=True, blank=True, help_text=_("In all. Empty: any number.")
    )
    messages_per_day = models.PositiveIntegerField(
        _("messages per person and day"), null=True, blank=True, help_text=_("Empty: any number.")
    )
    email_domains = models.TextField(
        _("mail domains"),
        blank=True,
        validators=[validate_domains],
        help_text=_("One a line: only people with such an address may join. Empty: anybody who is invited."),
    )
    allows_guests = models.BooleanField(
        _("guests may look in"), default=False, help_text=_("Without an account, for a few messages.")
    )
    guest_messages = models.PositiveSmallIntegerField(_("messages of a guest"), default=3)
    is_enabled = models.BooleanField(_("enabled"), default=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    objects = PreviewQuerySet.as_manager()

    class Meta:
        verbose_name = _("preview")
        verbose_name_plural = _("previews")
        constraints = [
            models.CheckConstraint(
                name="preview_ends_after_its_start", condition=Q(ends_at__gt=F("starts_at"))
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        # Either is missing where its own field was refused already.
        starts_at: dt.datetime | None = self.starts_at
        ends_at: dt.datetime | None = self.ends_at
        if starts_at is not None and ends_at is not None and ends_at <= starts_at:
            raise ValidationError({"ends_at": _("The end comes after the start.")})

    def is_running(self, now: dt.datetime) -> bool:
        """Whether people may use it at this time."""
        return self.is_enabled and self.starts_at <= now < self.ends_at

    def takes(self, email: str) -> bool:
        """Whether somebody with this mail address may join."""
        domains = {line.lower() for line in self.email_domains.split()}
        return not domains or email.rpartition("@")[2].lower() in domains


class Invitation(models.Model):
    """A code, alone or in a link, by which people come in: to a preview, or to the site as such."""

    uuid = models.UUIDField(_("public id"), default=uuid.uuid4, unique=True, editable=False)
    preview = models.ForeignKey(
        Preview,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="invitations",
        verbose_name=_("preview"),
        help_text=_("Empty: an account of the site, for good."),
    )
    code = models.CharField(
        _("code"),
        max_length=16,
        unique=True,
        editable=False,
        help_text=_("Without the dashes that people see."),
    )
    label = models.CharField(_("label"), max_length=80, blank=True, help_text=_("For staff: what it is for."))
    email = models.EmailField(
        _("mail address"), blank=True, help_text=_("Where it was sent; anybody who has it may use it.")
    )
    uses_allowed = models.PositiveIntegerField(_("uses allowed"), default=1)
    uses = models.PositiveIntegerField(_("uses"), default=0, editable=False)
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True, editable=False)
    sent_at = models.DateTimeField(_("sent at"), null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    created_by = models.ForeignKey(
        User,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        editable=False,
        verbose_name=_("created by"),
    )

    class Meta:
        verbose_name = _("invitation")
        verbose_name_plural = _("invitations")
        constraints = [
            models.CheckConstraint(
                name="invitation_no_more_uses_than_allowed", condition=Q(uses__lte=F("uses_allowed"))
            ),
        ]

    def __str__(self) -> str:
        return self.shown_code

    @property
    def shown_code(self) -> str:
        """The code in groups of four, as people read and type it."""
        return "-".join(self.code[start : start + 4] for start in range(0, len(self.code), 4))


class Redemption(models.Model):
    """Who used which invitation, and when."""

    invitation = models.ForeignKey(
        Invitation, models.CASCADE, related_name="redemptions", verbose_name=_("invitation")
    )
    user = models.ForeignKey(User, models.CASCADE, related_name="redemptions", verbose_name=_("user"))
    redeemed_at = models.DateTimeField(_("redeemed at"))

    class Meta:
        verbose_name = _("use of an invitation")
        verbose_name_plural = _("uses of invitations")
        constraints = [models.UniqueConstraint(name="redemption_once", fields=["invitation", "user"])]

    def __str__(self) -> str:
        return f"{self.invitation_id}/{self.user_id}"


class MembershipQuerySet(models.QuerySet["Membership"]):
    """The look-ups of memberships."""

    def running(self, now: dt.datetime) -> Self:
        """Return the memberships by which people may write at this time."""
        return self.filter(ended_at__isnull=True, preview__in=Preview.objects.running(now))


class Membership(models.Model):
    """That a person takes part in a preview, and how much of it they have used."""

    preview = models.ForeignKey(
        Preview, models.PROTECT, related_name="memberships", verbose_name=_("preview")
    )
    user = models.ForeignKey(User, models.CASCADE, related_name="memberships", verbose_name=_("user"))
    invitation = models.ForeignKey(
        Invitation,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="memberships",
        verbose_name=_("invitation"),
    )
    joined_at = models.DateTimeField(_("joined at"))
    ended_at = models.DateTimeField(_("ended at"), null=True, blank=True)
    messages_used = models.PositiveIntegerField(_("messages used"), default=0)
    day = models.DateField(_("day"), null=True, blank=True, help_text=_("Of the count beside it."))
    messages_today = models.PositiveIntegerField(_("messages on that day"), default=0)

    objects = MembershipQuerySet.as_manager()

    class Meta:
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        constraints = [models.UniqueConstraint(name="membership_once", fields=["preview", "user"])]

    def __str__(self) -> str:
        return f"{self.preview_id}/{self.user_id}"

    def limit(self) -> int | None:
        """Return how many messages this person may write in all; None for any number."""
        if self.user.standing == User.Standing.GUEST:
            return self.preview.guest_messages
        return self.preview.messages_total


class UseCounter(models.Model):
    """How often something was done within a period, counted by a conditional update, so exact over all processes."""

    key = models.CharField(
        _("key"), max_length=80, help_text=_("What is counted, and for whom: no address in clear.")
    )
    period_start = models.DateTimeField(_("start of the period"))
    count = models.PositiveIntegerField(_("count"), default=0)

    class Meta:
        verbose_name = _("counter of use")
        verbose_name_plural = _("counters of use")
        constraints = [
            models.UniqueConstraint(name="usecounter_one_a_period", fields=["key", "period_start"])
        ]

    def __str__(self) -> str:
        return self.key


class SocketLease(models.Model):
    """That a page of a person is connected, to which process, and when that process was last heard of."""

    user = models.ForeignKey(User, models.CASCADE, related_name="socket_leases", verbose_name=_("user"))
    process = models.CharField(_("process"), max_length=64, db_index=True)
    seen_at = models.DateTimeField(_("seen at"))

    class Meta:
        verbose_name = _("open page")
        verbose_name_plural = _("open pages")

    def __str__(self) -> str:
        return f"{self.user_id}@{self.process}"
