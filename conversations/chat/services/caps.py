"""Checks of a request against the limits of the site and of the model."""

from collections.abc import Sequence

from django.conf import settings

from conversations.catalogue.models import ChatModel
from conversations.chat.generation import prompt
from conversations.chat.models import Message
from conversations.limits import rules as limits
from conversations.llm import tokens


def check_message(text: str, *, model: ChatModel, max_tokens: int) -> None:
    """Check that a message is within the limits. Raises limits.LimitExceeded."""
    limits.check_input(
        text,
        max_chars=settings.CHAT_MAX_INPUT_CHARS,
        max_tokens=settings.CHAT_MAX_INPUT_TOKENS,
        count_tokens=lambda given: _count(given, model=model),
    )
    prompt.check_fits([(Message.Role.USER, text)], model=model, max_tokens=max_tokens)


def check_continuation(newest_first: Sequence[Message], *, model: ChatModel, max_tokens: int) -> None:
    """Check that the context window has space to continue an answer. Raises limits.WindowExceeded.

    `newest_first` holds the answer and the question above it.
    """
    texts = [(message.role, prompt.text_of(message)) for message in newest_first]
    prompt.check_fits([found for found in texts if found[1]], model=model, max_tokens=max_tokens)


def _count(text: str, *, model: ChatModel) -> int:
    counted = tokens.count(text, model=model.upstream_name)
    return limits.with_margin(counted.tokens, is_exact=counted.exact)
