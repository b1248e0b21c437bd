"""URLs of Django admin."""

from django.apps import apps
from django.urls import reverse


def admin_of(model: str) -> str:
    """Return the URL of a model's list in Django admin. `model` is its name in lower case."""
    found = next(found for found in apps.get_models() if found._meta.model_name == model)
    return f"{reverse('admin:index')}{found._meta.app_label}/{model}/"
