"""The review app."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ReviewConfig(AppConfig):
    """The configuration of the app."""

    name = "conversations.review"
    verbose_name = _("Review")
