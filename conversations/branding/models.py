"""Models for branding: the name of the site and its logos."""

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

NAME_LENGTH = 40
ALT_LENGTH = 120


def validate_visible(text: str) -> None:
    """Refuse line breaks and invisible characters, because the name becomes part of email headers."""
    if not text.isprintable():
        raise ValidationError(_("Use only visible characters and spaces."))


class Logo(models.Model):
    """An uploaded image. It never changes: another image is another row, with another address."""

    digest = models.CharField(max_length=64, unique=True)
    content_type = models.CharField(max_length=16)
    width = models.PositiveSmallIntegerField()
    height = models.PositiveSmallIntegerField()
    data = models.BinaryField()

    class Meta:
        verbose_name = _("logo")
        verbose_name_plural = _("logos")

    def __str__(self) -> str:
        kind = self.content_type.removeprefix("image/").upper()
        return gettext("%(kind)s, %(width)d × %(height)d pixels") % {
            "kind": kind,
            "width": self.width,
            "height": self.height,
        }

    @property
    def url(self) -> str:
        """The address of the image."""
        return reverse("logo", args=[self.digest])


class Branding(models.Model):
    """The name and logo of the site: a single row, created when it is first needed."""

    name = models.CharField(
        _("name"),
        max_length=NAME_LENGTH,
        blank=True,
        validators=[validate_visible],
        help_text=_(
            "Shown on every page, in page titles and in emails. If empty, pages show “Chat” and emails have no name."
        ),
    )
    logo = models.ForeignKey(
        Logo, models.PROTECT, null=True, blank=True, related_name="as_logo", verbose_name=_("logo")
    )
    dark_logo = models.ForeignKey(
        Logo,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="as_dark_logo",
        verbose_name=_("logo for dark backgrounds"),
    )
    shows_name = models.BooleanField(
        _("show the name beside the logo"),
        default=True,
        help_text=_("Turn this off if the name is part of the logo."),
    )
    logo_alt = models.CharField(
        _("alternative text of the logo"),
        max_length=ALT_LENGTH,
        blank=True,
        help_text=_("Read aloud by screen readers if the name isn't shown. If empty, they read the name."),
    )

    class Meta:
        verbose_name = _("name and logo")
        verbose_name_plural = _("name and logo")
        constraints = [models.CheckConstraint(name="branding_is_one", condition=Q(pk=1))]

    def __str__(self) -> str:
        return self.site_name

    @property
    def site_name(self) -> str:
        """The name that pages show."""
        return self.name or gettext("Chat")

    @property
    def alt(self) -> str:
        """The alternative text of the logo, which is empty if the name stands beside it."""
        return "" if self.shows_name else self.logo_alt or self.site_name

    @property
    def icon(self) -> Logo | None:
        """The logo as an icon of the page, for which it must be square."""
        logo = self.logo
        return logo if logo is not None and logo.width == logo.height else None
