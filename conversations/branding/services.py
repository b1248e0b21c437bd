"""Change the branding."""

from collections.abc import Mapping

from django.db import transaction

from .models import Branding, Logo
from .rules import Image


@transaction.atomic
def save_branding(*, branding: Branding, logos: Mapping[str, Image | None]) -> None:
    """Save the name, the texts and these logos: `logo`, `dark_logo` or both. None removes a logo.

    Logos that are no longer used are deleted.
    """
    Branding.objects.select_for_update().get_or_create(pk=1)
    for field, image in logos.items():
        setattr(branding, field, None if image is None else _store(image))
    branding.save(update_fields=["name", "shows_name", "logo_alt", *logos])
    Logo.objects.filter(as_logo=None, as_dark_logo=None).delete()


def _store(image: Image) -> Logo:
    values = {
        "content_type": image.content_type,
        "width": image.width,
        "height": image.height,
        "data": image.data,
    }
    return Logo.objects.get_or_create(digest=image.digest, defaults=values)[0]
