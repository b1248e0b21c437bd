"""Checks of a request against the limits of the site and of the model."""

from collections.abc import Sequence

from django.conf import settings

from conversations.catalogue.models import ChatModel
from conversations.chat.generation import prompt
from conversations.chat.models import Message
from conversations.limits import rules as limits
from conversations.llm import tokens


def check_message(text: str, *, model: ChatModel, max_tokens: int) -> tokens.TokenCount:
    """Check that a message is within the limits, and return its tokens. Raises limits.LimitExceeded."""
    limits.check_characters(text, limit=settings.CHAT_MAX_INPUT_CHARS)
    counted = tokens.count(text, model=model.upstream_name)
    limits.check_tokens(
        limits.with_margin(counted.tokens, is_exact=counted.exact), limit=settings.CHAT_MAX_INPUT_TOKENS
    )
    prompt.check_fits([(Message.Role.USER, counted)], model=model, max_tokens=max_tokens)
    return counted


def check_continuation(newest_first: Sequence[Message], *, model: ChatModel, max_tokens: int) -> None:
    """Check that the context window has space to continue an answer. Raises limits.WindowExceeded.

    `newest_first` holds the answer and the question above it.
    """
    sent = [message for message in newest_first if prompt.text_of(message)]
    counts = [(message.role, prompt.count_of(message, model=model)) for message in sent]
    prompt.check_fits(counts, model=model, max_tokens=max_tokens)
