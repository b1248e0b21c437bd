"""Mails sent after the transaction is committed."""

import datetime as dt
import logging
from collections.abc import Sequence
from email.utils import formataddr, parseaddr

from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.template.loader import render_to_string
from django.utils import timezone, translation

from conversations.branding.selectors import current_branding

logger = logging.getLogger(__name__)


def send_on_commit(
    template: str,
    *,
    to: Sequence[str],
    context: dict[str, object],
    language: str = "",
    time_zone: dt.tzinfo | None = None,
) -> None:
    """Send an email with this template after the commit. If that fails, the failure is only logged.

    The language and the time zone are those of the recipient, or else the site's.
    The first line of the template is the subject, which never contains text from a user or a model. If the site has a name,
    the subject starts with it, and the mail ends with it.
    """
    addresses = [address for address in to if address]
    if not addresses:
        return
    name = current_branding().name
    with translation.override(language or settings.LANGUAGE_CODE), timezone.override(time_zone):
        written = render_to_string(template, {"site": settings.PUBLIC_URL, "site_name": name, **context})
    first, _separator, rest = written.strip().partition("\n")
    subject, body = with_site_name(first.strip(), name=name), rest.strip() + "\n"
    if name:
        # The usual separator of a signature has a space at the end.
        body += f"\n-- \n{name}\n"

    def send() -> None:
        try:
            for address in addresses:
                send_mail(subject, body, sender(name=name), [address])
        except Exception as error:
            logger.warning("The email %s could not be sent: %s", template, type(error).__qualname__)

    transaction.on_commit(send)


def with_site_name(subject: str, *, name: str) -> str:
    """Return the subject of a mail with the name of the site in front, if it has one."""
    return f"[{name}] {subject}" if name else subject


def sender(*, name: str) -> str:
    """Return the sender of mails, with the name of the site unless DEFAULT_FROM_EMAIL contains another."""
    own_name, address = parseaddr(settings.DEFAULT_FROM_EMAIL)
    return formataddr((name, address)) if name and not own_name else settings.DEFAULT_FROM_EMAIL
