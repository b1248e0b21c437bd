"""The product's settings with fast password hashing, for a process in which a test signs in hundreds of times."""

from chatsite.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
