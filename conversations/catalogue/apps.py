"""The catalogue app."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class CatalogueConfig(AppConfig):
    """The configuration of the app."""

    name = "conversations.catalogue"
    verbose_name = _("Models")
