"""Tests for parsing the bytes of an answer, without a connection."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversations.llm.chat.parser import (
    MAX_SKIPPED,
    CompletionParser,
    Delta,
    Event,
    Finish,
    Reasoning,
    Usage,
    mend_surrogates,
)
from conversations.llm.errors import UpstreamError, UpstreamErrorCode


def make(
    *, is_stream: bool = True, max_line_bytes: int = 10_000, max_answer_bytes: int = 10_000
) -> CompletionParser:
    return CompletionParser(
        is_stream=is_stream, max_line_bytes=max_line_bytes, max_answer_bytes=max_answer_bytes
    )


def read(answer: CompletionParser, *reads: bytes) -> list[Event]:
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


def test_text_is_followed_by_the_finish_reason_and_the_usage():
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
def test_invalid_usage_is_ignored(usage: object):
    events = read(make(), chunk("Hi", finish="stop"), sse({"choices": [], "usage": usage}), DONE)
    assert events == [Delta("Hi"), Finish("stop")]


def test_done_without_a_finish_reason_ends_the_answer_with_an_unknown_one():
    answer = make()
    assert read(answer, chunk("Hi"), DONE) == [Delta("Hi"), Finish("")]
    assert answer.failure is None


@pytest.mark.parametrize("reason", ["\0", "x" * 33, "Because I said so.", "stöp", 7, {"type": "stop"}])
def test_a_finish_reason_that_is_not_a_word_is_unknown(reason: object):
    assert read(make(), chunk("Hi", finish=reason), DONE) == [Delta("Hi"), Finish("")]


def test_a_finish_reason_without_done_ends_the_answer():
    answer = make()
    assert read(answer, chunk("Hi", finish="stop")) == [Delta("Hi"), Finish("stop")]
    assert answer.failure is None


@pytest.mark.parametrize("stream", [b"", chunk("Hi"), b": a comment\n\n", sse({"choices": []})])
def test_an_end_without_finish_reason_or_done_is_an_interruption(stream: bytes):
    answer = make()
    read(answer, stream)
    assert answer.failure is not None
    assert answer.failure.code is UpstreamErrorCode.INTERRUPTED


def thought(**delta: object) -> bytes:
    return sse({"choices": [{"index": 0, "delta": delta}]})


@pytest.mark.parametrize(
    "thinking",
    [
        thought(reasoning_content="Hm."),
        thought(reasoning="Hm.", content=None),
        thought(reasoning_content="Hm.", reasoning="Hm."),
        chunk([{"type": "thinking", "thinking": "Hm."}]),
        chunk([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}, 7]}]),
    ],
)
def test_reasoning_is_separated_from_text(thinking: bytes):
    details = {"completion_tokens_details": {"reasoning_tokens": 1}}
    usage = sse({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, **details}})
    events = read(make(), thinking, chunk("Hi", finish="stop"), usage)
    assert events == [Reasoning("Hm."), Delta("Hi"), Finish("stop"), Usage(3, 2, 1)]


@pytest.mark.parametrize("reasoning", [-1, 3, "1", True, None])
def test_invalid_reasoning_tokens_are_ignored(reasoning: object):
    details = {"completion_tokens_details": {"reasoning_tokens": reasoning}}
    usage = sse({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, **details}})
    assert read(make(), chunk("Hi", finish="stop"), usage)[-1] == Usage(3, 2)


def test_half_a_character_of_the_reasoning_is_not_joined_with_the_text():
    half = b'data: {"choices":[{"index":0,"delta":{"reasoning":"\\ud83d"}}]}\n\n'
    assert read(make(), half, raw("\ude00"), DONE)[:2] == [Reasoning("\ufffd"), Delta("\ufffd")]


def test_the_limit_is_on_reasoning_and_text_together():
    answer = make(max_answer_bytes=10)
    read(answer, thought(reasoning="12345678"), chunk("123"))
    assert answer.failure is not None
    assert answer.failure.code is UpstreamErrorCode.TOO_LARGE


def test_nothing_after_done_is_read():
    assert read(make(), chunk("Hi", finish="stop") + DONE + chunk("more")) == [Delta("Hi"), Finish("stop")]


@pytest.mark.parametrize(
    "skipped",
    [
        chunk(""),
        chunk(None),
        sse({"choices": [{"index": 0, "delta": {"role": "assistant"}}]}),
        sse({"choices": [{"index": 0, "delta": {"reasoning_content": None, "reasoning": ""}}]}),
        sse({"choices": [{"index": 0, "delta": None}]}),
        sse({"choices": [{"index": 1, "delta": {"content": "of another choice"}}]}),
        sse({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}),
        sse({"type": "ping"}),
        b"data:\n\n",
        b"event: ping\ndata: {}\n\n",
        b": OPENROUTER PROCESSING\n\n",
    ],
)
def test_parts_without_text_are_skipped(skipped: bytes):
    events = read(make(), skipped, chunk("Hi"), skipped, chunk(finish="stop"))
    assert events == [Delta("Hi"), Finish("stop")]


def test_refusals_and_text_parts_of_a_list_are_text():
    refusal = sse({"choices": [{"index": 0, "delta": {"content": None, "refusal": "I can't."}}]})
    parts = chunk([{"type": "image", "image": "hm"}, {"type": "text", "text": " Sorry."}, "x"])
    refused = chunk([{"type": "refusal", "refusal": " No."}])
    events = read(make(), refusal, parts, refused, DONE)
    assert events == [Delta("I can't."), Delta(" Sorry."), Delta(" No."), Finish("")]


BROKEN = [
    b'data: {"choices": [\n\n',
    b"data: null\n\n",
    b"data: []\n\n",
    b"data: [1]\n\n",
    b"data: 7\n\n",
    b"data: " + b"[" * 9000 + b"\n\n",
    sse({"choices": {"a": 1}}),
    sse({"choices": ["text"]}),
    sse({"choices": [{"delta": "text"}]}),
    chunk(7),
    chunk({"text": "Hi"}),
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_few_malformed_chunks_are_skipped(broken: bytes):
    answer = make(max_line_bytes=10_000)
    events = read(answer, chunk("Hi"), *[broken] * MAX_SKIPPED, chunk(" you", finish="stop"), USAGE, DONE)
    assert events == [Delta("Hi"), Delta(" you"), Finish("stop"), Usage(3, 2)]
    assert (answer.failure, answer.skipped) == (None, MAX_SKIPPED)


@pytest.mark.parametrize("broken", BROKEN)
def test_too_many_malformed_chunks_are_a_protocol_error_and_the_text_is_kept(broken: bytes):
    answer = make()
    assert text_of(read(answer, chunk("Hi"), *[broken] * (MAX_SKIPPED + 1), chunk("never"))) == "Hi"
    assert answer.failure is not None
    assert answer.failure.code is UpstreamErrorCode.PROTOCOL


@pytest.mark.parametrize("end", [b"", DONE])
def test_an_answer_of_only_malformed_chunks_is_an_error(end: bytes):
    answer = make()
    assert read(answer, BROKEN[0], end) == []
    assert answer.failure is not None
    assert answer.failure.code is UpstreamErrorCode.PROTOCOL


@pytest.mark.parametrize("ending", ["", "\n"])
def test_the_last_event_may_lack_its_blank_line(ending: str):
    last = chunk(" you", finish="stop").rstrip(b"\n") + ending.encode()
    answer = make()
    assert read(answer, chunk("Hi"), last) == [Delta("Hi"), Delta(" you"), Finish("stop")]
    assert answer.failure is None
    # The usage may end without a line break too, because nothing was missing from it.
    assert read(make(), chunk("Hi", finish="stop"), USAGE.rstrip(b"\n"))[-1] == Usage(3, 2)


@pytest.mark.parametrize("length", [3, 20, 60])
def test_an_event_cut_off_in_the_middle_is_an_interruption(length: int):
    answer = make()
    assert text_of(read(answer, chunk("Hi"), chunk(" you", finish="stop")[:length])) == "Hi"
    assert answer.failure is not None
    assert answer.failure.code is UpstreamErrorCode.INTERRUPTED


def test_an_unfinished_event_is_dropped_if_the_connection_fails():
    answer = make()
    events = answer.feed(chunk("Hi") + chunk(" you", finish="stop").rstrip(b"\n"))
    answer.fail(UpstreamError(UpstreamErrorCode.TIMEOUT))
    assert events + answer.end() == [Delta("Hi")]
    assert answer.failure is not None
    assert answer.failure.code is UpstreamErrorCode.TIMEOUT


@pytest.mark.parametrize("key", ["tool_calls", "function_call"])
def test_an_answer_with_only_a_tool_call_is_an_error(key: str):
    call = sse({"choices": [{"index": 0, "delta": {"content": None, key: [{"index": 0}]}}]})
    answer = make()
    assert read(answer, call, chunk(finish="tool_calls"), USAGE) == [Finish("tool_calls"), Usage(3, 2)]
    assert answer.failure is not None
    assert answer.failure.code is UpstreamErrorCode.TOOL_CALL
    with_text = make()
    assert text_of(read(with_text, chunk("Hi"), call, chunk(finish="tool_calls"))) == "Hi"
    assert with_text.failure is None


@pytest.mark.parametrize("stream", [b"<!doctype html>\n<p>Log in", b'\n{"error": "no"}', b"[]"])
def test_a_web_page_sent_as_a_stream_is_a_protocol_error(stream: bytes):
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
    """Return a chunk whose text is escaped as far as JSON allows, including lone surrogates."""
    escaped = "".join(f"\\u{ord(unit):04x}" for unit in text)
    return b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % escaped.encode()


def test_a_character_split_into_surrogates_over_two_deltas_is_joined():
    events = read(make(), raw("A \ud83d"), chunk(""), raw("\ude00 B"), DONE)
    assert events == [Delta("A "), Delta("😀 B"), Finish("")]


def test_lone_surrogates_are_replaced():
    events = read(make(), raw("\ude00"), raw("\ud83d"), chunk("x"), raw("\ud83d\ud83d"), chunk(finish="stop"))
    assert text_of(events) == "\ufffd\ufffdx\ufffd\ufffd"
    assert isinstance(events[-1], Finish)
    assert text_of(read(make(), raw("end \ud83d"), DONE)) == "end \ufffd"


def test_nul_is_dropped_even_between_two_surrogates():
    assert text_of(read(make(), chunk("a\0b"), raw("\ud83d"), raw("\0"), raw("\0\ude00"), DONE)) == "ab😀"


UTF16_UNITS = st.text(st.sampled_from("ax\0é\u2028\ud83d\ude00"), max_size=8)


@given(st.lists(UTF16_UNITS, max_size=8))
def test_any_split_gives_the_same_encodable_text(texts: list[str]):
    events = read(make(), *map(raw, texts), DONE)
    assert text_of(events) == mend_surrogates("".join(texts).replace("\0", ""))
    assert all(event.text.encode() for event in events if isinstance(event, Delta))


def test_an_unstreamed_answer():
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
def test_an_invalid_unstreamed_answer(body: bytes, code: UpstreamErrorCode):
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


def test_a_stream_without_text_is_limited_too():
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
