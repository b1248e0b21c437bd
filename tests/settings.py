"""The settings for tests: the product's, with a separate data folder and nothing from the machine's environment."""

import os
import tempfile

for _name in (
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "OPENAI_ORGANIZATION",
    "OPENAI_PROJECT",
    "CHAT_MODEL",
    "PUBLIC_URL",
):
    os.environ.pop(_name, None)
os.environ["DATA_DIR"] = os.environ.get("TEST_DATA_DIR") or tempfile.mkdtemp(prefix="chatsite-tests-")
os.environ.setdefault("SECRET_KEY", "only-for-the-tests-and-long-enough-to-satisfy-every-check-of-django")

from chatsite.settings import *  # noqa: E402, F403
from chatsite.settings import DATA_DIR, DATABASES, STORAGES  # noqa: E402

# A file instead of memory, because several threads use the database at once, as in production.
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["TEST"] = {"NAME": str(DATA_DIR / "test.sqlite3")}
else:
    # The pool would keep connections open while the test database is dropped.
    DATABASES["default"]["OPTIONS"].pop("pool", None)

# Static files aren't collected, so their names have no hashes.
STORAGES = {**STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
WHITENOISE_AUTOREFRESH = True
WHITENOISE_USE_FINDERS = True
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
# A port with no server. Tests that need an upstream configure a fake one.
OPENAI_BASE_URL = "http://127.0.0.1:9/v1"
CHAT_MODEL = "fake"
