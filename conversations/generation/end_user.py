"""What the service of a model is told of who asks: an id that gives nobody away."""

import hashlib
import hmac

from django.conf import settings
from django.utils.crypto import salted_hmac

from conversations.models import User

_SALT = "conversations.end_user"
_LENGTH = 40


def _key(key_id: str) -> bytes | None:
    if not settings.END_USER_ID_KEYS:
        # A key of its own, all the same: it can't be computed back to SECRET_KEY.
        return salted_hmac(_SALT, "key", algorithm="sha256").digest() if key_id == "0" else None
    secret = settings.END_USER_ID_KEYS.get(key_id)
    return secret.encode() if secret else None


def current_key_id() -> str:
    """Return the id of the key that is used now: the first in END_USER_ID_KEYS, or 0 for the one made from SECRET_KEY."""
    return next(iter(settings.END_USER_ID_KEYS), "0")


def end_user_id(user: User, *, key_id: str | None = None) -> str:
    """Return the id of this person, or of this guest's session, for upstreams: the same as long as the key is.

    OpenAI's reference asks for such an id in `safety_identifier`, hashed, with no name or address in it, at most 64
    characters. Raises LookupError for a key that is not set (any more).
    """
    key_id = current_key_id() if key_id is None else key_id
    key = _key(key_id)
    if key is None:
        raise LookupError(key_id)
    digest = hmac.new(key, user.uuid.bytes, hashlib.sha256).hexdigest()
    return f"{key_id}-{digest[:_LENGTH]}"


def find_user(identifier: str) -> User | None:
    """Return who is behind an id that a provider complains about; None where nobody is, or its key is gone."""
    key_id, _separator, digest = identifier.strip().rpartition("-")
    if len(digest) != _LENGTH or _key(key_id) is None:
        return None
    for user in User.objects.order_by("pk").iterator(2_000):
        if hmac.compare_digest(end_user_id(user, key_id=key_id), identifier.strip()):
            return user
    return None
