"""Django app configuration for branding."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class BrandingConfig(AppConfig):
    """Configure the branding app."""

    name = "conversations.branding"
    verbose_name = _("Branding")
