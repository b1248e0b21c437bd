"""What is read out of the bytes of an answer, without a connection."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversations.llm.answer import Answer, Delta, Event, Finish, Usage, mend_surrogates
from conversations.llm.errors import UpstreamErrorCode


def make(*, is_stream: bool = True, max_line_bytes: int = 10_000, max_answer_bytes: int = 10_000) -> Answer:
    return Answer(is_stream=is_stream, max_line_bytes=max_line_bytes, max_answer_bytes=max_answer_bytes)


def read(answer: Answer, *reads: bytes) -> list[Event]:
    return [event for data in reads for event in answer.feed(data)] + answer.end()


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def chunk(text: object = None, *, finish: object = None, **fields: object) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return sse({"choices": [choice], **fields})


def sse(content: object) -> bytes:
    return b"data: " + orjson.dumps(content) + b"\n\n"


DONE = b"data: [DONE]\n\n"
USAGE = sse({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}})


def test_reads_text_then_the_reason_then_the_usage_that_comes_after_it():
    answer = make()
    events = read(answer, chunk("Hel"), chunk("lo"), chunk(finish="stop"), USAGE, DONE)
    assert events == [Delta("Hel"), Delta("lo"), Finish("stop"), Usage(3, 2)]
    assert answer.failure is None


def test_the_last_of_several_usages_counts_and_comes_last():
    early = chunk("Hi", usage={"prompt_tokens": 3, "completion_tokens": 1})
    assert read(make(), early, chunk(finish="length"), USAGE) == [Delta("Hi"), Finish("length"), Usage(3, 2)]


@pytest.mark.parametrize(
    "usage",
    [
        None,
        5,
        {},
        {"prompt_tokens": 3},
        {"prompt_tokens": -1, "completion_tokens": 2},
        {"prompt_tokens": 3, "completion_tokens": 2**31},
        {"prompt_tokens": "3", "completion_tokens": 2},
        {"prompt_tokens": True, "completion_tokens": 2},
    ],
)
def test_a_usage_that_makes_no_sense_is_none(usage: object):
    events = read(make(), chunk("Hi", finish="stop"), sse({"choices": [], "usage": usage}), DONE)
    assert events == [Delta("Hi"), Finish("stop")]


def test_done_without_a_reason_is_an_end_with_an_unknown_one():
    answer = make()
    assert read(answer, chunk("Hi"), DONE) == [Delta("Hi"), Finish("")]
    assert answer.failure is None


@pytest.mark.parametrize("reason", ["\0", "x" * 33, "Because I said so.", "stöp", 7, {"type": "stop"}])
def test_a_reason_that_is_no_word_is_an_unknown_one(reason: object):
    assert read(make(), chunk("Hi", finish=reason), DONE) == [Delta("Hi"), Finish("")]


def test_a_reason_without_done_is_an_end():
    answer = make()
    assert read(answer, chunk("Hi", finish="stop")) == [Delta("Hi"), Finish("stop")]
    assert answer.failure is None


@pytest.mark.parametrize("stream", [b"", chunk("Hi"), b": a comment\n\n", sse({"choices": []})])
def test_neither_a_reason_nor_done_is_an_interruption(stream: bytes):
    answer = make()
    read(answer, stream)
    assert answer.failure is not None
    assert answer.failure.code is UpstreamErrorCode.INTERRUPTED


def test_nothing_after_done_is_read():
    assert read(make(), chunk("Hi", finish="stop") + DONE + chunk("more")) == [Delta("Hi"), Finish("stop")]


@pytest.mark.parametrize(
    "skipped",
    [
        chunk(""),
        chunk(None),
        sse({"choices": [{"index": 0, "delta": {"role": "assistant"}}]}),
        sse({"choices": [{"index": 0, "delta": {"reasoning_content": "Let me think."}}]}),
        sse({"choices": [{"index": 0, "delta": None}]}),
        sse({"choices": [{"index": 1, "delta": {"content": "of another choice"}}]}),
        sse({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}),
        sse({"type": "ping"}),
        b"data:\n\n",
        b"event: ping\ndata: {}\n\n",
        b": OPENROUTER PROCESSING\n\n",
    ],
)
def test_what_holds_no_text_is_skipped(skipped: bytes):
    events = read(make(), skipped, chunk("Hi"), skipped, chunk(finish="stop"))
    assert events == [Delta("Hi"), Finish("stop")]


def test_a_refusal_is_text_and_so_are_the_text_parts_of_a_list():
    refusal = sse({"choices": [{"index": 0, "delta": {"content": None, "refusal": "I can't."}}]})
    parts = chunk([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": " Sorry."}, "x"])
    assert read(make(), refusal, parts, DONE) == [Delta("I can't."), Delta(" Sorry."), Finish("")]


@pytest.mark.parametrize(
    "broken",
    [
        b'data: {"choices": [\n\n',
        b"data: [1]\n\n",
        b"data: 7\n\n",
        b"data: " + b"[" * 9000 + b"\n\n",
        sse({"choices": {"a": 1}}),
        sse({"choices": ["text"]}),
        sse({"choices": [{"delta": "text"}]}),
        chunk(7),
        chunk({"text": "Hi"}),
    ],
)
def test_what_is_no_chunk_is_a_breach_of_the_protocol_and_keeps_the_text_before_it(broken: bytes):
    answer = make()
    assert text_of(read(answer, chunk("Hi"), broken, chunk("never"))) == "Hi"
    assert answer.failure is not None
    assert answer.failure.code is UpstreamErrorCode.PROTOCOL


@pytest.mark.parametrize("stream", [b"<!doctype html>\n<p>Log in", b'\n{"error": "no"}', b"[]"])
def test_a_page_that_claims_to_be_a_stream_is_a_breach_of_the_protocol(stream: bytes):
    answer = make()
    read(answer, stream)
    assert answer.failure is not None
    assert answer.failure.code is UpstreamErrorCode.PROTOCOL


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (sse({"error": {"message": "x", "type": "server_error"}}), UpstreamErrorCode.SERVER_ERROR),
        (sse({"error": {"message": "x", "code": "rate_limit_exceeded"}}), UpstreamErrorCode.RATE_LIMITED),
        (sse({"error": {"message": "x", "code": 502}, "choices": []}), UpstreamErrorCode.SERVER_ERROR),
        (sse({"error": {"message": "x", "code": 429}}), UpstreamErrorCode.RATE_LIMITED),
        (sse({"error": "overloaded"}), UpstreamErrorCode.SERVER_ERROR),
        (b'event: error\ndata: {"message": "x", "type": "insufficient_quota"}\n\n', UpstreamErrorCode.QUOTA),
    ],
)
def test_an_error_inside_the_stream_ends_it(event: bytes, code: UpstreamErrorCode):
    answer = make()
    assert text_of(read(answer, chunk("Hi"), event, chunk("never"), DONE)) == "Hi"
    assert answer.failure is not None
    assert answer.failure.code is code


def raw(text: str) -> bytes:
    """Return a chunk whose text is escaped as far as JSON allows, lone surrogates included."""
    escaped = "".join(f"\\u{ord(unit):04x}" for unit in text)
    return b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % escaped.encode()


def test_a_character_split_into_surrogates_over_two_deltas_is_joined():
    events = read(make(), raw("A \ud83d"), chunk(""), raw("\ude00 B"), DONE)
    assert events == [Delta("A "), Delta("😀 B"), Finish("")]


def test_surrogates_that_stay_alone_are_replaced():
    events = read(make(), raw("\ude00"), raw("\ud83d"), chunk("x"), raw("\ud83d\ud83d"), chunk(finish="stop"))
    assert text_of(events) == "\ufffd\ufffdx\ufffd\ufffd"
    assert isinstance(events[-1], Finish)
    assert text_of(read(make(), raw("end \ud83d"), DONE)) == "end \ufffd"


def test_nul_is_dropped_even_between_two_surrogates():
    assert text_of(read(make(), chunk("a\0b"), raw("\ud83d"), raw("\0"), raw("\0\ude00"), DONE)) == "ab😀"


UTF16_UNITS = st.text(st.sampled_from("ax\0é\u2028\ud83d\ude00"), max_size=8)


@given(st.lists(UTF16_UNITS, max_size=8))
def test_however_text_is_cut_it_is_the_same_text_and_can_be_encoded(texts: list[str]):
    events = read(make(), *map(raw, texts), DONE)
    assert text_of(events) == mend_surrogates("".join(texts).replace("\0", ""))
    assert all(event.text.encode() for event in events if isinstance(event, Delta))


def test_an_answer_in_one_piece():
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi\0 you"}, "finish_reason": "length"}
    body = orjson.dumps({"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})
    answer = make(is_stream=False)
    assert read(answer, body[:20], body[20:]) == [Delta("Hi you"), Finish("length"), Usage(3, 2)]
    assert answer.failure is None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"error": {"message": "x", "code": "context_length_exceeded"}}', UpstreamErrorCode.CONTEXT_LENGTH),
        (b'{"choices": []}', UpstreamErrorCode.PROTOCOL),
        (b'{"detail": "x"}', UpstreamErrorCode.PROTOCOL),
        (b"[]", UpstreamErrorCode.PROTOCOL),
        (b'{"choices": [{"mess', UpstreamErrorCode.PROTOCOL),
        (b" " * 10_001, UpstreamErrorCode.TOO_LARGE),
    ],
)
def test_an_answer_in_one_piece_that_is_none(body: bytes, code: UpstreamErrorCode):
    answer = make(is_stream=False)
    assert read(answer, body) == []
    assert answer.failure is not None
    assert answer.failure.code is code


@pytest.mark.parametrize("letter", ["a", "é", "😀"])
def test_the_limit_is_on_the_bytes_of_the_text(letter: str):
    size = len(letter.encode())
    fits, exceeds = make(max_answer_bytes=10 * size), make(max_answer_bytes=10 * size - 1)
    assert text_of(read(fits, *[chunk(letter)] * 10, DONE)) == letter * 10
    assert text_of(read(exceeds, *[chunk(letter)] * 10, DONE)) == letter * 9
    assert fits.failure is None
    assert exceeds.failure is not None
    assert exceeds.failure.code is UpstreamErrorCode.TOO_LARGE


def test_a_stream_of_nothing_is_limited_too():
    answer = make(max_answer_bytes=100)
    for _ in range(30):
        answer.feed(b": nothing\n" * 100)
    assert answer.failure is not None
    assert answer.failure.code is UpstreamErrorCode.TOO_LARGE


def test_the_text_before_a_line_that_is_too_long_is_kept():
    answer = make(max_line_bytes=200)
    assert text_of(read(answer, chunk("Hi") + b"data: " + b"x" * 300)) == "Hi"
    assert answer.failure is not None
    assert answer.failure.code is UpstreamErrorCode.TOO_LARGE
