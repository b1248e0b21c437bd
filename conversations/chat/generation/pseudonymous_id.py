"""Pseudonymous user IDs, which tell providers apart the users of this site without identifying them."""

import hashlib
import hmac

from django.conf import settings
from django.utils.crypto import salted_hmac

from conversations.accounts.models import User

_SALT = "conversations.pseudonymous_id"
_LENGTH = 40


def _key(key_id: str) -> bytes | None:
    if not settings.END_USER_ID_KEYS:
        # SECRET_KEY can't be computed from this derived key.
        return salted_hmac(_SALT, "key", algorithm="sha256").digest() if key_id == "0" else None
    secret = settings.END_USER_ID_KEYS.get(key_id)
    return secret.encode() if secret else None


def current_key_id() -> str:
    """Return the ID of the current key: the first in END_USER_ID_KEYS, or 0 for the key derived from SECRET_KEY."""
    return next(iter(settings.END_USER_ID_KEYS), "0")


def pseudonymous_id(user: User, *, key_id: str | None = None) -> str:
    """Return the pseudonymous ID that providers receive for this user or guest. It changes only with the key.

    OpenAI's `safety_identifier` takes a hashed ID of at most 64 characters, without names or addresses. Raises
    LookupError if the key isn't configured.
    """
    key_id = current_key_id() if key_id is None else key_id
    key = _key(key_id)
    if key is None:
        raise LookupError(key_id)
    digest = hmac.new(key, user.uuid.bytes, hashlib.sha256).hexdigest()
    return f"{key_id}-{digest[:_LENGTH]}"


def find_user(identifier: str) -> User | None:
    """Return the user with this pseudonymous ID, or None if there is none or its key is no longer configured."""
    key_id, _separator, digest = identifier.strip().rpartition("-")
    if len(digest) != _LENGTH or _key(key_id) is None:
        return None
    for user in User.objects.order_by("pk").iterator(2_000):
        if hmac.compare_digest(pseudonymous_id(user, key_id=key_id), identifier.strip()):
            return user
    return None
