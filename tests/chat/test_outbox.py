"""Tests of the flow control for outgoing frames."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversations.chat.consumers import codes, outbox
from conversations.chat.consumers.outbox import PIECE_CHARS, Outbox, TooSlow, pieces
from tests.guards.project import ROOT


@given(st.integers(0, 5 * PIECE_CHARS))
def test_the_pieces_of_a_frame_add_up_to_the_frame(length: int) -> None:
    frame = "<p>é</p>" * (length // 8)
    marked = list(pieces(frame))
    if len(frame) <= PIECE_CHARS:
        assert marked == [frame]
    else:
        assert "".join(piece[0] for piece in marked) == "(" + "+" * (len(marked) - 2) + ")"
        assert "".join(piece[1:] for piece in marked) == frame
        assert max(map(len, marked)) == PIECE_CHARS + 1


async def test_a_piece_waits_for_space_in_the_window() -> None:
    sent: list[str] = []

    async def send(text: str) -> None:
        sent.append(text)

    out = Outbox(send)
    sending = asyncio.ensure_future(out.send("x" * (outbox.WINDOW_BYTES + 5 * PIECE_CHARS)))
    while not sending.done():
        received = sum(map(len, sent))
        await asyncio.sleep(0)
        assert sum(map(len, sent)) <= received + outbox.WINDOW_BYTES + PIECE_CHARS + 1
        out.acknowledge(sum(map(len, sent)))
    assert sent[-1].startswith(")")


async def test_unread_replies_are_limited() -> None:
    async def send(text: str) -> None:
        pass

    out = Outbox(send)
    with pytest.raises(TooSlow):
        for _ in range(10_000):
            await out.send_now("x" * 100)
    out.acknowledge(10**9)
    await out.send_now("x")


def test_the_page_lists_the_codes_after_which_it_reconnects() -> None:
    page = (ROOT / "templates/chat/chat.html").read_text(encoding="utf-8")
    _, _, listed = page.partition('"reconnectCodes": [')
    assert {
        int(code) for code in listed.partition("]")[0].split(",") if int(code) >= 3000
    } == codes.RECONNECTING
