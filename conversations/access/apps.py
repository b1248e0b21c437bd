"""Django app configuration for access."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AccessConfig(AppConfig):
    """Configure the access app."""

    name = "conversations.access"
    verbose_name = _("Access")
