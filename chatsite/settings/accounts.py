"""How people sign up and sign in."""

from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from environs import validate

from .environment import env
from .site import CONTENT_SECURITY_POLICY, EMAIL_BACKEND, IS_HTTPS

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


# --- Verification and sign-in providers -----------------------------------------------------------------------

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
