# SPDX-License-Identifier: MIT
"""streams.py: streams and relays over socket pairs, pipes, files and a pseudo-terminal."""

from __future__ import annotations

import asyncio
import errno
import os
import pty
import socket
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from floe.stream.streams import Input, Output, RawTerminal, Stream, is_foreground_terminal

KEEP = 1 << 20


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


class Guest:
    """A Stream and the other end of its socket."""

    def __init__(self, loop: asyncio.AbstractEventLoop, keep: int = KEEP) -> None:
        ours, self.peer = socket.socketpair()
        self.changes = 0
        self.stream = Stream(ours, loop, self._changed, keep)

    def _changed(self) -> None:
        self.changes += 1


def serve(loop: asyncio.AbstractEventLoop, until: Callable[[], bool], deadline_s: float = 10) -> None:
    """Run the loop until the condition holds; fail at the deadline."""

    async def waiting() -> None:
        async with asyncio.timeout(deadline_s):
            while not until():
                await asyncio.sleep(0.001)

    loop.run_until_complete(waiting())


def test_what_was_read_is_not_read_again(loop: asyncio.AbstractEventLoop) -> None:
    guest = Guest(loop)
    assert guest.stream.read() == b""
    for piece in (b"one two", b" three"):
        guest.peer.sendall(piece)
        serve(loop, lambda piece=piece: guest.stream.data.endswith(piece))
        assert guest.stream.read() == piece
    assert guest.stream.read() == b""
    assert guest.stream.text == "one two three"


def test_text_across_pieces(loop: asyncio.AbstractEventLoop) -> None:
    guest = Guest(loop)
    for byte in "grün".encode():
        guest.peer.sendall(bytes([byte]))
        serve(loop, lambda byte=byte: guest.stream.data.endswith(bytes([byte])))
    assert guest.stream.text == "grün"


def test_only_the_last_bytes_are_kept(loop: asyncio.AbstractEventLoop) -> None:
    guest = Guest(loop, keep=10)
    guest.peer.sendall(b"first")
    serve(loop, lambda: guest.stream.text == "first")
    assert guest.stream.read() == b"first"
    guest.peer.sendall(b"456789")  # pushes out one byte, which was read
    serve(loop, lambda: guest.stream.text == "irst456789")
    assert guest.stream.read() == b"456789"
    guest.peer.sendall(b"x" * 100 + b"0123456789")
    guest.peer.close()
    serve(loop, lambda: guest.stream.closed)
    assert guest.stream.text == "0123456789"
    assert guest.stream.read() == b"0123456789"


def test_the_end_comes_after_the_last_byte(loop: asyncio.AbstractEventLoop) -> None:
    guest = Guest(loop)
    guest.peer.sendall(b"last words")
    guest.peer.close()
    serve(loop, lambda: guest.stream.closed)
    assert guest.stream.text == "last words"
    assert guest.changes >= 2
    guest.stream.send(b"too late")  # dropped


def test_sending_more_than_the_socket_holds(loop: asyncio.AbstractEventLoop) -> None:
    guest = Guest(loop)
    rooms: list[bool] = []
    guest.stream.on_room = lambda: rooms.append(True)
    sent = os.urandom(3 << 20)
    guest.stream.send(sent)
    assert guest.stream.full
    received = bytearray()
    reader = threading.Thread(
        target=lambda: [received.extend(guest.peer.recv(4096)) for _ in iter(lambda: len(received) < len(sent), False)]
    )
    reader.start()
    serve(loop, lambda: len(received) == len(sent))
    reader.join(10)
    assert received == sent
    assert rooms == [True]


def read_all(fd: int, received: bytearray) -> threading.Thread:
    """Start to read a pipe to its end."""

    def take() -> None:
        while data := os.read(fd, 65536):
            received.extend(data)

    reader = threading.Thread(target=take)
    reader.start()
    return reader


def test_output_waits_for_its_reader_and_the_guest_does_not(loop: asyncio.AbstractEventLoop) -> None:
    guest = Guest(loop)
    read_end, write_end = os.pipe()
    output = Output(write_end, loop)
    guest.stream.on_data = output.put
    sent = os.urandom(8 << 20)
    writer = threading.Thread(target=guest.peer.sendall, args=(sent,))
    writer.start()
    serve(loop, lambda: not writer.is_alive())
    guest.peer.close()
    serve(loop, lambda: guest.stream.closed)
    received = bytearray()
    reader = read_all(read_end, received)
    loop.run_until_complete(asyncio.wait_for(output.drain(), 10))
    os.close(write_end)
    reader.join(10)
    assert received == sent
    assert output.dropped == 0
    os.close(read_end)


@pytest.mark.parametrize("blocking", [True, False])
def test_output_beyond_the_spool_is_dropped_and_counted(loop: asyncio.AbstractEventLoop, blocking: bool) -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, blocking)
    output = Output(write_end, loop, spool=300_000)
    sent = os.urandom(1_000_000)
    for at in range(0, len(sent), 1000):
        output.put(sent[at : at + 1000])
    assert output.dropped == 700_000
    received = bytearray()
    reader = read_all(read_end, received)
    loop.run_until_complete(asyncio.wait_for(output.drain(), 10))
    output.put(b"there is room again")
    loop.run_until_complete(asyncio.wait_for(output.drain(), 10))
    os.close(write_end)
    reader.join(10)
    assert received == sent[:300_000] + b"there is room again"
    os.close(read_end)


def test_output_that_nobody_reads_can_be_discarded(loop: asyncio.AbstractEventLoop) -> None:
    read_end, write_end = os.pipe()
    output = Output(write_end, loop)
    output.put(bytes(1 << 20))
    with pytest.raises(TimeoutError):
        loop.run_until_complete(asyncio.wait_for(output.drain(), 0.3))
    loop.call_soon(output.discard)
    loop.run_until_complete(asyncio.wait_for(output.drain(), 10))
    assert output.dropped == (1 << 20) - len(os.read(read_end, 1 << 20))
    for fd in (read_end, write_end):
        os.close(fd)


def test_output_whose_reader_left(loop: asyncio.AbstractEventLoop) -> None:
    read_end, write_end = os.pipe()
    output = Output(write_end, loop)
    told: list[OSError | None] = []
    output.on_error = lambda: told.append(output.error)
    os.close(read_end)
    output.put(b"nobody reads this")
    serve(loop, lambda: bool(told))
    output.put(b"nor this")
    loop.run_until_complete(asyncio.wait_for(output.drain(), 10))
    assert [type(e) for e in told] == [BrokenPipeError]
    os.close(write_end)


def test_output_to_a_full_disk(loop: asyncio.AbstractEventLoop) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        output = Output(full.fileno(), loop)
        output.put(b"no room for this")
        loop.run_until_complete(asyncio.wait_for(output.drain(), 10))
    assert output.error is not None and output.error.errno == errno.ENOSPC


def test_output_to_a_file(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        output = Output(file.fileno(), loop)
        output.put(b"one ")
        output.put(b"two")
    assert (tmp_path / "out").read_bytes() == b"one two"


@pytest.mark.parametrize("size", [0, 10, 3 << 20])
def test_input_from_a_file(loop: asyncio.AbstractEventLoop, tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "in").write_bytes(content)
    guest = Guest(loop)
    received = bytearray()
    with (tmp_path / "in").open("rb") as file:
        Input(file.fileno(), loop, guest.stream, {})

        def take() -> None:
            while len(received) < size:
                received.extend(guest.peer.recv(65536))

        reader = threading.Thread(target=take)
        reader.start()
        serve(loop, lambda: len(received) == size)
        reader.join(10)
    assert received == content
    assert not guest.stream.closed  # the end of input is not the end of the VM


@pytest.mark.parametrize("make", [lambda: os.open(os.devnull, os.O_RDONLY), lambda: os.pipe()[0]])
def test_input_that_has_nothing(loop: asyncio.AbstractEventLoop, make: Callable[[], int]) -> None:
    guest = Guest(loop)
    fd = make()
    source = Input(fd, loop, guest.stream, {})
    guest.peer.sendall(b"still served")
    serve(loop, lambda: guest.stream.text == "still served")
    source.stop()
    os.close(fd)


def test_input_that_is_closed(loop: asyncio.AbstractEventLoop) -> None:
    guest = Guest(loop)
    fd = os.open(os.devnull, os.O_RDONLY)
    os.close(fd)
    Input(fd, loop, guest.stream, {})
    guest.peer.sendall(b"still served")
    serve(loop, lambda: guest.stream.text == "still served")


def test_keys_call_a_function_and_are_not_sent(loop: asyncio.AbstractEventLoop) -> None:
    guest = Guest(loop)
    ours, theirs = os.pipe()
    pressed: list[str] = []
    source = Input(ours, loop, guest.stream, {b"\x03": lambda: pressed.append("stop")})
    os.write(theirs, b"a\x03b\x03\x04")
    serve(loop, lambda: len(pressed) == 2)
    guest.peer.settimeout(10)
    assert guest.peer.recv(10) == b"ab\x04"
    source.stop()
    for fd in (ours, theirs):
        os.close(fd)


def test_raw_terminal_gives_its_modes_back() -> None:
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    with pytest.raises(RuntimeError), RawTerminal(slave):
        raw = termios.tcgetattr(slave)
        assert not raw[3] & (termios.ECHO | termios.ICANON | termios.ISIG)
        assert raw[1] & termios.OPOST  # a bare line feed still returns the carriage
        raise RuntimeError
    assert termios.tcgetattr(slave) == before
    for fd in (master, slave):
        os.close(fd)


def test_a_terminal_that_is_not_ours_is_left_alone() -> None:
    master, slave = pty.openpty()  # controls no session: it has no foreground process group
    assert not is_foreground_terminal(slave)
    for fd in (master, slave):
        os.close(fd)
    assert not is_foreground_terminal(slave)  # closed
