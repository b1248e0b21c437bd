"""Settings of the project, read from the environment.

Every variable has a working default, so a bare checkout runs. If a value is invalid, the site does not start, and the error
names the variable. The table in README.md lists all variables, and a test compares the two.
"""

import os
import secrets
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _
from environs import Env, validate

env = Env()

BASE_DIR = Path(__file__).resolve().parent.parent


# --- Paths and addresses ---------------------------------------------------------------------------------------

DATA_DIR = Path(env.str("DATA_DIR", "var")).expanduser()
if not DATA_DIR.is_absolute():
    DATA_DIR = BASE_DIR / DATA_DIR
DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)

HOST = env.str("HOST", "127.0.0.1")
PORT = env.int("PORT", 8000, validate=validate.Range(min=0, max=65535))

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
    "daphne",
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


# --- Accounts --------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "chat"
LOGOUT_REDIRECT_URL = "account_login"

# How people sign up, unless an administrator has chosen otherwise in Django admin.
SIGNUP = env.str("SIGNUP", "open", validate=validate.OneOf(["open", "invitation", "approval", "closed"]))
GUESTS_PER_ADDRESS = env.int("GUESTS_PER_ADDRESS", 5, validate=validate.Range(min=1))

# Keys for pseudonymous user IDs, as id:secret, the current one first. Without any, the key is derived from SECRET_KEY.
END_USER_ID_KEYS: dict[str, str] = {}
_entries: list[str] = env.list("END_USER_ID_KEYS", [])
for _entry in _entries:
    _id, _colon, _secret = _entry.partition(":")
    if not _id.isalnum() or len(_id) > 8 or len(_secret) < 16:
        raise ImproperlyConfigured(
            "END_USER_ID_KEYS must be a list such as k2:secret,k1:older-secret. Secrets need at least 16 characters."
        )
    END_USER_ID_KEYS[_id] = _secret

ACCOUNT_ADAPTER = "conversations.access.adapters.AccountAdapter"
ACCOUNT_FORMS = {"signup": "conversations.access.adapters.SignupForm"}
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_EMAIL_CONFIRMATION_AUTHENTICATED_REDIRECT_URL = "/account/"
_code_rate = env.str("CODE_RATE_LIMIT", "20/m/ip,5/10m/key")
ACCOUNT_RATE_LIMITS = {
    "login": env.str("LOGIN_RATE_LIMIT", "30/m/ip"),
    "login_failed": env.str("LOGIN_FAILED_RATE_LIMIT", "10/m/ip,5/5m/key"),
    "signup": env.str("SIGNUP_RATE_LIMIT", "20/m/ip"),
    "request_login_code": _code_rate,
    "reset_password": _code_rate,
    "reset_password_from_key": "20/m/ip",
    "change_password": "5/m/user",
    "manage_email": "10/m/user",
    "reauthenticate": "10/m/user",
    # Added by this project, for second factors and devices.
    "manage_factors": "20/m/user",
    "manage_devices": "20/m/user",
}
# Codes sent by email. The three minutes that allauth gives are too short if an email is delayed.
ACCOUNT_LOGIN_BY_CODE_ENABLED = ACCOUNT_PASSWORD_RESET_BY_CODE_ENABLED = True
ACCOUNT_LOGIN_BY_CODE_TIMEOUT = ACCOUNT_PASSWORD_RESET_BY_CODE_TIMEOUT = 600
ACCOUNT_LOGIN_BY_CODE_MAX_ATTEMPTS = ACCOUNT_PASSWORD_RESET_BY_CODE_MAX_ATTEMPTS = 3
ACCOUNT_LOGIN_BY_CODE_SUPPORTS_RESEND = True
ACCOUNT_CHANGE_EMAIL = True
ACCOUNT_EMAIL_NOTIFICATIONS = True
# Never send email to people who have no account here.
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False

MFA_ADAPTER = "conversations.accounts.adapters.MFAAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_TOLERANCE = 1
MFA_REQUIRED_FOR_STAFF = env.bool("MFA_REQUIRED_FOR_STAFF", False)

# The number of our own proxies says which address in X-Forwarded-For is the client's. With 0, the header is ignored.
ALLAUTH_TRUSTED_PROXY_COUNT = env.int("TRUSTED_PROXIES", 0, validate=validate.Range(min=0))
if ALLAUTH_TRUSTED_PROXY_COUNT:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")


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


# --- Chat ------------------------------------------------------------------------------------------------------

OPENAI_API_KEY = env.str("OPENAI_API_KEY", "")
OPENAI_BASE_URL = env.str("OPENAI_BASE_URL", "").rstrip("/")
OPENAI_ORGANIZATION = env.str("OPENAI_ORGANIZATION", "")
OPENAI_PROJECT = env.str("OPENAI_PROJECT", "")
CHAT_MODEL = env.str("CHAT_MODEL", "gpt-4o-mini")

CHAT_SYSTEM_PROMPT = env.str("CHAT_SYSTEM_PROMPT", "You are a helpful assistant. Answer in Markdown.")
CHAT_MAX_INPUT_CHARS = env.int("CHAT_MAX_INPUT_CHARS", 16_000, validate=validate.Range(min=1, max=1_000_000))
# The longest message as a form: up to four bytes per character, each written as three (%F0).
DATA_UPLOAD_MAX_MEMORY_SIZE = max(262_144, 12 * CHAT_MAX_INPUT_CHARS + 4_096)
CHAT_MAX_INPUT_TOKENS = env.int("CHAT_MAX_INPUT_TOKENS", 8_000, validate=validate.Range(min=1))
CHAT_MAX_OUTPUT_TOKENS = env.int("CHAT_MAX_OUTPUT_TOKENS", 2_048, validate=validate.Range(min=1))
CHAT_SENDS_PER_MINUTE = env.int("CHAT_SENDS_PER_MINUTE", 30, validate=validate.Range(min=1))
CHAT_SENDS_PER_DAY = env.int("CHAT_SENDS_PER_DAY", 0, validate=validate.Range(min=0))
SITE_SENDS_PER_DAY = env.int("SITE_SENDS_PER_DAY", 0, validate=validate.Range(min=0))
CHAT_SOCKETS_PER_USER = env.int("CHAT_SOCKETS_PER_USER", 5, validate=validate.Range(min=1))

UPSTREAM_CONNECT_SECONDS = env.float("UPSTREAM_CONNECT_SECONDS", 5.0, validate=validate.Range(min=0.01))
UPSTREAM_FIRST_BYTE_SECONDS = env.float(
    "UPSTREAM_FIRST_BYTE_SECONDS", 60.0, validate=validate.Range(min=0.01)
)
UPSTREAM_IDLE_SECONDS = env.float("UPSTREAM_IDLE_SECONDS", 30.0, validate=validate.Range(min=0.01))
UPSTREAM_ANSWER_SECONDS = env.float("UPSTREAM_ANSWER_SECONDS", 300.0, validate=validate.Range(min=0.01))

# Where answers are generated: in the web process, or in processes started with `manage.py generate`.
GENERATION_RUNNER = env.str("GENERATION_RUNNER", "embedded", validate=validate.OneOf(["embedded", "worker"]))
GENERATION_CONCURRENCY = env.int("GENERATION_CONCURRENCY", 500, validate=validate.Range(min=1))
GENERATION_LEASE_SECONDS = env.float("GENERATION_LEASE_SECONDS", 30.0, validate=validate.Range(min=1.0))


# --- Reports and review ----------------------------------------------------------------------------------------

REPORTS_PER_HOUR = env.int("REPORTS_PER_HOUR", 10, validate=validate.Range(min=1))
APPEAL_DAYS = env.int("APPEAL_DAYS", 20, validate=validate.Range(min=0))
REVIEW_LEASE_MINUTES = env.int("REVIEW_LEASE_MINUTES", 10, validate=validate.Range(min=1))
REVIEW_REMINDER_HOURS = env.int("REVIEW_REMINDER_HOURS", 24, validate=validate.Range(min=0))


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


# --- Accounts: verification and sign-in providers --------------------------------------------------------------

# allauth verifies addresses by code if verification is mandatory, and by link if it is optional.
_verifications = ["", "none", "optional", "mandatory"]
EMAIL_VERIFICATION = env.str("EMAIL_VERIFICATION", "", validate=validate.OneOf(_verifications))
if not EMAIL_VERIFICATION:
    _mails_are_sent = EMAIL_BACKEND == "django.core.mail.backends.smtp.EmailBackend"
    EMAIL_VERIFICATION = "optional" if _mails_are_sent else "none"
ACCOUNT_EMAIL_VERIFICATION = EMAIL_VERIFICATION
_mandatory = EMAIL_VERIFICATION == "mandatory"
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = _mandatory
ACCOUNT_EMAIL_VERIFICATION_SUPPORTS_CHANGE = ACCOUNT_EMAIL_VERIFICATION_SUPPORTS_RESEND = True
ACCOUNT_SIGNUP_FIELDS = ["username*", "email*" if _mandatory else "email", "password1*", "password2*"]
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if IS_HTTPS else "http"
MFA_ALLOW_UNVERIFIED_EMAIL = not _mandatory

SOCIALACCOUNT_ADAPTER = "conversations.accounts.adapters.SocialAccountAdapter"
SOCIALACCOUNT_QUERY_EMAIL = True
SOCIALACCOUNT_PROVIDERS: dict[str, dict[str, list[dict[str, object]]]] = {}


def _add_provider(provider: str, origin: str, client_id: str, secret: str, **app: object) -> None:
    """Let people sign in with a provider if its keys are set."""
    if bool(client_id) != bool(secret):
        name = str(app.get("provider_id", provider)).upper()
        raise ImproperlyConfigured(f"Set both {name}_CLIENT_ID and {name}_CLIENT_SECRET, or neither.")
    if not client_id:
        return
    apps = SOCIALACCOUNT_PROVIDERS.setdefault(provider, {"APPS": []})["APPS"]
    apps.append({"client_id": client_id, "secret": secret, **app})
    CONTENT_SECURITY_POLICY["DIRECTIVES"]["form-action"].append(origin)


_add_provider(
    "google",
    "https://accounts.google.com",
    env.str("GOOGLE_CLIENT_ID", ""),
    env.str("GOOGLE_CLIENT_SECRET", ""),
    settings={"oauth_pkce_enabled": True},
)
_add_provider(
    "openid_connect",
    "https://www.linkedin.com",
    env.str("LINKEDIN_CLIENT_ID", ""),
    env.str("LINKEDIN_CLIENT_SECRET", ""),
    provider_id="linkedin",
    name="LinkedIn",
    settings={"server_url": "https://www.linkedin.com/oauth"},
)
_add_provider(
    "facebook",
    "https://www.facebook.com",
    env.str("FACEBOOK_CLIENT_ID", ""),
    env.str("FACEBOOK_CLIENT_SECRET", ""),
)
OIDC_NAME = env.str("OIDC_NAME", "Single sign-on")
OIDC_SERVER_URL = env.str("OIDC_SERVER_URL", "").rstrip("/")
OIDC_CLIENT_ID = env.str("OIDC_CLIENT_ID", "")
_oidc = urlsplit(OIDC_SERVER_URL)
if OIDC_CLIENT_ID and (_oidc.scheme not in {"http", "https"} or not _oidc.hostname):
    raise ImproperlyConfigured("OIDC_SERVER_URL must be a complete address, such as https://id.example.org.")
_add_provider(
    "openid_connect",
    f"{_oidc.scheme}://{_oidc.netloc}",
    OIDC_CLIENT_ID,
    env.str("OIDC_CLIENT_SECRET", ""),
    provider_id="oidc",
    name=OIDC_NAME,
    settings={"server_url": OIDC_SERVER_URL, "oauth_pkce_enabled": True},
)


# --- Logs ------------------------------------------------------------------------------------------------------

LOG_LEVEL = env.str("LOG_LEVEL", "INFO")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
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

env.seal()
