"""The caps on what goes to a model, as pure functions: input length, max_tokens, and what of a conversation still fits.

Lengths are in characters (Unicode code points) or tokens, as the names say. Nothing here knows the database.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

# A count that is only estimated may be short of the model's own: SmolLM2 and Qwen were seen to count up to 1.39 times
# what o200k_base counts, most often below 1.25.
ESTIMATE_MARGIN = 1.25

# What the chat format adds to each message and to the whole, in tokens (OpenAI's cookbook, "How to count tokens").
MESSAGE_OVERHEAD_TOKENS = 4
REPLY_OVERHEAD_TOKENS = 3


class LimitExceeded(ValueError):
    """A cap was passed. The subclass says which one, `limit` where it lies, and `actual` what was given."""

    def __init__(self, *, limit: int, actual: int) -> None:
        super().__init__(f"{actual} is over the limit of {limit}")
        self.limit = limit
        self.actual = actual


class TooManyCharacters(LimitExceeded):
    """The text has more characters than the site takes."""


class TooManyTokens(LimitExceeded):
    """The text has more tokens than the site takes."""


class TooManyOutputTokens(LimitExceeded):
    """A longer answer was asked for than the site or the model gives."""


class WindowExceeded(LimitExceeded):
    """The newest message alone leaves no room for an answer in the model's context window."""


def check_input(text: str, *, max_chars: int, max_tokens: int, count_tokens: Callable[[str], int]) -> None:
    """Check one message of a user.

    The characters are looked at first, so that nobody makes the server count the tokens of a book.
    Raises TooManyCharacters or TooManyTokens.
    """
    if len(text) > max_chars:
        raise TooManyCharacters(limit=max_chars, actual=len(text))
    tokens = count_tokens(text)
    if tokens > max_tokens:
        raise TooManyTokens(limit=max_tokens, actual=tokens)


def output_cap(requested: int | None, *, site_cap: int, model_cap: int) -> int:
    """Return the max_tokens of an answer: what was asked for, and the cap itself where nothing was.

    Raises TooManyOutputTokens where more was asked for than the smaller of the two caps.
    """
    cap = min(site_cap, model_cap)
    if requested is None:
        return cap
    if requested > cap:
        raise TooManyOutputTokens(limit=cap, actual=requested)
    return requested


@dataclass(frozen=True, slots=True)
class Room:
    """What of a context window is left for the conversation, in tokens."""

    tokens: int

    @classmethod
    def of(cls, *, context_window: int, max_tokens: int, system_tokens: int) -> "Room":
        """Return what the answer and the system prompt leave free."""
        overhead = REPLY_OVERHEAD_TOKENS + (MESSAGE_OVERHEAD_TOKENS if system_tokens else 0)
        return cls(context_window - max_tokens - system_tokens - overhead)


def count_fitting(newest_first: Iterable[tuple[str, int]], *, room: Room) -> int:
    """Return how many of the newest messages fit, in whole turns.

    Each item is a role ("user" or "assistant") and a number of tokens. A turn begins with a message of the user, so
    what is sent never begins with an answer whose question is missing. Reads no further than what fits.
    Raises WindowExceeded where not even the newest turn does.
    """
    used = taken = whole = 0
    for role, tokens in newest_first:
        used += tokens + MESSAGE_OVERHEAD_TOKENS
        if used > room.tokens:
            if whole == 0:
                raise WindowExceeded(limit=max(0, room.tokens - MESSAGE_OVERHEAD_TOKENS), actual=used)
            break
        taken += 1
        if role == "user":
            whole = taken
    return whole
