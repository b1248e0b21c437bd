"""Read the branding."""

from .models import Branding


def current_branding() -> Branding:
    """Return the name of the site and its logos, without their data.

    This is one look-up by primary key. Nothing is cached, so that a change applies in every process at once.
    """
    found = (
        Branding.objects.filter(pk=1)
        .select_related("logo", "dark_logo")
        .defer("logo__data", "dark_logo__data")
        .first()
    )
    return found or Branding(pk=1)
