"""Tests for the decoder with the rules and examples of the WHATWG HTML Standard."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversations.llm.chat.sse import LineTooLong, ServerSentEvent, SSEDecoder


def decode(*reads: bytes, **options: int) -> list[tuple[str, str]]:
    decoder = SSEDecoder(**options)
    return [(event.event, event.data) for data in reads for event in decoder.feed(data)]


def messages(*texts: str) -> list[tuple[str, str]]:
    return [("message", text) for text in texts]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        pytest.param(b'data: {"a": 1}\n\n', messages('{"a": 1}'), id="plain"),
        pytest.param(b"data: YHOO\ndata: +2\ndata: 10\n\n", messages("YHOO\n+2\n10"), id="several lines"),
        pytest.param(
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            messages("first event", "second event", " third event"),
            id="comments, ids, and one space that is taken away",
        ),
        pytest.param(b"data\n\ndata\ndata\n\ndata:", messages("", "\n"), id="empty data, unfinished end"),
        pytest.param(b"event: add\ndata: 7\n\ndata: 8\n\n", [("add", "7"), ("message", "8")], id="types"),
        pytest.param(b"event: add\n\ndata: 8\n\n", messages("8"), id="a type without data is dropped"),
        pytest.param(b"data: a\r\n\r\ndata: b\r\n\r\n", messages("a", "b"), id="CRLF"),
        pytest.param(b"data: a\r\rdata: b\r\r", messages("a", "b"), id="CR"),
        pytest.param(b"data: a\r\n\ndata: b\n\r\n", messages("a", "b"), id="mixed line ends"),
        pytest.param(b"\xef\xbb\xbfdata: a\n\n", messages("a"), id="byte order mark"),
        pytest.param(b"data: \xef\xbb\xbfa\n\n", messages("\ufeffa"), id="a mark elsewhere is a character"),
        pytest.param(b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", [], id="a second mark belongs to the name"),
        pytest.param(
            "data: a\u2028b\u0085c\x0bd\n\n".encode(), messages("a\u2028b\u0085c\x0bd"), id="not ends"
        ),
        pytest.param(b"data: \xff\xe2\x82\n\n", messages("\ufffd\ufffd"), id="bytes that are not UTF-8"),
        pytest.param(b"Data: a\n data: b\ndat: c\ndata : d\nretry: 5\n\n", [], id="other names are skipped"),
        pytest.param(b"\n\n\ndata: a\n\n\n\n", messages("a"), id="blank lines"),
        pytest.param(b"data: a\n", [], id="no blank line, no event"),
    ],
)
def test_examples(stream: bytes, expected: list[tuple[str, str]]):
    assert decode(stream) == expected
    assert decode(*(stream[i : i + 1] for i in range(len(stream)))) == expected


def test_an_event_is_not_delayed_by_a_final_carriage_return():
    decoder = SSEDecoder()
    assert decoder.feed(b"data: a\r\n\r") == [ServerSentEvent("message", "a")]
    assert decoder.feed(b"\ndata: b\r\r") == [ServerSentEvent("message", "b")]
    assert decoder.feed(b"") == []
    assert decoder.feed(b"\ndata: c\n\n") == [ServerSentEvent("message", "c")]


def reference(stream: bytes) -> list[tuple[str, str]]:
    """Decode the whole stream exactly as the standard describes, one character at a time."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    lines, line, previous = [], "", ""
    for character in text:
        if character == "\n" and previous == "\r":
            pass
        elif character in "\r\n":
            lines.append(line)
            line = ""
        else:
            line += character
        previous = character
    events, data, kind = [], "", ""
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line == "":
            if data:
                events.append((kind or "message", data.removesuffix("\n")))
            data, kind = "", ""
        elif name == "data":
            data += value + "\n"
        elif name == "event":
            kind = value
    return events


PIECES = st.sampled_from(
    [
        *(b"data: ", b"data", b"data:", b"event: x", b"id: 3", b":", b" ", b"{}", b"\0"),
        *(b"\n", b"\n", b"\n\n", b"\r\n", b"\r\n\r\n", b"\r"),
        *(b"\xef\xbb\xbf", b"\xf0\x9f\x98\x80", b"\xe2\x80\xa8", b"\xff"),
    ]
)


@given(st.data(), st.lists(PIECES, max_size=40).map(b"".join))
def test_any_split_gives_the_result_of_the_standard(data: st.DataObject, stream: bytes):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    reads = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert decode(*reads) == reference(stream)


@given(st.lists(st.lists(PIECES, max_size=5).map(b"".join), max_size=12))
def test_reads_may_end_at_line_ends(reads: list[bytes]):
    assert decode(*reads) == reference(b"".join(reads))


def test_an_incomplete_event_is_kept_for_the_next_read():
    assert decode(b"data: a\n", b"data: b\n\n") == messages("a\nb")
    assert decode(b"event: add\n", b"data: b\n\n") == [("add", "b")]
    assert decode(b"da", b"ta: a\n\n") == messages("a")


@given(
    st.data(),
    st.lists(st.sampled_from([b"data: a\n\n", b"data: 123456\n", b"\n", b":345678\r"]), max_size=12),
)
def test_a_long_line_is_refused_however_the_reads_are_split(data: st.DataObject, pieces: list[bytes]):
    stream = b"".join([*pieces, b"\n\ndata: end\n\n", b"data: a line that is too long"])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    decoder, texts = SSEDecoder(max_line_bytes=12), []
    with pytest.raises(LineTooLong) as caught:
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            texts += decoder.feed(stream[start:end])
    texts += caught.value.events

    whole = SSEDecoder(max_line_bytes=12)
    with pytest.raises(LineTooLong) as expected:
        whole.feed(stream)
    assert texts == expected.value.events


def test_a_line_of_exactly_the_limit_is_accepted():
    assert decode(b"data: 123456\n\n", max_line_bytes=12) == messages("123456")


def test_an_endless_line_is_refused_before_it_fills_memory():
    decoder = SSEDecoder(max_line_bytes=1000)
    with pytest.raises(LineTooLong):
        for _ in range(1001):
            decoder.feed(b"x")


def test_many_short_lines_do_not_add_up_to_an_endless_event():
    decoder = SSEDecoder(max_line_bytes=1000)
    with pytest.raises(LineTooLong):
        for _ in range(200):
            decoder.feed(b"data: 0123456789\n")


def test_an_event_without_its_blank_line_can_be_retrieved():
    decoder = SSEDecoder()
    assert [event.data for event in decoder.feed(b"data: 1\n\ndata: 2\ndata: ")] == ["1"]
    assert decoder.unfinished() == ServerSentEvent("message", "2\n")
    assert SSEDecoder().unfinished() is None
