"""Count tokens offline. No other module imports tiktoken.

If tiktoken doesn't find a vocabulary in its cache folder, it downloads it, with no time limit. So the project includes
the vocabularies (``vocabulary/``), `prepare` unpacks them into a cache folder, and this module asks tiktoken only for
vocabularies whose files it has just verified. If that fails, `count` returns an estimate.

All functions are thread-safe.
"""

import functools
import hashlib
import logging
import lzma
import os
import re
import tempfile
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import tiktoken
from tiktoken_ext.openai_public import ENCODING_CONSTRUCTORS

from conversations.llm.chat.request import ChatMessage

_log = logging.getLogger(__name__)

TOKENS_PER_MESSAGE: Final = 3
"""Tokens that each message costs in addition to its role and text; see `count_messages`."""
TOKENS_PER_REPLY: Final = 3
"""Tokens that open the assistant's reply, once per request."""


@dataclass(frozen=True, slots=True)
class TokenCount:
    """A number of tokens, and whether it is exact for the model."""

    tokens: int
    exact: bool
    vocabulary: str = field(default="", compare=False)
    """The vocabulary of the count if it can be kept for later, see `known_count`, else an empty string."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Vocabulary:
    """A vocabulary published for tiktoken. vocabulary/README.md gives the source of the values."""

    name: str
    cache_name: str  # The SHA-1 of the URL that tiktoken would download it from.
    sha256: str

    @property
    def shipped(self) -> Path:
        return Path(__file__).parent / "vocabulary" / f"{self.name}.tiktoken.xz"


_DEFAULT: Final = "o200k_base"
_VOCABULARIES: Final = {
    vocabulary.name: vocabulary
    for vocabulary in (
        _Vocabulary(
            name="o200k_base",
            cache_name="fb374d419588a4632f3f557e76b4b70aebbca790",
            sha256="446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        ),
        _Vocabulary(
            name="cl100k_base",
            cache_name="9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
            sha256="223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        ),
    )
}
# gpt-oss adds special tokens to o200k_base but encodes ordinary text alike, and only ordinary text is counted here.
_SAME_FOR_ORDINARY_TEXT: Final = {"o200k_harmony": "o200k_base"}

# Models for which OpenAI's cookbook compared its rule for messages with the tokens that the API charged.
_KNOWN_MESSAGE_RULE: Final = re.compile(r"gpt-(?:3\.5-turbo|4|4o)(?:-|$)")


class _State:
    """The folder in use and the encodings loaded so far, for the whole process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.cache_dir: Path | None = None
        self.encodings: dict[str, tiktoken.Encoding] = {}
        # Vocabularies that couldn't be installed. They aren't tried (and logged) again until the next `prepare`.
        self.unavailable: set[str] = set()


_state = _State()


def prepare(cache_dir: Path) -> bool:
    """Unpack the included vocabularies into `cache_dir`, and return whether all are in place.

    Also points tiktoken to this folder through the environment. Loads nothing, is cheap if the files exist (it only
    hashes them), is safe to run in several processes at once, and never raises: if the folder can't be written, this is
    logged and `count` returns estimates.
    """
    _count_role.cache_clear()
    with _state.lock:
        _state.cache_dir = cache_dir
        os.environ["TIKTOKEN_CACHE_DIR"] = str(cache_dir)
        _state.unavailable = {name for name in _VOCABULARIES if not _install(_VOCABULARIES[name], cache_dir)}
        return not _state.unavailable


def count(text: str, *, model: str) -> TokenCount:
    """Count the tokens of `text` for `model`, given by its upstream name. Special tokens count as plain text.

    The count is exact for OpenAI's models. Other models are counted with o200k_base, a fair estimate for English and a
    poor one for small models in other languages. Without vocabularies, the estimate is one token per three UTF-8 bytes.
    This doesn't undercount prose in any language tried, but undercounts dense symbols (JSON, base64, joined emoji) by
    up to half.

    The first call for a vocabulary loads it (0.4 s and 45 MB, or 0.1 s and 20 MB for cl100k_base); later calls take
    0.05 to 0.2 µs per character. Never raises for any text.
    """
    name, exact = _vocabulary_of(model)
    encoding = _encoding(name)
    if encoding is None:
        return TokenCount(tokens=_estimate(text), exact=False)
    tokens, is_clean = 0, True
    for piece, is_clean_cut in _pieces(text):
        tokens += len(encoding.encode_ordinary(piece))
        is_clean = is_clean and is_clean_cut
    return TokenCount(tokens=tokens, exact=exact and is_clean, vocabulary=name if is_clean else "")


def known_count(tokens: int, *, vocabulary: str, model: str) -> TokenCount | None:
    """Return a count that was made earlier with this vocabulary, or None if `model` is counted with another."""
    name, exact = _vocabulary_of(model)
    return TokenCount(tokens=tokens, exact=exact, vocabulary=name) if name == vocabulary else None


def count_messages(messages: Iterable[ChatMessage], *, model: str) -> TokenCount:
    """Count the prompt tokens of a chat request: the messages, OpenAI's overhead, and the opening of the reply.

    Uses the rule from OpenAI's cookbook, "How to count tokens with tiktoken" (`num_tokens_from_messages`). It is exact
    only for the families that the cookbook tested (gpt-3.5-turbo, gpt-4, gpt-4o). Reasoning models and other vendors'
    chat templates add more tokens.
    """
    counts = [count_message(message, model=model) for message in messages]
    return TokenCount(
        tokens=TOKENS_PER_REPLY + sum(counted.tokens for counted in counts),
        exact=_KNOWN_MESSAGE_RULE.match(model) is not None and all(counted.exact for counted in counts),
    )


def count_message(message: ChatMessage, *, model: str) -> TokenCount:
    """Count the tokens that one message adds to a chat request. Exact if its texts are counted exactly."""
    return count_in_message(message.role, count(message.text, model=model), model=model)


def count_in_message(role: str, counted: TokenCount, *, model: str) -> TokenCount:
    """Return the tokens that a message with this role and this count of its text adds to a chat request."""
    of_role = _count_role(role, model)
    return TokenCount(
        tokens=TOKENS_PER_MESSAGE + of_role.tokens + counted.tokens, exact=of_role.exact and counted.exact
    )


@functools.lru_cache(maxsize=64)
def _count_role(role: str, model: str) -> TokenCount:
    return count(role, model=model)


@functools.lru_cache(maxsize=64)
def _vocabulary_of(model: str) -> tuple[str, bool]:
    """Return the vocabulary used to count tokens for `model`, and whether it is the model's own."""
    try:
        name = tiktoken.encoding_name_for_model(model)
    except KeyError:
        return _DEFAULT, False
    name = _SAME_FOR_ORDINARY_TEXT.get(name, name)
    return (name, True) if name in _VOCABULARIES else (_DEFAULT, False)


def _estimate(text: str) -> int:
    return -(-len(text.encode("utf-8", "surrogatepass")) // 3)


# --- Long texts ---------------------------------------------------------------------------------------------

# tiktoken's pattern matcher panics on a million spaces in a row, with an exception that `except Exception` doesn't
# catch. Its merging takes superlinear time on long runs without a word boundary, quadratic in some releases. Short
# pieces limit both, as well as the memory for the tokens.
_PIECE_CHARACTERS: Final = 8_192
_LOOK_BACK_CHARACTERS: Final = 512
# In both vocabularies a token always ends between a letter or digit and a space or line break, and between a line
# break and a letter, and the tokens on either side don't affect each other. Cutting there doesn't change the count.
_CLEAN_CUT: Final = re.compile(r"(?<=[^\W_])(?=[ \n])|(?<=[\r\n])(?=[^\W\d_])")


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """Cut `text` into pieces of limited length, and yield each with whether the cut after it keeps the count exact."""
    start = 0
    while len(text) - start > _PIECE_CHARACTERS:
        end = start + _PIECE_CHARACTERS
        cuts = [match.end() for match in _CLEAN_CUT.finditer(text, end - _LOOK_BACK_CHARACTERS, end)]
        if cuts:
            end = cuts[-1]
        yield text[start:end], bool(cuts)
        start = end
    yield text[start:], True


# --- Vocabulary files ---------------------------------------------------------------------------------------


def _encoding(name: str) -> tiktoken.Encoding | None:
    """Return the vocabulary, loading it if needed, or None if it isn't available without a download."""
    if (loaded := _state.encodings.get(name)) is not None:
        return loaded
    with _state.lock:
        if (loaded := _state.encodings.get(name)) is not None:
            return loaded
        if _state.cache_dir is None or name in _state.unavailable:
            return None
        # Verify the file again: hours may have passed since `prepare`, and tiktoken replaces missing or damaged files
        # by downloading them.
        if not _install(_VOCABULARIES[name], _state.cache_dir):
            _state.unavailable.add(name)
            return None
        os.environ["TIKTOKEN_CACHE_DIR"] = str(_state.cache_dir)
        arguments = ENCODING_CONSTRUCTORS[name]()
        encoding = _state.encodings[name] = tiktoken.Encoding(**arguments)
        # Only the core counts, and it has a copy. As Python objects, the same tokens would take another 30 MB.
        arguments["mergeable_ranks"].clear()
        return encoding


def _install(vocabulary: _Vocabulary, cache_dir: Path) -> bool:
    """Ensure that the folder holds the vocabulary. Logs a failure and returns False."""
    target = cache_dir / vocabulary.cache_name
    try:
        if target.exists() and _matches(target.read_bytes(), vocabulary):
            return True
        content = lzma.decompress(vocabulary.shipped.read_bytes())
        if not _matches(content, vocabulary):
            _log.error("The included vocabulary %s does not have the expected SHA-256.", vocabulary.name)
            return False
        cache_dir.mkdir(parents=True, exist_ok=True)
        _write_atomically(target, content)
    except (OSError, lzma.LZMAError) as error:
        _log.error("Could not install the vocabulary %s in %s: %s.", vocabulary.name, cache_dir, error)
        return False
    return True


def _matches(content: bytes, vocabulary: _Vocabulary) -> bool:
    return hashlib.sha256(content).hexdigest() == vocabulary.sha256


def _write_atomically(target: Path, content: bytes) -> None:
    """Write a complete file in one step, so that other processes see either the old or the new content."""
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f"{target.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        temporary.chmod(0o644)  # Public data, and a second service account may share the folder.
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
