# SPDX-License-Identifier: MIT
"""modules/handoff: a connection's relay in one VM, what stands for it in the other, and what becomes of both at their ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.c.support.harness import EAGAIN, EIO, ROOT, Harness
from tests.c.support.port_programs import build

ECONNRESET, EPIPE, EBADF, ENOTCONN, EMFILE = -104, -32, -9, -107, -24
IN, OUT, ERR, HUP = 1, 4, 8, 16
CHUNK = 8180
CHILD, FAILED = 7, -11


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folders = ["modules/handoff", "modules/family", "modules/lwip", "build/upstream/lwip/src/include"]
    flags = [f"-I{ROOT}", *(f"-I{ROOT / folder}" for folder in folders)]
    return build(tmp_path_factory.mktemp("handoff"), "handoff_user", *flags, folder="handoff")


class Way:
    """The program; each command gives the lines that it says."""

    def __init__(self, h: Harness) -> None:
        self._h = h
        assert self.do("prepare") == ["PIPE 5", "PIPE 5", "0"]

    def do(self, *words: object) -> list[str]:
        return self._h.do(*words).splitlines()

    def run(self) -> list[str]:
        """What a run does, without whether it was something."""
        *done, something = self.do("run")
        assert something == str(int(bool(done)))
        return done


@pytest.fixture
def way(h: Harness) -> Iterator[Way]:
    yield Way(h)


@pytest.fixture
def relay(way: Way) -> Way:
    assert way.do("finish", CHILD) == ["CLOSE 101", "CLOSE 102", "KEEP 103", "KEEP 100"]
    assert way.do("run") == ["0"]
    return way


@pytest.fixture
def back(way: Way) -> Way:
    assert way.do("finish", 0) == ["CLOSE 100", "CLOSE 103", "KEEP 102", "KEEP 101"]
    return way


def test_a_fork_that_fails(way: Way) -> None:
    assert sorted(way.do("finish", FAILED)) == [f"CLOSE {fd}" for fd in (100, 101, 102, 103)]
    way.do("peer", "aa")
    assert way.run() == []


def test_too_many_pipes(way: Way) -> None:
    assert way.do("prepare") == ["PIPE 5", str(EMFILE)]


def test_bytes_both_ways(relay: Way) -> None:
    relay.do("peer", b"hello".hex())
    relay.do("pipe", b"answer".hex())
    assert relay.run() == [f"SEND 6 {b'answer'.hex()}", f"WRITE 103 5 {b'hello'.hex()}"]
    assert relay.run() == []


def test_back_pressure(relay: Way) -> None:
    """What the other VM has no room for stays with the peer, and what the peer has none for in the pipe."""
    relay.do("window", 3)
    relay.do("takes", 2)
    relay.do("peer", b"hello".hex())
    relay.do("pipe", b"answer".hex())
    assert relay.run() == [f"SEND 2 {b'an'.hex()}", f"WRITE 103 3 {b'hel'.hex()}"]
    assert relay.run() == []
    relay.do("takes", 100)  # memory comes free without a word
    assert relay.run() == [f"SEND 4 {b'swer'.hex()}"]
    relay.do("window", 100)
    assert relay.run() == [f"WRITE 103 2 {b'lo'.hex()}"]


def test_a_line_without_room(relay: Way) -> None:
    """Nothing is taken from where it would not come on, and it goes on by itself."""
    relay.do("room", 0)
    relay.do("peer", bytes(CHUNK + 1).hex())
    relay.do("pipe", "aa")
    assert relay.run() == []
    relay.do("room", 1)
    assert relay.run() == ["SEND 1 aa", f"WRITE 103 {CHUNK} {bytes(8).hex()}", "WRITE 103 1 00"]


def test_the_peer_ends_first(relay: Way) -> None:
    relay.do("peer", "aa")
    relay.do("peer_end")
    assert relay.run() == ["WRITE 103 1 aa", "CLOSE 103"]
    relay.do("pipe", "bb")
    assert relay.run() == ["SEND 1 bb"]
    relay.do("pipe_end")
    assert relay.run() == ["SHUTDOWN 1", "CLOSE 100", "GONE 1"]


def test_the_other_vm_ends_first(relay: Way) -> None:
    relay.do("pipe", "bb")
    relay.do("pipe_end")
    assert relay.run() == ["SEND 1 bb", "SHUTDOWN 1", "CLOSE 100"]
    relay.do("peer", "aa")
    assert relay.run() == ["WRITE 103 1 aa"]
    relay.do("peer_end")
    assert relay.run() == ["CLOSE 103", "GONE 1"]


def test_a_vm_that_reads_no_more(relay: Way) -> None:
    """What it wrote is still sent, all of it; what the peer sends is left where it is."""
    relay.do("takes", 1)
    relay.do("pipe", "bbcc")
    relay.do("pipe_end")
    relay.do("window", -1)
    relay.do("peer", "aa")
    assert relay.run() == ["SEND 1 bb", "CLOSE 103"]
    relay.do("takes", 9)
    assert relay.run() == ["SEND 1 cc", "SHUTDOWN 1", "CLOSE 100", "GONE 1"]


@pytest.mark.parametrize("writes", [False, True])
def test_a_peer_that_is_gone(relay: Way, writes: bool) -> None:
    """The end of what it is sent is told before that of what it sent, by which the other VM can tell."""
    if writes:
        relay.do("pipe", "bb")
    relay.do("peer_gone")
    assert relay.run()[-3:] == ["CLOSE 100", "CLOSE 103", "GONE 1"]


def test_a_peer_that_is_gone_after_its_end(relay: Way) -> None:
    relay.do("peer_end")
    assert relay.run() == ["CLOSE 103"]
    relay.do("peer_gone")
    assert relay.run() == ["CLOSE 100", "GONE 1"]


def test_both_have_ended_in_order(relay: Way) -> None:
    """As where this side had shut its half before the fork: the other VM hears an end, and no reset."""
    relay.do("peer_done")
    assert relay.run() == ["CLOSE 103"]
    relay.do("pipe_end")
    assert relay.run() == ["SHUTDOWN 1", "CLOSE 100", "GONE 1"]


def test_the_service_has_ended(relay: Way) -> None:
    relay.do("over")
    assert relay.run() == ["CLOSE 100", "CLOSE 103", "GONE 1"]


def test_the_relay_of_a_vm_that_was_copied(relay: Way) -> None:
    """Its pipes are closed already; the socket goes without a frame."""
    relay.do("copied")
    assert relay.run() == ["GONE 1"]


def test_a_stream_over_pipes(back: Way) -> None:
    assert back.do("peername") == ["4711"]
    assert back.do("poll") == [str(OUT)]
    assert back.do("recv", 10) == [f"{EAGAIN} "]
    back.do("pipe", b"hello".hex())
    assert back.do("poll") == [str(IN | OUT)]
    assert back.do("readable", 3) == ["3"]
    assert back.do("readable", 9) == ["5"]
    assert back.do("recv", 3) == [f"3 {b'hel'.hex()}"]
    assert back.do("recv", 9) == [f"2 {b'lo'.hex()}"]
    back.do("window", 2)
    assert back.do("poll") == ["0"]
    assert back.do("send", "aabbcc") == ["WRITE 101 2 aabb", "2"]
    back.do("pipe_end")
    assert back.do("poll") == [str(IN)]
    assert back.do("readable", 9) == ["0"]
    assert back.do("recv", 9) == back.do("recv", 9) == ["0 "]
    assert back.do("shutdown") == ["CLOSE 101", "0"]
    assert back.do("shutdown") == ["0"]
    assert back.do("send", "aa") == [str(EPIPE)]
    assert back.do("close") == ["ABANDON -1", "ABANDON 102"]


def test_a_lost_connection(back: Way) -> None:
    """What came before is read; then it is said once."""
    back.do("pipe", "aa")
    back.do("pipe_end")
    back.do("window", -1)
    assert back.do("poll") == [str(IN | OUT | ERR | HUP)]
    assert back.do("recv", 9) == ["1 aa"]
    assert back.do("recv", 9) == [f"{ECONNRESET} "]
    assert back.do("recv", 9) == ["0 "]
    assert back.do("send", "aa") == [str(EPIPE)]
    assert back.do("shutdown") == [str(ENOTCONN)]
    assert back.do("poll") == [str(IN | OUT | HUP)]
    assert back.do("close") == ["ABANDON 101", "ABANDON 102"]


def test_a_lost_connection_that_is_written_to(back: Way) -> None:
    back.do("window", -1)
    assert back.do("send", "aa") == [str(ECONNRESET)]
    assert back.do("send", "aa") == [str(EPIPE)]


def test_the_service_ends_under_a_stream(back: Way) -> None:
    back.do("over")
    assert back.do("poll") == [str(IN | OUT)]
    assert back.do("recv", 9) == [f"{EIO} "]
    assert back.do("send", "aa") == [str(EIO)]


def test_a_stream_in_a_vm_that_was_copied(back: Way) -> None:
    back.do("pipe", "aa")
    back.do("copied")
    assert back.do("poll") == [str(IN | OUT | ERR | HUP)]
    assert back.do("recv", 9) == [f"{ECONNRESET} "]
    assert back.do("recv", 9) == ["0 "]
    assert back.do("close") == ["ABANDON -1", "ABANDON -1"]


def test_who_waits_by_a_callback_is_told(back: Way) -> None:
    back.do("notify")
    back.do("pipe", "aa")
    assert back.do("run") == ["NOTIFY 1", "0"]
    assert back.do("run") == ["0"]
