"""The chat and its limits, and the review of reports."""

from environs import validate

from .environment import env

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
CHAT_SOCKETS_PER_USER = env.int("CHAT_SOCKETS_PER_USER", 20, validate=validate.Range(min=1))

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
