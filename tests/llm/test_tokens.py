"""Tests that token counts are correct, take limited time for any text, and never open a socket."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from conversations.llm import tokens
from conversations.llm.chat import ChatMessage
from conversations.llm.tokens import TokenCount, count, count_messages, prepare

ROOT = Path(__file__).resolve().parents[2]
O200K_FILE = "fb374d419588a4632f3f557e76b4b70aebbca790"
CL100K_FILE = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"

SENTENCES = (
    "The meeting has been moved to Thursday, so please send the figures before noon.",
    "Could you explain how photosynthesis works, in words a child would understand?",
    "Der Vertrag tritt erst in Kraft, wenn beide Seiten unterschrieben haben.",
    "Où se trouve la gare la plus proche, et à quelle heure part le dernier train ?",
    "Пожалуйста, напишите краткое содержание этой статьи на русском языке.",
    "请用简单的语言解释一下光合作用是怎样进行的,谢谢。",
    "会議は木曜日に変更になりましたので、正午までに資料を送ってください。",
    "회의가 목요일로 변경되었으니 정오까지 자료를 보내 주세요.",
    "يرجى كتابة ملخص قصير لهذا المقال باللغة العربية.",
    "कृपया इस लेख का संक्षिप्त सारांश हिंदी में लिखिए।",
    "โปรดเขียนสรุปสั้น ๆ ของบทความนี้เป็นภาษาไทย",
    "Congratulations, that is wonderful news! 🎉🎉 See you all on Friday 😀",
    "def total_price(items):\n    return sum(item.price * item.quantity for item in items)\n",
)
prose = st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=8).map("\n".join)


@pytest.fixture(scope="module", autouse=True)
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A process with the vocabularies installed, whichever tests ran before."""
    folder = tmp_path_factory.mktemp("vocabularies")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "_state", tokens._State())
        patch.setenv("TIKTOKEN_CACHE_DIR", "unset")
        assert prepare(folder)
        yield folder


def estimate(text: str) -> TokenCount:
    """Return the result of `count` in a process without vocabularies."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "_state", tokens._State())
        return count(text, model="gpt-4o")


def whole(text: str, *, encoding: str = "o200k_base") -> int:
    return len(tiktoken.get_encoding(encoding).encode_ordinary(text))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-4o", TokenCount(8, exact=True)),
        ("gpt-4o-mini-2024-07-18", TokenCount(8, exact=True)),
        ("gpt-5.1", TokenCount(8, exact=True)),
        ("ft:gpt-4o:acme::abc123", TokenCount(8, exact=True)),
        ("gpt-oss-20b", TokenCount(8, exact=True)),
        ("gpt-4", TokenCount(9, exact=True)),
        ("gpt-3.5-turbo", TokenCount(9, exact=True)),
        ("text-davinci-003", TokenCount(8, exact=False)),
        ("llama-3.1-8b", TokenCount(8, exact=False)),
        ("", TokenCount(8, exact=False)),
    ],
)
def test_counts_use_the_models_vocabulary_or_are_marked_as_estimates(
    model: str, expected: TokenCount
) -> None:
    # OpenAI's cookbook states these counts for the text: 8 tokens in o200k_base, 9 in cl100k_base.
    assert count("お誕生日おめでとう", model=model) == expected


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4", "unknown"])
@pytest.mark.parametrize(
    ("text", "least"),
    [
        ("", 0),
        ("<|endoftext|>", 3),
        ("<|im_start|>system", 3),
        ("\ud83d", 1),
        ("a\udfffb", 2),
        ("\0", 1),
        ("\0" * 9_000, 100),
    ],
)
def test_no_text_is_refused(model: str, text: str, least: int) -> None:
    assert count(text, model=model).tokens >= least
    assert estimate(text).tokens >= 1 or not text


def test_message_counts_follow_openais_rule() -> None:
    messages = [ChatMessage.of_text("system", "hello world"), ChatMessage.of_text("user", "hello")]
    # 3 for the reply; 3 + 1 + 2 for the first message; 3 + 1 + 1 for the second.
    assert count_messages(messages, model="gpt-4") == TokenCount(3 + 6 + 5, exact=True)
    assert count_messages([], model="gpt-4o") == TokenCount(3, exact=True)


@pytest.mark.parametrize("model", ["gpt-5", "o3", "gpt-oss-20b", "smollm2"])
def test_message_counts_are_estimates_for_models_the_rule_was_not_tested_on(model: str) -> None:
    assert not count_messages([ChatMessage.of_text("user", "hello")], model=model).exact


# --- Long texts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4"])
@pytest.mark.parametrize("character", [" ", "\t", "\u2028", "a", "漢", "😀"])
def test_a_million_times_one_character_is_counted(model: str, character: str) -> None:
    # tiktoken itself panics on so many spaces, so scale up the count of a shorter run.
    encoding = "o200k_base" if model == "gpt-4o" else "cl100k_base"
    expected = whole(character * 8_192, encoding=encoding) * 1_100_000 / 8_192
    assert count(character * 1_100_000, model=model).tokens == pytest.approx(expected, rel=0.01)


@given(words=st.lists(st.sampled_from((*" \n\r\t.,'7Aé漢🎉", *SENTENCES)), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize(("model", "encoding"), [("gpt-4o", "o200k_base"), ("gpt-4", "cl100k_base")])
def test_only_cuts_marked_as_inexact_change_the_count(model: str, encoding: str, words: list[str]) -> None:
    text = "".join(words)
    text *= 20_000 // len(text) + 1
    counted = count(text, model=model)
    if counted.exact:
        assert counted.tokens == whole(text, encoding=encoding)
    else:
        assert abs(counted.tokens - whole(text, encoding=encoding)) <= 20


@given(text=st.text(min_size=1, max_size=50), repeat=st.integers(min_value=1, max_value=1_000))
@settings(max_examples=100, deadline=None)
def test_pieces_have_a_limited_length_and_lose_nothing(text: str, repeat: int) -> None:
    pieces = [piece for piece, _ in tokens._pieces(text * repeat)]
    assert "".join(pieces) == text * repeat
    assert max(map(len, pieces)) <= tokens._PIECE_CHARACTERS


def test_prose_is_cut_without_changing_the_count() -> None:
    text = "\n".join(SENTENCES) * 50
    assert len(text) > 3 * tokens._PIECE_CHARACTERS
    assert count(text, model="gpt-4o") == TokenCount(whole(text), exact=True)


# --- Without vocabularies -----------------------------------------------------------------------------------


@given(text=prose)
@settings(max_examples=100, deadline=None)
def test_the_estimate_never_undercounts_prose(text: str) -> None:
    guess = estimate(text)
    assert not guess.exact
    assert guess.tokens >= count(text, model="gpt-4o").tokens


@given(text=st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_the_estimate_is_at_least_a_third_of_the_real_count(text: str) -> None:
    assert count(text, model="gpt-4o").tokens <= 3 * estimate(text).tokens


# --- The cache folder ---------------------------------------------------------------------------------------

PREPARE_AND_COUNT = """
import json, sys
from pathlib import Path

def refuse(event, arguments):
    if event.startswith("socket."):
        raise RuntimeError(f"A socket was used: {event}")

from conversations.llm import tokens
sys.addaudithook(refuse)
folder = Path(sys.argv[1])
before = tokens.count("hello world", model="gpt-4o")
prepared = tokens.prepare(folder)
for name in sys.argv[2:]:
    (folder / name).write_bytes(b"damaged")
after = [tokens.count("hello world", model=model) for model in ("gpt-4o", "gpt-4", "unknown", "davinci")]
print(json.dumps([prepared, [[c.tokens, c.exact] for c in (before, *after)]]))
"""


def start(folder: Path, *damage: str) -> "subprocess.Popen[str]":
    """In a new process where opening a socket is an error: prepare, damage the files named in `damage`, then count."""
    environment = {name: value for name, value in os.environ.items() if name != "TIKTOKEN_CACHE_DIR"}
    return subprocess.Popen(
        [sys.executable, "-c", PREPARE_AND_COUNT, str(folder), *damage],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result(process: "subprocess.Popen[str]") -> object:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return json.loads(out)


def test_an_unwritable_folder_leads_to_estimates_instead_of_a_download(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert result(start(tmp_path / "file" / "cache")) == [False, [[4, False]] * 5]


def test_vocabularies_damaged_after_prepare_are_restored_without_a_download(tmp_path: Path) -> None:
    counts = [[4, False], [2, True], [2, True], [2, False], [2, False]]
    assert result(start(tmp_path, O200K_FILE, CL100K_FILE)) == [True, counts]


def test_several_processes_may_prepare_one_folder_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there" / "yet"
    for process in [start(folder) for _ in range(4)]:
        assert result(process) == [True, [[4, False], [2, True], [2, True], [2, False], [2, False]]]
    assert sorted(path.name for path in folder.iterdir()) == [CL100K_FILE, O200K_FILE]


def test_preparing_again_keeps_good_files_and_replaces_damaged_ones(prepared: Path) -> None:
    kept = (prepared / CL100K_FILE).stat()
    (prepared / O200K_FILE).write_bytes(b"damaged")
    assert prepare(prepared)
    digest = hashlib.sha256((prepared / O200K_FILE).read_bytes()).hexdigest()
    assert digest == "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
    assert (prepared / CL100K_FILE).stat() == kept
    assert os.environ["TIKTOKEN_CACHE_DIR"] == str(prepared)


def test_the_first_count_may_come_from_several_threads(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "_state", tokens._State())
    assert prepare(prepared)
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda _: count("hello world", model="gpt-4o"), range(64)))
    assert counts == [TokenCount(2, exact=True)] * 64


def test_the_notice_states_the_hashes_of_the_included_files() -> None:
    folder = Path(tokens.__file__).parent / "vocabulary"
    notice = (folder / "README.md").read_text()
    files = sorted(folder.glob("*.xz"))
    assert len(files) == 2
    for file in files:
        assert hashlib.sha256(file.read_bytes()).hexdigest() in notice
