# SPDX-License-Identifier: MIT
"""modules/packet/packettcp.c: the phases of connections, windows, and who may end one."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.c.packet import flowpackets as fp
from tests.c.packet.flowpackets import ACK, FIN, PSH, RST, SYN
from tests.c.packet.flowtable import ESTABLISHED, INVALID, NEW, REPLY, Looked, Table
from tests.c.support.harness import Harness

A, B = "10.0.0.1", "192.0.2.7"
PORTS = {A: 4000, B: 80}


def segment(src: str, flags: int, **more: int) -> bytes:
    dst = B if src == A else A
    return fp.tcp(src, PORTS[src], dst, PORTS[dst], flags, **more)


def send(table: Table, src: str, flags: int, **more: int) -> Looked:
    looked = table.see(segment(src, flags, **more))
    assert looked is not None
    return looked


def opened(table: Table, first: int = 1000, second: int = 9000, **more: int) -> None:
    """A connection whose ends send first + 1 and second + 1 next. more: window, scale."""
    assert send(table, A, SYN, seq=first, **more).state == NEW
    assert send(table, B, SYN | ACK, seq=second, ack=first + 1, **more).state == ESTABLISHED
    more.pop("scale", None)
    assert send(table, A, ACK, seq=first + 1, ack=second + 1, **more).state == ESTABLISHED
    assert table.only().phase == "established"


@pytest.mark.parametrize(
    ("first", "second"), [(1000, 9000), (2**32 - 1, 2**32 - 2), (2**31 - 1, 2**31), (0, 2**32 - 500)]
)
def test_a_connection(table: Table, first: int, second: int) -> None:
    a, b = first + 1, second + 1
    lives = []

    def step(src: str, flags: int, **more: int) -> None:
        send(table, src, flags, **more)
        flow = table.only()
        lives.append((flow.phase, round(flow.expires_ns / 1e9 - table.now)))

    step(A, SYN, seq=first)
    step(B, SYN | ACK, seq=second, ack=a)
    step(A, ACK, seq=a, ack=b)
    step(A, ACK | PSH, seq=a, ack=b, size=700)
    step(B, ACK, seq=b, ack=a + 700, size=1400)
    step(B, ACK | FIN, seq=b + 1400, ack=a + 700)
    step(A, ACK, seq=a + 700, ack=b + 1401, size=9)
    step(B, ACK, seq=b + 1401, ack=a + 709)
    step(A, ACK | FIN, seq=a + 709, ack=b + 1401)
    step(B, ACK, seq=b + 1401, ack=a + 710)
    assert lives == [
        ("syn_sent", 240), ("syn_received", 240), ("established", 7440), ("established", 7440), ("established", 7440),
        ("half_closed", 7440), ("half_closed", 7440), ("half_closed", 7440), ("closing", 240), ("time_wait", 120),
    ]  # fmt: skip
    stats = table.stats()
    assert (stats["invalid"], stats["young"]) == (0, 0)
    # The same ports again: another connection.
    number = table.only().number
    again = send(table, A, SYN, seq=first + 5000)
    assert (again.state, again.result, table.only().phase) == (NEW, 0, "syn_sent")
    assert table.only().number != number


def test_both_ends_may_call(table: Table) -> None:
    """RFC 5382, REQ-2."""
    assert send(table, A, SYN, seq=100).state == NEW
    assert send(table, B, SYN, seq=900).state == ESTABLISHED
    assert send(table, A, SYN | ACK, seq=100, ack=901).state == ESTABLISHED
    assert table.only().phase == "syn_received"
    assert send(table, B, SYN | ACK, seq=900, ack=101).state == ESTABLISHED
    assert table.only().phase == "established"


def test_a_syn_again(table: Table) -> None:
    assert send(table, A, SYN, seq=100).state == NEW
    assert send(table, A, SYN, seq=100).state == NEW
    assert send(table, A, SYN, seq=77777).state == NEW  # nobody has answered: it may begin anew
    assert send(table, B, SYN | ACK, seq=5, ack=101).state == INVALID
    assert send(table, B, SYN | ACK, seq=5, ack=77778).state == ESTABLISHED
    assert send(table, B, SYN | ACK, seq=5, ack=77778).state == ESTABLISHED
    assert send(table, A, ACK, seq=77778, ack=6).state == ESTABLISHED


def test_a_caller_that_has_forgotten_its_connection(table: Table) -> None:
    """RFC 5961, 4: the end that has it says so, and the caller resets it; then it can call again."""
    opened(table)
    syn = send(table, A, SYN, seq=500000000)
    assert (syn.state, syn.how) == (ESTABLISHED, "p")
    assert send(table, B, ACK, seq=9001, ack=1001).state == ESTABLISHED
    assert send(table, A, RST, seq=1001).state == ESTABLISHED
    assert table.only().phase == "reset"
    assert send(table, A, SYN, seq=500000000).state == NEW


def test_a_called_end_that_has_an_old_connection(table: Table) -> None:
    assert send(table, A, SYN, seq=100).state == NEW
    answer = send(table, B, ACK, seq=5000, ack=300000)
    assert (answer.state, answer.how) == (ESTABLISHED, "p")
    reset = send(table, A, RST, seq=300000)
    assert (reset.state, reset.how, table.only().phase) == (NEW, "p", "syn_sent")
    assert send(table, A, SYN, seq=100).state == NEW
    assert send(table, B, SYN | ACK, seq=7, ack=101).state == ESTABLISHED


def test_refused(table: Table) -> None:
    assert send(table, A, SYN, seq=100).state == NEW
    assert send(table, B, RST, seq=0).state == INVALID
    assert send(table, B, RST | ACK, seq=0, ack=100).state == INVALID
    assert send(table, B, RST | ACK, seq=0, ack=102).state == INVALID
    assert table.only().phase == "syn_sent"
    assert send(table, B, RST | ACK, seq=0, ack=101).state == ESTABLISHED
    assert table.only().phase == "reset"


@pytest.mark.parametrize("flags", [ACK, FIN | ACK, RST, RST | ACK, SYN | ACK, PSH | ACK])
def test_nothing_but_a_syn_begins(table: Table, flags: int) -> None:
    assert send(table, A, flags, seq=1, ack=1).state == INVALID
    assert table.flows() == []


@pytest.mark.parametrize("flags", [0, FIN, PSH, SYN | FIN, SYN | RST, FIN | RST | ACK, SYN | FIN | ACK, 0xFF])
def test_flags_that_no_tcp_sends(table: Table, flags: int) -> None:
    assert send(table, A, flags, seq=1, ack=1).state == INVALID
    opened(table)
    assert send(table, A, flags, seq=1001, ack=9001).state == INVALID


def test_header_lengths_that_lie(table: Table) -> None:
    packet = bytearray(segment(A, SYN, scale=7))
    for length in (0, 4, 7, 15):
        packet[32] = length << 4
        assert table.state(bytes(packet)) == INVALID


@pytest.mark.parametrize(
    "options",
    [b"\3\3\xff\0", b"\3\0\1\1", b"\3\1\1\1", b"\3\xff\1\1", b"\1\1\1\3", b"\0\3\3\7", b"\2\4\5\6", b"\5\3\3\7"],
)
def test_options_that_lie(table: Table, options: bytes) -> None:
    packet = segment(A, SYN, scale=7)
    assert table.state(packet[:40] + options) == NEW


# ---- RST -----------------------------------------------------------------------------------------


def test_a_reset_must_be_exact(table: Table) -> None:
    """RFC 5961, 3: one in the window is its receiver's to question, any other one is a lie."""
    opened(table, window=1000)
    for at in (1000, 1001 - 500, 2002, 1001 + 2**31, 0, 9001):
        assert send(table, A, RST, seq=at).state == INVALID, at
    for at in (1002, 1500, 2001):
        looked = send(table, A, RST, seq=at)
        assert (looked.state, looked.how) == (ESTABLISHED, "p"), at
    assert table.only().phase == "established"
    assert send(table, B, RST, seq=9000).state == INVALID
    assert send(table, B, RST, seq=9001).state == ESTABLISHED
    assert table.only().phase == "reset"
    table.now += 11
    assert send(table, A, ACK, seq=1001, ack=9001).state == INVALID


def test_a_reset_behind_data_under_way(table: Table) -> None:
    opened(table)
    send(table, A, ACK, seq=1001, ack=9001, size=1000)
    looked = send(table, A, RST, seq=2001)  # what it has sent has not been acknowledged
    assert looked.how == "-"
    assert table.only().phase == "reset"


# ---- windows -------------------------------------------------------------------------------------


def test_out_of_window(table: Table) -> None:
    opened(table, window=1000)
    send(table, A, ACK, seq=1001, ack=9001, size=1000)
    assert send(table, A, ACK, seq=2003, ack=9001).state == INVALID  # more than B takes
    assert send(table, A, ACK, seq=2001, ack=9001, size=1).state == ESTABLISHED  # a probe of a closed window
    assert send(table, A, ACK, seq=2002, ack=9001).state == ESTABLISHED  # and what is behind it
    assert send(table, A, ACK, seq=1001, ack=9001, size=1000).state == ESTABLISHED  # again
    assert send(table, A, ACK, seq=1001 - 5000, ack=9001, size=1).state == INVALID  # older than a window
    assert send(table, A, ACK, seq=2002, ack=9002).state == INVALID  # B has not sent that
    assert send(table, B, ACK, seq=9001, ack=2003).state == INVALID
    assert send(table, B, ACK, seq=9001, ack=2002, window=5000).state == ESTABLISHED
    assert send(table, A, ACK, seq=7002, ack=9001).state == ESTABLISHED
    before = table.only()
    table.now += 5
    assert send(table, A, ACK, seq=2**31, ack=9001).state == INVALID
    assert table.only() == before


@pytest.mark.parametrize(("a", "b", "factor"), [(7, 3, 1 << 3), (7, -1, 1), (-1, 7, 1), (14, 200, 1 << 14), (0, 0, 1)])
def test_scaled_windows(table: Table, a: int, b: int, factor: int) -> None:
    """RFC 7323: those of SYNs are not scaled; either both ends scale or none; not by more than 14."""
    send(table, A, SYN, seq=1000, window=100, scale=a)
    send(table, B, SYN | ACK, seq=9000, ack=1001, window=100, scale=b)
    send(table, A, ACK, seq=1001, ack=9001, window=100)
    assert send(table, A, ACK, seq=1102, ack=9001).state == ESTABLISHED  # one more, as by a probe
    assert send(table, A, ACK, seq=1103, ack=9001).state == INVALID
    assert send(table, B, ACK, seq=9001, ack=1001, window=1000).state == ESTABLISHED
    assert send(table, A, ACK, seq=1001 + 1000 * factor + 2, ack=9001).state == INVALID
    assert send(table, A, ACK, seq=1001 + 1000 * factor, ack=9001).state == ESTABLISHED


def test_in_the_middle(table: Table) -> None:
    """Where connections may begin so: after a restart, and where replies go another way."""
    table.h.do("loose", 1)
    assert send(table, A, RST, seq=1).state == INVALID
    assert send(table, A, ACK, seq=5000, ack=70000, size=100, window=50).state == NEW
    assert send(table, A, ACK, seq=5100, ack=70000, size=100, window=50).state == NEW
    assert send(table, B, ACK, seq=70000, ack=5200, size=100000 % 1400, window=50).state == ESTABLISHED
    assert table.only().phase == "established"
    assert send(table, A, ACK, seq=5000 + 2**31, ack=70000, window=50).state == INVALID
    assert send(table, A, RST, seq=5200).state == ESTABLISHED
    assert table.only().phase == "reset"


def test_one_way_only(table: Table) -> None:
    send(table, A, SYN, seq=1000)
    assert send(table, A, ACK, seq=1001, ack=9001).state == INVALID
    table.h.do("loose", 1)
    send(table, A, SYN, seq=1000)
    assert send(table, A, ACK, seq=1001, ack=9001).state == INVALID  # it began with a SYN: an answer is to come


# ---- two ends that keep the rules, and one that does not ------------------------------------------


@dataclass
class End:
    """Sends data, retransmits, acknowledges; everything it says is true."""

    name: str
    next: int
    scale: int
    una: int = 0
    peer_next: int = 0  # the next byte it expects
    room: int = 30000  # that it offers
    edge: int = 0  # as far as it may send

    def window(self) -> int:
        return min(self.room >> self.scale, 65535)

    def chosen(self, rng: random.Random) -> tuple[int, int]:
        """Where the next segment begins, and its size."""
        what = rng.random()
        at = self.next
        if what < 0.5:
            size = min(rng.choice([1, 100, 1400, 9000, 60000]), max(self.edge - self.next, 0))
        elif what < 0.7 and self.next > self.una:  # again
            return self.una, min(self.next - self.una, 1400)
        elif what < 0.75 and self.next == self.edge:  # is the window still closed?
            size = 1
        else:  # an acknowledgement, or a keep-alive
            return (self.una - 1, 0) if what < 0.8 else (at, 0)
        self.next += size
        return at, size


@dataclass(frozen=True)
class Sent:
    packet: bytes
    sender: End
    at: int
    size: int
    ack: int
    window: int
    step: int


class Conversation:
    def __init__(self, table: Table, rng: random.Random) -> None:
        self.table, self.rng = table, rng
        self.way: list[Sent] = []  # under way
        self.step = 0
        a = self.a = End(A, rng.randrange(2**32), rng.choice([0, 7, 14]))
        b = self.b = End(B, rng.randrange(2**32), rng.choice([0, 2, 9]))
        send(table, A, SYN, seq=a.next, scale=a.scale, window=30000)
        send(table, B, SYN | ACK, seq=b.next, ack=a.next + 1, scale=b.scale, window=30000)
        a.una = a.next = b.peer_next = a.next + 1
        b.una = b.next = a.peer_next = b.next + 1
        send(table, A, ACK, seq=a.next, ack=b.next, window=a.window())
        a.edge, b.edge = a.next + 30000, b.next + (a.window() << a.scale)

    def say(self) -> None:
        me = self.rng.choice([self.a, self.b])
        at, size = me.chosen(self.rng)
        me.room = self.rng.choice([me.room, self.rng.randrange(60000)])
        packet = segment(me.name, ACK, seq=at, ack=me.peer_next, size=size, window=me.window())
        self.way.append(Sent(packet, me, at, size, me.peer_next, me.window() << me.scale, self.step))

    def deliver(self, sent: Sent) -> None:
        """Through the table; or lost before it, or behind it."""
        lost = self.rng.random()
        if lost < 0.1:
            return
        state = self.table.state(sent.packet)
        end, sender = sent.at + sent.size, sent.sender
        if state == INVALID and end <= sender.una and sent.step < self.step:
            return  # overtaken by more than a window: its receiver has all of it
        assert state == ESTABLISHED, sent
        if lost < 0.2:
            return
        receiver = self.b if sender is self.a else self.a
        if sent.ack >= receiver.una:
            receiver.una = sent.ack
            receiver.edge = max(receiver.edge, sent.ack + sent.window)
        if sent.at == receiver.peer_next:
            receiver.peer_next = end

    def lie(self) -> None:
        """Somebody who sees nothing of this."""
        flags = self.rng.choice([RST, RST | ACK, ACK, SYN, FIN | ACK])
        seq, ack = self.rng.randrange(2**32), self.rng.randrange(2**32)
        send(self.table, self.rng.choice([A, B]), flags, seq=seq, ack=ack)

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step += 1
            self.say()
            while self.way and self.rng.random() < 0.6:
                self.deliver(self.way.pop(self.rng.choice([0, 0, 0, -1])))
            if self.rng.random() < 0.2:
                self.lie()
            assert self.table.only().phase == "established"


@given(st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_whoever_keeps_the_rules_is_served(h: Harness, seed: int) -> None:
    """Segments lost, late, again, and blind lies among them: nothing true is refused, and no lie ends it."""
    Conversation(Table(h), random.Random(seed)).run(60)


def test_ports_that_are_used_again(table: Table) -> None:
    """By the end that was called: a connection the other way, when the old one is over."""
    opened(table)
    send(table, A, RST, seq=1001)
    looked = send(table, B, SYN, seq=4711)
    assert (looked.state, looked.dir) == (NEW, 0)
    assert table.only().tuples[0][0] == B
    assert send(table, A, SYN | ACK, seq=1, ack=4712).dir == REPLY


def test_a_full_table_lets_go_of_what_is_over(h: Harness) -> None:
    table = Table(h, 1)
    opened(table)
    other = fp.tcp(A, 5000, B, 80, SYN)
    looked = table.see(other)
    assert looked is not None and looked.result < 0
    send(table, A, RST, seq=1001)
    looked = table.see(other)
    assert looked is not None and looked.result == 0
    assert table.stats()["evicted"] == 1
