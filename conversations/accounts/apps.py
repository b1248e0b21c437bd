"""Django app configuration for accounts."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AccountsConfig(AppConfig):
    """Configure the accounts app."""

    name = "conversations.accounts"
    verbose_name = _("Users")
