"""Where the site is, what it consists of, and where it keeps its data."""

import os
import secrets
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _
from environs import validate

from .environment import env

BASE_DIR = Path(__file__).resolve().parent.parent.parent


# --- Paths and addresses ---------------------------------------------------------------------------------------

DATA_DIR = Path(env.str("DATA_DIR", "var")).expanduser()
if not DATA_DIR.is_absolute():
    DATA_DIR = BASE_DIR / DATA_DIR
DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)

# Browsers treat "localhost" as secure and as a domain name, which passkeys need, but not "127.0.0.1".
HOST = env.str("HOST", "localhost")
PORT = env.int("PORT", 8000, validate=validate.Range(min=0, max=65535))

# How many web processes serve the site together.
PROCESSES = env.str("PROCESSES", "auto", validate=validate.Regexp(r"(auto|[1-9]\d?)\Z"))

# The address that people type. With https, it turns on secure cookies and HSTS.
PUBLIC_URL = env.str("PUBLIC_URL", "").rstrip("/")
_public = urlsplit(PUBLIC_URL)
if PUBLIC_URL and (_public.scheme not in {"http", "https"} or not _public.hostname):
    raise ImproperlyConfigured("PUBLIC_URL must be a complete address, such as https://chat.example.org.")
IS_HTTPS = _public.scheme == "https"

DEBUG = env.bool("DEBUG", False)

# Outside production, no email is sent and search engines are kept out. Staging is marked on every page.
ENVIRONMENT = env.str(
    "ENVIRONMENT", "development", validate=validate.OneOf(["development", "staging", "production"])
)
IS_PRODUCTION = ENVIRONMENT == "production"

with (BASE_DIR / "pyproject.toml").open("rb") as _file:
    APP_VERSION: str = tomllib.load(_file)["project"]["version"]


def _secret_key() -> str:
    """Return the key from the environment, or a generated one kept in DATA_DIR, where only the owner can read it."""
    key = env.str("SECRET_KEY", "")
    if key:
        return key
    path = DATA_DIR / "secret_key"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii").strip()
    key = secrets.token_urlsafe(64)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(key)
    return key


SECRET_KEY = _secret_key()
SECRET_KEY_FALLBACKS: list[str] = env.list("SECRET_KEY_FALLBACKS", [])

ALLOWED_HOSTS = list(
    dict.fromkeys(
        [
            *env.list("ALLOWED_HOSTS", []),
            *([_public.hostname] if _public.hostname else []),
            "localhost",
            "127.0.0.1",
            "[::1]",
            *([HOST] if HOST not in {"0.0.0.0", "::", ""} else []),  # noqa: S104
        ]
    )
)
CSRF_TRUSTED_ORIGINS = [f"{_public.scheme}://{_public.netloc}"] if PUBLIC_URL else []


# --- The application -------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "chatsite.admin.Config",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.facebook",
    "allauth.socialaccount.providers.google",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
    "channels",
    "csp",
    "django_htmx",
    "conversations.branding",
    "conversations.accounts",
    "conversations.limits",
    "conversations.catalogue",
    "conversations.access",
    "conversations.chat",
    "conversations.review",
    "conversations.evaluation",
    "conversations.server",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    # Before anything that responds to a request, including static files.
    "chatsite.middleware.AddressMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "chatsite.middleware.LoginMiddleware",
    "conversations.accounts.middleware.TimeZoneMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "chatsite.middleware.NoStoreMiddleware",
    "chatsite.middleware.EnvironmentMiddleware",
    "conversations.access.middleware.AccessMiddleware",
    "conversations.accounts.middleware.SecondFactorMiddleware",
]

ROOT_URLCONF = "chatsite.urls"
ASGI_APPLICATION = "chatsite.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "chatsite.context.site",
                "conversations.branding.context.branding",
                "conversations.accounts.context.passkeys",
                "conversations.access.context.signup",
            ]
        },
    }
]

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"


# --- Data ------------------------------------------------------------------------------------------------------

DATABASE_URL = env.str("DATABASE_URL", "")
if DATABASE_URL:
    DATABASES = {"default": env.dj_db_url("DATABASE_URL")}
    if DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
        # Replace a connection before use if the server has closed it.
        DATABASES["default"].update({"CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": True})
        DATABASES["default"]["OPTIONS"] = {
            # Notice within 15 to 25 seconds, not minutes, that the server has vanished.
            "connect_timeout": 5,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 15_000,
            **DATABASES["default"].get("OPTIONS", {}),
            # The last timeout makes the pool start over instead of waiting longer after each failure.
            "pool": {"min_size": 1, "max_size": 10, "timeout": 5, "reconnect_timeout": 5},
        }
else:
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(DATA_DIR / "chat.sqlite3")}}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # Immediate transactions wait for the lock. Others fail if a read turns into a write.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        **DATABASES["default"].get("OPTIONS", {}),
    }

# Each attempt costs a password hash, so nobody can try this many names before the first limits expire.
_cache_options = {"MAX_ENTRIES": 100_000}
REDIS_URL = env.str("REDIS_URL", "")
if REDIS_URL:
    # The default read timeout of redis-py 8 would close idle connections.
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": None}], "prefix": "chatsite"},
        }
    }
    CACHES = {
        "default": {
            "BACKEND": "chatsite.redis_cache.RedisOrLocalCache",
            "LOCATION": REDIS_URL,
            "KEY_PREFIX": "chatsite",
            "OPTIONS": _cache_options,
        }
    }
else:
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    CACHES = {"default": {"BACKEND": "chatsite.caches.LocalCache", "OPTIONS": _cache_options}}


# --- Language and time -----------------------------------------------------------------------------------------

LANGUAGE_CODE = "en"
LANGUAGES = [
    ("en", _("English")),
    ("zh-hans", _("Simplified Chinese")),
    ("zh-hant", _("Traditional Chinese")),
]
LOCALE_PATHS = [BASE_DIR / "locale"]
FORMAT_MODULE_PATH = "chatsite.formats"
USE_I18N = True
USE_THOUSAND_SEPARATOR = True
USE_TZ = True
TIME_ZONE = env.str("TIME_ZONE", "UTC")


# --- Static files ----------------------------------------------------------------------------------------------

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"},
}


# --- Security --------------------------------------------------------------------------------------------------

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "font-src": [SELF],
        "manifest-src": [SELF],
        # Chromium also checks redirects after a form is submitted, so sign-in providers are added below.
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = IS_HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if IS_HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = IS_HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$"]
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"


# --- Mail ------------------------------------------------------------------------------------------------------

# Without a server, such as submission://name:password@mail.example.org:587, email is written to the terminal.
_email = env.dj_email_url("EMAIL_URL", "console:")
if "EMAIL_BACKEND" not in _email:
    raise ImproperlyConfigured("EMAIL_URL must start with submission:, smtp:, console: or file:.")
EMAIL_BACKEND = _email["EMAIL_BACKEND"]
EMAIL_FILE_PATH = _email["EMAIL_FILE_PATH"]
EMAIL_HOST, EMAIL_PORT = _email["EMAIL_HOST"] or "localhost", _email["EMAIL_PORT"] or 25
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _email["EMAIL_HOST_USER"] or "", _email["EMAIL_HOST_PASSWORD"] or ""
EMAIL_USE_TLS, EMAIL_USE_SSL = _email["EMAIL_USE_TLS"], _email["EMAIL_USE_SSL"]
EMAIL_TIMEOUT = 10
if not IS_PRODUCTION and EMAIL_BACKEND == "django.core.mail.backends.smtp.EmailBackend":
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    EMAIL_FILE_PATH = str(DATA_DIR / "held-mails")
DEFAULT_FROM_EMAIL = SERVER_EMAIL = (
    env.str("DEFAULT_FROM_EMAIL", "") or f"chat@{_public.hostname or 'localhost'}"
)


# --- Logs ------------------------------------------------------------------------------------------------------

LOG_LEVEL = env.str("LOG_LEVEL", "INFO")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{asctime} {process} {levelname} {name}: {message}", "style": "{"}},
    "filters": {"repeats": {"()": "chatsite.logs.CollapseRepeats"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain", "filters": ["repeats"]}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "conversations": {"level": LOG_LEVEL},
        "django": {"handlers": ["console"], "level": "WARNING", "propagate": False},
        # Daphne would log a line per request and per frame, with addresses and sizes.
        "daphne": {"level": "WARNING"},
    },
}
