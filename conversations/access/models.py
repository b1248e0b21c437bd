"""Models for access: the sign-up mode, previews, invitations, memberships and the terms of use."""

import datetime as dt
import uuid
from typing import Self

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class SiteAccess(models.Model):
    """Access settings for the whole site: a single row, created when it is first needed."""

    class SignUp(models.TextChoices):
        OPEN = "open", _("Open: anyone can sign up")
        INVITATION = "invitation", _("Invitation: people need a code or a link")
        APPROVAL = "approval", _("Approval: staff approve each account")
        CLOSED = "closed", _("Closed: only staff create accounts")

    signup = models.CharField(
        _("sign-up"),
        max_length=16,
        choices=SignUp,
        blank=True,
        help_text=_("If empty, the SIGNUP setting applies."),
    )

    class Meta:
        verbose_name = _("site access")
        verbose_name_plural = _("site access")
        constraints = [
            models.CheckConstraint(name="siteaccess_is_one", condition=Q(pk=1)),
            models.CheckConstraint(
                name="siteaccess_signup",
                condition=Q(signup__in=["", "open", "invitation", "approval", "closed"]),
            ),
        ]

    def __str__(self) -> str:
        return self.get_signup_display() or "SIGNUP"


class TermsVersion(models.Model):
    """A version of the terms of use, which people accept before their first message. The newest version is in force."""

    version = models.PositiveIntegerField(_("version"), unique=True)
    text = models.TextField(_("text"), max_length=5_000, help_text=_("Markdown is supported."))
    published_at = models.DateTimeField(_("published at"))

    class Meta:
        verbose_name = _("terms of use")
        verbose_name_plural = _("terms of use")

    def __str__(self) -> str:
        return f"v{self.version}"


class TermsAcceptance(models.Model):
    """A record that a user accepted a version of the terms."""

    MOVES_TO_ACCOUNT = ("user",)
    """The fields that are updated to the new account when a guest signs up."""

    user = models.ForeignKey(
        "accounts.User", models.CASCADE, related_name="acceptances", verbose_name=_("user")
    )
    terms = models.ForeignKey(
        TermsVersion, models.PROTECT, related_name="acceptances", verbose_name=_("terms of use")
    )
    accepted_at = models.DateTimeField(_("accepted at"))

    class Meta:
        verbose_name = _("acceptance of the terms")
        verbose_name_plural = _("acceptances of the terms")
        constraints = [models.UniqueConstraint(name="termsacceptance_once", fields=["user", "terms"])]

    def __str__(self) -> str:
        return f"{self.user_id}/{self.terms_id}"


class PreviewQuerySet(models.QuerySet["Preview"]):
    """Queries for previews."""

    def running(self, now: dt.datetime) -> Self:
        """Return the previews that people may use at this time."""
        return self.filter(is_enabled=True, starts_at__lte=now, ends_at__gt=now)


def validate_domains(value: str) -> None:
    """Check a list of email domains, one per line. Raises ValidationError if one is not valid."""
    for line in value.split():
        if "." not in line or not all(part.replace("-", "").isalnum() for part in line.split(".")):
            raise ValidationError(
                _("%(line)s is not a valid domain. Enter a domain such as example.org."),
                params={"line": line},
            )


class Preview(models.Model):
    """A period in which invited people, and optionally guests, can try the site within limits."""

    uuid = models.UUIDField(_("public ID"), default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=80, help_text=_("Shown to users in the chat."))
    welcome = models.TextField(
        _("welcome text"), max_length=5_000, blank=True, help_text=_("Markdown is supported.")
    )
    chat_models = models.ManyToManyField(
        "catalogue.ChatModel",
        blank=True,
        related_name="+",
        verbose_name=_("models"),
        help_text=_("If none are selected, all models are available."),
    )
    starts_at = models.DateTimeField(_("starts at"))
    ends_at = models.DateTimeField(_("ends at"))
    seats = models.PositiveIntegerField(
        _("seats"), null=True, blank=True, help_text=_("Leave empty for no limit.")
    )
    messages_total = models.PositiveIntegerField(
        _("messages per person"),
        null=True,
        blank=True,
        help_text=_("Total for the whole preview. Leave empty for no limit."),
    )
    messages_per_day = models.PositiveIntegerField(
        _("messages per person per day"), null=True, blank=True, help_text=_("Leave empty for no limit.")
    )
    email_domains = models.TextField(
        _("email domains"),
        blank=True,
        validators=[validate_domains],
        help_text=_(
            "One per line. Only people with an email address in these domains can join. "
            "Leave empty to allow anyone with an invitation."
        ),
    )
    allows_guests = models.BooleanField(
        _("allow guests"), default=False, help_text=_("Guests can send a few messages without an account.")
    )
    guest_messages = models.PositiveSmallIntegerField(_("messages per guest"), default=3)
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
        # A time is missing if its own field failed validation.
        starts_at: dt.datetime | None = self.starts_at
        ends_at: dt.datetime | None = self.ends_at
        if starts_at is not None and ends_at is not None and ends_at <= starts_at:
            raise ValidationError({"ends_at": _("The end must be after the start.")})

    def is_running(self, now: dt.datetime) -> bool:
        """Whether people may use the preview at this time."""
        return self.is_enabled and self.starts_at <= now < self.ends_at

    def takes(self, email: str) -> bool:
        """Whether a person with this email address may join."""
        domains = {line.lower() for line in self.email_domains.split()}
        return not domains or email.rpartition("@")[2].lower() in domains


class Invitation(models.Model):
    """A code or link that gives access to a preview, or to the site itself."""

    uuid = models.UUIDField(_("public ID"), default=uuid.uuid4, unique=True, editable=False)
    preview = models.ForeignKey(
        Preview,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="invitations",
        verbose_name=_("preview"),
        help_text=_("If empty, the invitation gives a permanent account on the site."),
    )
    code = models.CharField(
        _("code"),
        max_length=16,
        unique=True,
        editable=False,
        help_text=_("Stored without the dashes shown to users."),
    )
    label = models.CharField(
        _("label"), max_length=80, blank=True, help_text=_("A note for staff about what it is for.")
    )
    email = models.EmailField(
        _("email address"),
        blank=True,
        help_text=_("The address the invitation was sent to. Anyone who has the code can use it."),
    )
    uses_allowed = models.PositiveIntegerField(_("uses allowed"), default=1)
    uses = models.PositiveIntegerField(_("uses"), default=0, editable=False)
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True, editable=False)
    sent_at = models.DateTimeField(_("sent at"), null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    created_by = models.ForeignKey(
        "accounts.User",
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
        """Return the code in groups of four, as shown to users."""
        return "-".join(self.code[start : start + 4] for start in range(0, len(self.code), 4))


class Redemption(models.Model):
    """A record that a user redeemed an invitation."""

    invitation = models.ForeignKey(
        Invitation, models.CASCADE, related_name="redemptions", verbose_name=_("invitation")
    )
    user = models.ForeignKey(
        "accounts.User", models.CASCADE, related_name="redemptions", verbose_name=_("user")
    )
    redeemed_at = models.DateTimeField(_("redeemed at"))

    class Meta:
        verbose_name = _("redemption")
        verbose_name_plural = _("redemptions")
        constraints = [models.UniqueConstraint(name="redemption_once", fields=["invitation", "user"])]

    def __str__(self) -> str:
        return f"{self.invitation_id}/{self.user_id}"


class MembershipQuerySet(models.QuerySet["Membership"]):
    """Queries for memberships."""

    def running(self, now: dt.datetime) -> Self:
        """Return the memberships that allow people to write at this time."""
        return self.filter(ended_at__isnull=True, preview__in=Preview.objects.running(now))


class Membership(models.Model):
    """A user's place in a preview, with the number of messages they have used."""

    preview = models.ForeignKey(
        Preview, models.PROTECT, related_name="memberships", verbose_name=_("preview")
    )
    user = models.ForeignKey(
        "accounts.User", models.CASCADE, related_name="memberships", verbose_name=_("user")
    )
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
    day = models.DateField(_("day"), null=True, blank=True, help_text=_("The day the daily count is for."))
    messages_today = models.PositiveIntegerField(_("messages on that day"), default=0)

    objects = MembershipQuerySet.as_manager()

    class Meta:
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        constraints = [models.UniqueConstraint(name="membership_once", fields=["preview", "user"])]

    def __str__(self) -> str:
        return f"{self.preview_id}/{self.user_id}"
