"""Tests that frames leave at once and in order, however much the client's socket takes."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.abstract import FileDescriptor

from chatsite.websocket_limits import LimitedWebSocket


class Wire(FileDescriptor):
    """Twisted's connection with a socket that takes `room` more bytes. It is its own reactor."""

    connected = 1

    def __init__(self, *, room: int) -> None:
        reactor: Any = self
        super().__init__(reactor=reactor)
        self.room = room
        self.received = b""
        self.is_waiting = False

    def writeSomeData(self, data: bytes) -> int:  # noqa: N802  (Twisted's name)
        taken = bytes(data[: self.room])
        self.room -= len(taken)
        self.received += taken
        return len(taken)

    def addWriter(self, _wire: Any) -> None:  # noqa: N802
        self.is_waiting = True

    def removeWriter(self, _wire: Any) -> None:  # noqa: N802
        self.is_waiting = False


def opened(*, room: int) -> tuple[LimitedWebSocket, Wire]:
    socket, wire = LimitedWebSocket(), Wire(room=room)
    socket.transport = wire
    return socket, wire


def test_a_frame_leaves_at_once() -> None:
    socket, wire = opened(room=100)
    socket.sendData(b"one")
    socket.sendData(b"two")
    assert (wire.received, wire.is_waiting) == (b"onetwo", False)


@given(st.integers(0, 20), st.lists(st.tuples(st.binary(max_size=20), st.integers(0, 20)), max_size=10))
def test_frames_stay_in_order(room: int, steps: list[tuple[bytes, int]]) -> None:
    socket, wire = opened(room=room)
    for frame, more_room in steps:
        socket.sendData(frame)
        wire.room += more_room
    wire.room += 1_000
    if wire.is_waiting:
        wire.doWrite()
    assert wire.received == b"".join(frame for frame, _ in steps)
    assert not wire.is_waiting


def test_nothing_is_sent_after_the_connection_was_lost() -> None:
    socket, wire = opened(room=100)
    wire.connected = 0
    socket.sendData(b"late")
    assert wire.received == b""
