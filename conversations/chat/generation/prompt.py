"""Build the request for a generation. Only this module decides which messages fit into the context window."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from django.conf import settings

from conversations.catalogue.models import ChatModel
from conversations.chat.models import Generation, Message, branches
from conversations.limits import rules as limits
from conversations.llm import tokens
from conversations.llm.chat import ChatMessage, ChatRequest

from .pseudonymous_id import pseudonymous_id

CONTINUE = (
    "Your last answer was cut off. Continue exactly where it stops, in the same language and format, "
    "without repeating anything or adding any comment."
)
REMOVED = "[This answer was removed by the site's staff.]"

# Limits what one answer reads from the database. No current model's context window holds more messages.
_MAX_MESSAGES_READ = 2_000
_SLICE = 50


def text_of(message: Message) -> str:
    """Return the text of a message as a model receives it. The text of hidden messages is never sent."""
    return (message.shown_text or REMOVED) if message.is_hidden else message.text


def _parameter_name(model: ChatModel) -> Literal["max_tokens", "max_completion_tokens"]:
    if model.max_tokens_parameter == ChatModel.MaxTokensParameter.MAX_COMPLETION_TOKENS:
        return "max_completion_tokens"
    return "max_tokens"


def _pseudonymous_id_of(generation: Generation) -> dict[str, str]:
    """Return the fields with the pseudonymous user ID. OpenAI has renamed the field, so both names are sent."""
    if generation.model.provider != ChatModel.Provider.OPENAI or not generation.model.sends_pseudonymous_id:
        return {}
    identifier = pseudonymous_id(generation.conversation.owner)
    return {"safety_identifier": identifier, "user": identifier}


def count_of(message: Message, *, model: ChatModel) -> tokens.TokenCount:
    """Return the tokens of a message's text as this model receives it, counting them only if the message has no count."""
    if message.token_count is not None and not message.is_hidden:
        known = tokens.known_count(
            message.token_count, vocabulary=message.token_vocabulary, model=model.upstream_name
        )
        if known is not None:
            return known
    return tokens.count(text_of(message), model=model.upstream_name)


def count_fields(counted: tokens.TokenCount | None) -> dict[str, Any]:
    """Return the fields of a message that keep its number of tokens for `count_of`, empty if it can't be kept."""
    if counted is None or not counted.vocabulary:
        return {"token_count": None, "token_vocabulary": ""}
    return {"token_count": counted.tokens, "token_vocabulary": counted.vocabulary}


def check_fits(
    newest_first: Iterable[tuple[str, tokens.TokenCount]], *, model: ChatModel, max_tokens: int
) -> None:
    """Check that the newest turn fits along with the system prompt and the answer. Raises limits.WindowExceeded.

    Each item is a role and the tokens of a text. If the first item is an answer, it is going to be continued.
    """
    counts = list(newest_first)
    is_continued = bool(counts) and counts[0][0] == Message.Role.ASSISTANT
    frame = _frame(model, is_continued=is_continued)
    sizes = [(role, _size(role, counted, model=model)) for role, counted in counts]
    limits.count_fitting(sizes, budget=_token_budget(model, max_tokens=max_tokens, frame=frame))


def prepare(generation: Generation) -> ChatRequest:
    """Return the request for a claimed generation, and store how many older messages it leaves out.

    Makes one query per fifty messages. Raises limits.WindowExceeded if even the newest turn no longer fits.
    """
    request, trimmed = build_request(generation)
    if trimmed != generation.trimmed_messages:
        Generation.objects.filter(pk=generation.pk).update(trimmed_messages=trimmed)
        generation.trimmed_messages = trimmed
    return request


def build_request(generation: Generation) -> tuple[ChatRequest, int]:
    """Return the request for a generation, and how many of the oldest messages on its branch don't fit.

    The request holds the system prompt, as many whole turns of the branch as fit, and the parameters. Messages without
    text, such as failed answers, are left out because providers reject empty ones. Raises limits.WindowExceeded.
    """
    model, answer = generation.model, generation.message
    frame = _frame(model, is_continued=bool(answer.text))
    budget = _token_budget(model, max_tokens=generation.max_tokens, frame=frame)
    read: list[Message] = []
    fitting = limits.count_fitting(_sizes(answer, model=model, read=read), budget=budget)
    sent = read[:fitting][::-1]
    messages = [ChatMessage.of_text(found.role, text_of(found)) for found in sent]
    return ChatRequest(
        model=model.upstream_name,
        messages=[*frame.before, *messages, *frame.after],
        max_tokens=generation.max_tokens,
        max_tokens_parameter=_parameter_name(model),
        parameters={**generation.parameters, **_pseudonymous_id_of(generation)},
    ), (sent[0].depth if sent else 0)


@dataclass(frozen=True, slots=True)
class _Frame:
    """The messages sent before and after those of the branch."""

    before: list[ChatMessage]
    after: list[ChatMessage]


def _frame(model: ChatModel, *, is_continued: bool) -> _Frame:
    prompt = settings.CHAT_SYSTEM_PROMPT
    return _Frame(
        before=[ChatMessage.of_text("system", prompt)] if prompt else [],
        after=[ChatMessage.of_text("user", CONTINUE)] if is_continued and not model.supports_prefill else [],
    )


def _token_budget(model: ChatModel, *, max_tokens: int, frame: _Frame) -> int:
    """Return how many tokens of the context window are left for the branch."""
    framing = tokens.count_messages([*frame.before, *frame.after], model=model.upstream_name)
    return model.context_window - max_tokens - limits.with_margin(framing.tokens, is_exact=framing.exact)


def _size(role: str, counted: tokens.TokenCount, *, model: ChatModel) -> int:
    """Return how many tokens of the context window a message takes."""
    whole = tokens.count_in_message(role, counted, model=model.upstream_name)
    return limits.with_margin(whole.tokens, is_exact=whole.exact)


def _sizes(answer: Message, *, model: ChatModel, read: list[Message]) -> Iterator[tuple[str, int]]:
    """Yield role and size of a branch's messages that have text, newest first, adding each message to `read`.

    Reads in batches, so that a long conversation is read only as far as needed.
    """
    tip: int | None = answer.pk
    for _start in range(0, _MAX_MESSAGES_READ, _SLICE):
        messages = branches.branch_messages(tip, limit=_SLICE)
        for message in messages:
            if text_of(message):
                read.append(message)
                yield message.role, _size(message.role, count_of(message, model=model), model=model)
        tip = messages[-1].parent_id if messages else None
