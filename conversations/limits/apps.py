"""Django app configuration for limits."""

from django.apps import AppConfig


class LimitsConfig(AppConfig):
    """Configure the limits app."""

    name = "conversations.limits"
