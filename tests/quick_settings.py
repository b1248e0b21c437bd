"""The product's settings with fast password hashing, for sites in which tests sign in hundreds of times."""

from chatsite.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
