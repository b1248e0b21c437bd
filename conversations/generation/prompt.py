"""What is sent to a model for one generation."""

from typing import Literal

from django.conf import settings

from conversations.llm.client import ChatRequest
from conversations.models import ChatModel, Generation, Message

from .end_user import end_user_id

CONTINUE = (
    "Your last answer was cut off. Go on from exactly where it stops, in the same language and format, "
    "without repeating anything and without any remark."
)


REMOVED = "[This answer was removed by the site's staff.]"


def text_of(message: Message) -> str:
    """Return what a model gets to read of a message: what was taken out of view is not sent anywhere any more."""
    return (message.shown_text or REMOVED) if message.is_hidden else message.text


def _parameter_name(model: ChatModel) -> Literal["max_tokens", "max_completion_tokens"]:
    if model.max_tokens_parameter == ChatModel.MaxTokensParameter.MAX_COMPLETION_TOKENS:
        return "max_completion_tokens"
    return "max_tokens"


def _end_user_of(generation: Generation) -> dict[str, str]:
    """Return the fields that tell the service who asks, without giving them away: two names of one thing over the years."""
    if generation.model.provider != ChatModel.Provider.OPENAI or not generation.model.sends_end_user_id:
        return {}
    identifier = end_user_id(generation.conversation.owner)
    return {"safety_identifier": identifier, "user": identifier}


def build_request(generation: Generation, *, answer: Message) -> ChatRequest:
    """Return the request for this generation of `answer`: system prompt, what of the branch is sent, and parameters.

    Two queries. Messages without text (an answer that failed) are left out: services refuse empty ones.
    """
    model = generation.model
    path = Message.objects.path_ids(answer.pk, limit=answer.depth + 1 - generation.trimmed_messages)
    branch = Message.objects.filter(pk__in=path).order_by("depth")
    messages = [{"role": found.role, "content": text} for found in branch if (text := text_of(found))]
    if settings.CHAT_SYSTEM_PROMPT:
        messages.insert(0, {"role": "system", "content": settings.CHAT_SYSTEM_PROMPT})
    if answer.text and not model.supports_prefill:
        messages.append({"role": "user", "content": CONTINUE})
    return ChatRequest(
        model=model.upstream_name,
        messages=messages,
        max_tokens=generation.max_tokens,
        max_tokens_parameter=_parameter_name(model),
        parameters={**generation.parameters, **_end_user_of(generation)},
    )
