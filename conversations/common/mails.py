"""Mails sent after the transaction is committed."""

import datetime as dt
import logging
from collections.abc import Sequence

from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.template.loader import render_to_string
from django.utils import timezone, translation

logger = logging.getLogger(__name__)


def send_on_commit(
    template: str,
    *,
    to: Sequence[str],
    context: dict[str, object],
    language: str = "",
    time_zone: dt.tzinfo | None = None,
) -> None:
    """Send a mail with this template after the commit. If that fails, the failure is only logged.

    The language and the time zone are those of the recipient, or else the site's.
    The first line of the template is the subject, which never contains text from a user or a model.
    """
    addresses = [address for address in to if address]
    if not addresses:
        return
    with translation.override(language or settings.LANGUAGE_CODE), timezone.override(time_zone):
        written = render_to_string(template, {"site": settings.PUBLIC_URL, **context})
    subject, _separator, body = written.strip().partition("\n")

    def send() -> None:
        try:
            for address in addresses:
                send_mail(subject.strip(), body.strip() + "\n", None, [address])
        except Exception as error:
            logger.warning("A mail (%s) could not be sent: %s", template, type(error).__qualname__)

    transaction.on_commit(send)
