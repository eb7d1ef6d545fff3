# SPDX-License-Identifier: MIT
"""tools/floe/family/family.py: forks, ends and signals, between machines that are played here and channels that are not."""

from __future__ import annotations

import asyncio
import errno
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from floe.errors import VmError
from floe.family import family as module
from floe.family.frames import Kind, numbers
from floe.spec.network import Card
from floe.spec.vmspec import VmSpec
from tests.support.kin import SPEC, WAIT_S, Kin

STEPS = ("start", "expect_copy", "send_copy", "run_copy")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A standby is not waited for."""
    monkeypatch.setattr(module, "_SOON_S", 0.0)


def played(scene: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scene(), 3 * WAIT_S)

    asyncio.run(bounded())


def test_fork_returns_twice_and_the_end_of_the_child_is_told() -> None:
    async def scene() -> None:
        kin = Kin()
        await kin.top.say(Kind.HELLO, numbers(1))
        assert await kin.top.hear() == (Kind.HELLO, numbers(1, 1, 0, 3))
        assert await kin.top.fork() == 2
        child = kin.others[0]
        kind, payload = await child.hear()
        assert (kind, payload[:4]) == (Kind.RESULT, numbers(0))
        own = dict(line.split("=", 1) for line in payload[4:].decode().splitlines())
        assert (own["pid"], own["ppid"], own["name"], own["uuid"]) == ("2", "1", "app.1", "uuid of app.1")
        assert len(bytes.fromhex(own["seed"])) == 32
        assert await kin.top.fork() == 3
        kind, payload = await kin.others[1].hear()
        assert own["seed"].encode() not in payload
        await child.say(Kind.HELLO, numbers(1))
        assert await child.hear() == (Kind.HELLO, numbers(1, 2, 1, 3))
        child.on_over(7 << 8)
        assert await kin.top.hear() == (Kind.ENDED, numbers(2, 7 << 8))
        assert kin.lines == []

    played(scene)


def test_what_a_vm_wrote_before_its_end_is_read() -> None:
    """Its end may be known before its last frames were read."""

    async def scene() -> None:
        kin = Kin()
        await kin.top.say(Kind.PIPE, channel=1 << 16)
        assert await kin.top.fork() == 2
        await kin.others[0].say(Kind.WRITE, b"the last", 1 << 16)  # at once, without a turn of the loop
        kin.others[0].on_over(0)
        assert await kin.top.hear() == (Kind.ENDED, numbers(2, 0))
        await kin.top.say(Kind.READ, numbers(100), 1 << 16)
        assert await kin.top.hear() == (Kind.DATA, b"the last")

    played(scene)


def test_nothing_is_said_to_a_vm_between_prepared_and_the_result() -> None:
    async def scene() -> None:
        kin = Kin()
        assert await kin.top.fork() == 2
        await kin.others[0].hear()
        await kin.top.say(Kind.PIPE, channel=1 << 16)
        await kin.top.say(Kind.READ, numbers(10), 1 << 16)
        assert await kin.top.fork() == 3
        await kin.others[1].hear()
        await kin.top.say(Kind.FORK)
        assert (await kin.top.hear())[0] is Kind.PREPARED
        await kin.others[1].say(Kind.WRITE, b"data", 1 << 16)
        await kin.others[1].say(Kind.KILL, numbers(2, 9))  # the answer comes when both are done
        assert (await kin.others[1].hear())[0] is Kind.TAKEN
        assert (await kin.others[1].hear())[0] is Kind.KILLED
        await kin.top.say(Kind.FROZEN)
        assert await kin.top.hear() == (Kind.RESULT, numbers(4))
        assert await kin.top.hear() == (Kind.DATA, b"data")
        assert await kin.top.hear() == (Kind.ENDED, numbers(2, 9))
        assert (await kin.others[2].hear())[0] is Kind.RESULT
        with pytest.raises(BlockingIOError):
            kin.others[2].guest.recv(1)

    played(scene)


@pytest.mark.parametrize(
    ("spec", "place", "number"),
    [
        (replace(SPEC, children=0), b"", errno.ENOSYS),
        (replace(SPEC, cards=(Card("tap", "tap0", ip="10.0.0.2/24"),)), b"", errno.EADDRNOTAVAIL),
        (replace(SPEC, memory=1 << 60), b"", errno.EAGAIN),
        (SPEC, b"elsewhere", errno.EOPNOTSUPP),
    ],
)
def test_a_fork_that_cannot_be_is_refused_at_once(spec: VmSpec, place: bytes, number: int) -> None:
    async def scene() -> None:
        kin = Kin(spec)
        await kin.top.say(Kind.FORK, place)
        assert await kin.top.hear() == (Kind.RESULT, numbers(-number))
        assert kin.others == []

    played(scene)


def test_a_hypervisor_that_does_not_copy() -> None:
    async def scene() -> None:
        kin = Kin()
        kin.top.can_copy = False
        assert await kin.top.fork() == -errno.ENOSYS

    played(scene)


def test_so_many_children_and_then_one_more_after_an_end() -> None:
    async def scene() -> None:
        kin = Kin()
        assert [await kin.top.fork() for _ in range(4)] == [2, 3, 4, -errno.EAGAIN]
        await kin.others[1].hear()
        assert await kin.others[1].fork() == -errno.EAGAIN  # they are of the family, whoever makes them
        kin.others[0].on_over(0)
        assert await kin.top.hear() == (Kind.ENDED, numbers(2, 0))
        assert await kin.others[1].fork() == 5

    played(scene)


@pytest.mark.parametrize("step", STEPS)
def test_a_fork_that_fails_at_a_step_leaves_nothing(step: str) -> None:
    async def scene() -> None:
        kin = Kin(fails=step)
        await kin.top.say(Kind.PIPE, channel=1 << 16)
        assert await kin.top.fork() == -errno.EAGAIN
        await asyncio.sleep(0)  # the machine that was to be its child tells its end
        await asyncio.sleep(0)
        [machine] = kin.others
        assert machine.ended == (step != "start")
        assert kin.family.children == []
        assert kin.lines == [f"app could not be copied: {step} fails"]
        # Nobody else holds the writing end now, and no end was told.
        await kin.top.say(Kind.CLOSE, b"\1", 1 << 16)
        await kin.top.say(Kind.READ, numbers(1), 1 << 16)
        assert await kin.top.hear() == (Kind.DATA, b"")
        kin.fails = kin.top.fails = ""
        assert await kin.top.fork() == 3

    played(scene)


def test_a_guest_that_never_stands_still_is_given_up() -> None:
    async def scene() -> None:
        kin = Kin()
        kin.family.fork_s = 0.2
        await kin.top.say(Kind.FORK)
        assert (await kin.top.hear())[0] is Kind.PREPARED
        assert await kin.top.hear() == (Kind.RESULT, numbers(-errno.EAGAIN))
        assert kin.others[0].ended == 1
        assert kin.lines == ["app could not be copied: it took too long"]

    played(scene)


def test_signals() -> None:
    async def scene() -> None:
        kin = Kin()
        assert await kin.top.fork() == 2
        child = kin.others[0]
        await child.hear()
        for pid, number, result in (
            (2, 0, 0),
            (9, 0, -errno.ESRCH),
            (-1, 15, -errno.ESRCH),
            (2, 19, -errno.EINVAL),
            (2, 15, 0),
        ):
            await kin.top.say(Kind.KILL, numbers(pid, number))
            assert await kin.top.hear() == (Kind.KILLED, numbers(result))
        assert await child.hear() == (Kind.SIGNAL, numbers(15))
        await kin.top.say(Kind.KILL, numbers(2, 9))
        assert await kin.top.hear() == (Kind.KILLED, numbers(0))
        assert await kin.top.hear() == (Kind.ENDED, numbers(2, 9))

    played(scene)


def test_who_loses_its_parent_becomes_the_first_one_s_child() -> None:
    async def scene() -> None:
        kin = Kin()
        assert await kin.top.fork() == 2
        await kin.others[0].hear()
        assert await kin.others[0].fork() == 3
        kin.others[0].on_over(0)
        kin.others[1].on_over(5 << 8)
        assert await kin.top.hear() == (Kind.ENDED, numbers(2, 0))
        assert await kin.top.hear() == (Kind.ENDED, numbers(3, 5 << 8))

    played(scene)


@pytest.mark.parametrize(
    ("kind", "payload", "channel", "problem"),
    [
        (Kind.RESULT, b"\0" * 4, 0, "a frame of kind 5"),
        (Kind.HELLO, numbers(2), 0, "HELLO of version 2"),
        (Kind.FROZEN, b"", 0, "FROZEN without a fork"),
        (Kind.PIPE, b"", 3 << 16, "PIPE with the id 0x30000"),
    ],
)
def test_a_broken_frame_ends_the_service_and_nothing_else(
    kind: Kind, payload: bytes, channel: int, problem: str
) -> None:
    async def scene() -> None:
        kin = Kin()
        assert await kin.top.fork() == 2
        child = kin.others[0]
        await child.hear()
        await child.say(kind, payload, channel)
        with pytest.raises(EOFError):
            await child.hear()
        assert kin.lines == [f"app.1 is no longer served as one of a family: it sent {problem}"]
        assert await kin.top.fork() == 3
        child.on_over(0)
        assert await kin.top.hear() == (Kind.ENDED, numbers(2, 0))

    played(scene)


def test_the_end_of_the_first_is_the_end_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        monkeypatch.setattr(module, "_END_S", 0.2)
        kin = Kin()
        assert [await kin.top.fork() for _ in range(2)] == [2, 3]
        for child in kin.others[:2]:
            await child.hear()
        assert not kin.family.dissolve()
        assert not kin.family.dissolve()  # it is asked again and again
        assert await kin.others[0].hear() == (Kind.SIGNAL, numbers(15))
        kin.others[0].on_over(0)
        await asyncio.wait_for(kin.over.wait(), WAIT_S)
        assert [machine.ended for machine in kin.others] == [0, 1, 1]  # the third one waited for a fork
        assert kin.family.dissolve()

    played(scene)


def test_a_reset_of_the_first_ends_the_others_and_nobody_is_told() -> None:
    async def scene() -> None:
        kin = Kin()
        assert await kin.top.fork() == 2
        kin.top.start()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert kin.family.children == []
        await kin.top.say(Kind.HELLO, numbers(1))
        assert await kin.top.hear() == (Kind.HELLO, numbers(1, 1, 0, 3))

    played(scene)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.001)


def test_a_machine_waits_for_the_second_fork_and_is_nobody_until_then() -> None:
    async def scene() -> None:
        kin = Kin()
        await asyncio.sleep(0)
        assert kin.others == []  # who has not forked pays nothing
        assert await kin.top.fork() == 2
        await eventually(lambda: kin.family.ready)
        waiting = kin.others[1]
        assert (len(kin.others), waiting.said) == (2, ["start", "expect_copy"])
        assert [child.name for child in kin.family.children] == ["app.1"]
        assert kin.told == ["app.1"]
        await kin.top.say(Kind.KILL, numbers(3, 0))
        assert await kin.top.hear() == (Kind.KILLED, numbers(-errno.ESRCH))
        await kin.others[0].hear()
        assert await kin.others[0].fork() == 3  # it serves who comes first
        assert waiting.said == ["start", "expect_copy", "run_copy"]
        assert waiting.spec.name == "app.2"
        _, payload = await waiting.hear()
        own = dict(line.split("=", 1) for line in payload[4:].decode().splitlines())
        assert (own["pid"], own["ppid"], own["name"], own["uuid"]) == ("3", "2", "app.2", "uuid of app")
        assert kin.told == ["app.1", "app.2"]
        waiting.on_over(0)
        assert await kin.others[0].hear() == (Kind.ENDED, numbers(3, 0))

    played(scene)


def test_none_waits_while_there_are_as_many_children_as_may_be() -> None:
    async def scene() -> None:
        kin = Kin(replace(SPEC, children=1))
        assert await kin.top.fork() == 2
        assert await kin.top.fork() == -errno.EAGAIN
        await asyncio.sleep(0.05)
        assert len(kin.others) == 1
        kin.others[0].on_over(0)
        await eventually(lambda: kin.family.ready)
        assert await kin.top.hear() == (Kind.ENDED, numbers(2, 0))
        assert await kin.top.fork() == 3
        assert len(kin.others) == 2

    played(scene)


def test_none_waits_where_its_captured_packets_would_be_seen() -> None:
    async def scene() -> None:
        kin = Kin(replace(SPEC, capture=Path("x.pcap")))
        assert await kin.top.fork() == 2
        await asyncio.sleep(0.05)
        assert await kin.top.fork() == 3
        assert [machine.spec.name for machine in kin.others] == ["app.1", "app.2"]

    played(scene)


@pytest.mark.parametrize("how", ["it dies", "it was idle"])
def test_one_that_waits_and_ends_is_made_anew_by_the_next_fork(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        if how == "it was idle":
            monkeypatch.setattr(module, "_IDLE_S", 0.2)
        kin = Kin()
        assert await kin.top.fork() == 2
        await eventually(lambda: kin.family.ready)
        if how == "it dies":
            kin.others[1].on_over(int(signal.SIGKILL))
        await eventually(lambda: not kin.family.ready)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert kin.others[1].guest.recv(1) == b""
        assert await kin.top.fork() == 3  # of the one that waited no number is lost
        assert kin.others[2].said == ["start", "expect_copy", "run_copy"]
        assert kin.lines == []

    played(scene)


@pytest.mark.parametrize("step", ["start", "expect_copy"])
def test_one_that_cannot_wait_is_no_matter(step: str) -> None:
    async def scene() -> None:
        kin = Kin(fails=step, spared=1)
        assert await kin.top.fork() == 2
        await eventually(lambda: len(kin.others) == 2)
        await asyncio.sleep(0.01)
        assert kin.others[1].ended == (step != "start")
        assert not kin.family.ready
        kin.fails = ""
        assert await kin.top.fork() == 3
        assert kin.lines == []

    played(scene)


@pytest.mark.parametrize("how", ["dissolve", "kill", "reset"])
def test_one_that_waits_ends_with_the_first(how: str) -> None:
    async def scene() -> None:
        kin = Kin()
        assert await kin.top.fork() == 2
        kin.others[0].on_over(0)
        await eventually(lambda: kin.family.ready)
        if how == "reset":
            kin.top.start()
            await eventually(lambda: kin.others[1].ended == 1)
            await asyncio.sleep(0.01)
            assert len(kin.others) == 2  # and none is made until it has forked again
            return
        if how == "kill":
            kin.family.kill()
        assert not kin.family.dissolve()  # it is waited for
        await asyncio.wait_for(kin.over.wait(), WAIT_S)
        assert (kin.others[1].ended, len(kin.others)) == (1, 2)
        assert kin.family.dissolve()

    played(scene)


def test_a_copy_of_a_kept_vm_is_told_who_it_is_and_waits_until_it_is_wanted() -> None:
    async def main() -> None:
        kin = Kin()
        kin.family.go_on((), hold=True)
        assert (await kin.top.hear())[0] is Kind.HOLD
        kind, payload = await kin.top.hear()
        assert kind is Kind.RESULT
        assert b"pid=1\n" in payload
        with pytest.raises(VmError, match=r"app did not come to wait within 0\.01 s"):
            await kin.family.held(0.01)
        await kin.top.say(Kind.HOLD)
        await kin.family.held(WAIT_S)
        going = asyncio.create_task(kin.family.let_go())
        assert await kin.top.hear() == (Kind.GO, b"")
        assert not going.done()
        await kin.top.say(Kind.GO)
        await asyncio.wait_for(going, WAIT_S)

    asyncio.run(main())
