"""Counts tokens without a network: the only importer of tiktoken.

tiktoken downloads a vocabulary that it does not find in its cache folder, without a time limit. So the
vocabularies ship with the project (``vocabulary/``), `prepare` unpacks them into a cache folder, and nothing
here asks tiktoken for a vocabulary whose file has not just been verified. Where that fails, `count` estimates
instead of failing.

All functions may be called from any thread.
"""

import hashlib
import logging
import lzma
import os
import re
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import tiktoken

_log = logging.getLogger(__name__)

TOKENS_PER_MESSAGE: Final = 3
"""Tokens that each message costs beside its role and its text; see `count_messages`."""
TOKENS_PER_NAME: Final = 1
"""Tokens that a message's ``name`` costs beside the name's own."""
TOKENS_PER_REPLY: Final = 3
"""Tokens that a request costs once: they open the assistant's reply."""


@dataclass(frozen=True, slots=True)
class TokenCount:
    """A number of tokens, and whether the model itself would count the same."""

    tokens: int
    exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Vocabulary:
    """A vocabulary as tiktoken publishes it; vocabulary/README.md says where the values are from."""

    name: str
    cache_name: str  # The SHA-1 of the address that tiktoken would download from.
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
# gpt-oss adds special tokens to o200k_base; ordinary text is encoded alike, and only ordinary text is counted
# here.
_SAME_FOR_ORDINARY_TEXT: Final = {"o200k_harmony": "o200k_base"}

# Models for which OpenAI's cookbook compared its rule for messages with what the API charged.
_KNOWN_MESSAGE_RULE: Final = re.compile(r"gpt-(?:3\.5-turbo|4|4o)(?:-|$)")


class _State:
    """The folder in use and the encodings loaded so far, for the whole process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.cache_dir: Path | None = None
        self.encodings: dict[str, tiktoken.Encoding] = {}
        # Vocabularies that could not be installed, so that each count does not try (and log) again; `prepare`
        # forgets them.
        self.unavailable: set[str] = set()


_state = _State()


def prepare(cache_dir: Path) -> bool:
    """Unpack the shipped vocabularies into `cache_dir`, and say whether all are in place.

    Makes tiktoken read there, through the environment. Loads nothing. Cheap when the files are there already
    (they are only hashed), safe when several processes do it at once, and never raises: a folder that cannot
    be written is logged, and `count` then estimates.
    """
    with _state.lock:
        _state.cache_dir = cache_dir
        os.environ["TIKTOKEN_CACHE_DIR"] = str(cache_dir)
        _state.unavailable = {name for name in _VOCABULARIES if not _install(_VOCABULARIES[name], cache_dir)}
        return not _state.unavailable


def count(text: str, *, model: str) -> TokenCount:
    """Count the tokens of `text` for `model`, the upstream's name of it. Special tokens count as plain text.

    Exact for OpenAI's models. Others are counted with o200k_base, a fair estimate for English and a poor one
    for small models in other languages. Without vocabularies the estimate is a token for three UTF-8 bytes,
    which does not undercount prose in any language tried, but does undercount dense symbols (JSON, base64,
    joined emoji) by up to a half.

    The first call for a vocabulary loads it (0.4 s and 80 MB, or 0.1 s and 35 MB for cl100k_base); later ones
    take 0.05 to 0.2 µs a character. Never raises for any text.
    """
    name, exact = _vocabulary_of(model)
    encoding = _encoding(name)
    if encoding is None:
        return TokenCount(tokens=_estimate(text), exact=False)
    tokens = 0
    for piece, is_clean_cut in _pieces(text):
        tokens += len(encoding.encode_ordinary(piece))
        exact = exact and is_clean_cut
    return TokenCount(tokens=tokens, exact=exact)


def count_messages(messages: Iterable[Mapping[str, str]], *, model: str) -> TokenCount:
    """Count the prompt tokens of a chat request: the messages, OpenAI's overhead, and the reply's opening.

    The rule is that of OpenAI's cookbook, "How to count tokens with tiktoken" (`num_tokens_from_messages`).
    It is exact only for the families it was checked against there (gpt-3.5-turbo, gpt-4, gpt-4o); reasoning
    models and other vendors' chat templates add tokens of their own.
    """
    tokens = TOKENS_PER_REPLY
    exact = _KNOWN_MESSAGE_RULE.match(model) is not None
    for message in messages:
        tokens += TOKENS_PER_MESSAGE
        for key, value in message.items():
            counted = count(value, model=model)
            tokens += counted.tokens + (TOKENS_PER_NAME if key == "name" else 0)
            exact = exact and counted.exact
    return TokenCount(tokens=tokens, exact=exact)


def _vocabulary_of(model: str) -> tuple[str, bool]:
    """The vocabulary to count `model` with, and whether it is the model's own."""
    try:
        name = tiktoken.encoding_name_for_model(model)
    except KeyError:
        return _DEFAULT, False
    name = _SAME_FOR_ORDINARY_TEXT.get(name, name)
    return (name, True) if name in _VOCABULARIES else (_DEFAULT, False)


def _estimate(text: str) -> int:
    return -(-len(text.encode("utf-8", "surrogatepass")) // 3)


# --- Long texts ---------------------------------------------------------------------------------------------

# tiktoken's pattern matcher panics on a million spaces in a row, with an exception that `except Exception`
# does not catch, and its merging takes more than linear time on long runs without a word boundary (quadratic
# in some releases). Short pieces bound both, and the memory for the list of tokens as well.
_PIECE_CHARACTERS: Final = 8_192
_LOOK_BACK_CHARACTERS: Final = 512
# Both vocabularies always begin a new token between a letter or digit and a space or line break, and between
# a line break and a letter, and neither side's tokens depend on the other: a cut there changes no count.
_CLEAN_CUT: Final = re.compile(r"(?<=[^\W_])(?=[ \n])|(?<=[\r\n])(?=[^\W\d_])")


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """Cut `text` into pieces of bounded length; with each, whether the cut after it is harmless."""
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
    """The vocabulary, loaded now if it was not yet; None if it cannot be had without a download."""
    if (loaded := _state.encodings.get(name)) is not None:
        return loaded
    with _state.lock:
        if (loaded := _state.encodings.get(name)) is not None:
            return loaded
        if _state.cache_dir is None or name in _state.unavailable:
            return None
        # The file is verified again: hours may have passed since `prepare`, and tiktoken would replace a file
        # that is missing or damaged by a download.
        if not _install(_VOCABULARIES[name], _state.cache_dir):
            _state.unavailable.add(name)
            return None
        os.environ["TIKTOKEN_CACHE_DIR"] = str(_state.cache_dir)
        encoding = tiktoken.get_encoding(name)
        _state.encodings[name] = encoding
        return encoding


def _install(vocabulary: _Vocabulary, cache_dir: Path) -> bool:
    """See to it that the folder holds the vocabulary; False, and a log line, if that fails."""
    target = cache_dir / vocabulary.cache_name
    try:
        if target.exists() and _matches(target.read_bytes(), vocabulary):
            return True
        content = lzma.decompress(vocabulary.shipped.read_bytes())
        if not _matches(content, vocabulary):
            _log.error("The shipped vocabulary %s does not have the expected SHA-256.", vocabulary.name)
            return False
        cache_dir.mkdir(parents=True, exist_ok=True)
        _write_atomically(target, content)
    except (OSError, lzma.LZMAError) as error:
        _log.error("The vocabulary %s cannot be put into %s: %s.", vocabulary.name, cache_dir, error)
        return False
    return True


def _matches(content: bytes, vocabulary: _Vocabulary) -> bool:
    return hashlib.sha256(content).hexdigest() == vocabulary.sha256


def _write_atomically(target: Path, content: bytes) -> None:
    """Write a whole file or nothing: a process that looks meanwhile sees the old state or the new one."""
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f"{target.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        temporary.chmod(0o644)  # Public data; a second service account may share the folder.
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
