# SPDX-License-Identifier: MIT
"""A family of VMs, kept by the process that owns the first of them: numbers, forks, ends, signals and pipes.

The first VM is number 1, as init in a PID namespace: who has lost its parent becomes its child, and its end is the end
of all. Everything runs in the owner's event loop; a fork is a task of its own, with a deadline.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from floe import hostmemory
from floe.errors import FloeError, VmError
from floe.family import cards, frames
from floe.family.capture import Capture, Captured, not_kept
from floe.family.cards import Addresses, CannotForkError
from floe.family.copies import PrivateDisks
from floe.family.frames import BrokenFrame, Frame, Kind, numbers
from floe.family.member import Elsewhere, Machine, MakeCopy, Member, Unplaced
from floe.family.pipes import Kept, Pipes
from floe.family.standby import Standby

TOP = 1
_LAST_PID = 32767
_SNAPSHOT_S = 30.0  # until a script is between two steps
_FORK_S = 20.0  # for a fork, all in all; a guest gives up after 240
_END_S = 7.0  # what the others may take to end after the first one has: a guest ends by itself 5 s after it was asked
_SOON_S = 0.05  # from a fork to the start of the next standby, which takes the loop from the child's first lines
_IDLE_S = 60.0  # how long a standby waits for the next fork
_CARDS_ELSEWHERE = ("user",)  # kinds of cards that a copy on another host can have
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


class _Refused(Exception):
    """A fork that cannot be."""

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.number = number


class Family:
    """All VMs that come of one. `name`: the first one's. `elsewhere` makes copies on other hosts, where there may be
    some. `say` takes lines for the user."""

    def __init__(
        self,
        machine: Machine,
        name: str,
        *,
        make: MakeCopy,
        loop: asyncio.AbstractEventLoop,
        say: Callable[[str], None],
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self.on_child: Callable[[str, Machine], None] = lambda name, machine: None  # its hypervisor was started
        self.on_end: Callable[[str, int], None] = lambda name, status: None  # a child has ended, as of waitpid()
        self.on_over: Callable[[], None] = lambda: None  # dissolve() was called, and the last child has ended
        self.fork_s = _FORK_S  # what a fork may take
        self._make = make
        self._loop = loop
        self._say = say
        self.elsewhere = elsewhere
        self._pipes = Pipes(self._send)
        self._members: dict[int, Member] = {}
        self._last = TOP
        self._dissolving = False
        self._forked = False  # since the first VM's start
        self._standby: Standby | None = None  # for the next fork, whose ever it is
        self._soon: asyncio.TimerHandle | None = None  # its start
        self._idle: asyncio.TimerHandle | None = None  # its end, unused
        self._capture: Capture | None = None  # the first VM's state, on its way out
        self.is_template = False  # the first VM is wanted for its state at vm.ready() alone
        self._held = asyncio.Event()  # the first VM waits for let_go()
        self._going = asyncio.Event()  # and goes on
        self._leaving: set[Standby] = set()  # those that end unused
        self._top = self._admit(Member(TOP, 0, name, machine))
        self._top.born = True

    @property
    def children(self) -> list[Member]:
        """All but the first."""
        return [member for pid, member in self._members.items() if pid != TOP]

    @property
    def ready(self) -> bool:
        """Whether a hypervisor waits for the next fork."""
        return self._standby is not None and self._standby.ready

    def reached_at(self, guest_port: int) -> list[tuple[str, int]]:
        """Where this machine reaches a TCP port of its children that are not about to end. May be called from any
        thread."""
        return [
            (forward.address, forward.host_port)
            for member in list(self._members.values())
            if member is not self._top and member.born and not member.leaving and not member.host
            for forward in member.machine.spec.forwards
            if (forward.guest_port, forward.protocol) == (guest_port, "tcp")
        ]

    def connect(self, sock: socket.socket) -> None:
        """The first VM's channel, which becomes ours; a new one when it was started again: then nothing of before is
        left."""
        self._abort(self._top)
        self._pipes.leave(TOP)
        for child in self.children:
            child.ppid = 0  # of its end nobody is told
        self._forked = False
        self._kill_all()
        self._top.connect(sock, self._loop)

    # ---- the end ------------------------------------------------------------------------------------

    def terminate(self) -> None:
        """Ask all but the first to end."""
        for child in self.children:
            child.ask_to_end()

    def kill(self) -> None:
        """Begin to end all but the first, and make no more."""
        self._dissolving = True
        self._kill_all()

    def dissolve(self) -> bool:
        """The first one has ended: end the others. True: they are gone. Else on_over() tells."""
        self._top.finish()
        self._top.close()
        self._abort(self._top)
        if not self._dissolving:
            self._dissolving = True
            self._send_away()
            if self.children:
                self.terminate()
                self._loop.call_later(_END_S, self._kill_all)
        return self._is_over()

    def _kill_all(self) -> None:
        self._send_away()
        for member in list(self._members.values()):
            if member is not self._top:
                self._abort(member)
                member.machine.end_at_once()

    def _abort(self, member: Member) -> None:
        """A fork that is under way is none."""
        if member is self._top and self._capture is not None:
            self._capture.fail(VmError(f"{member.name} has ended"))
        if member.forking is not None:
            member.forking.cancel()

    def _ended(self, member: Member, status: int) -> None:
        member.status = status
        member.finish()
        self._abort(member)
        self._leave(member)
        if member.born:
            for other in self._members.values():
                if other.ppid == member.pid:
                    other.ppid = TOP
            parent = self._members.get(member.ppid)
            if parent is not None:
                parent.send(Kind.ENDED, numbers(member.pid, status))
            self.on_end(member.name, status)
        self._want_standby()
        self._look_for_the_end()

    def _look_for_the_end(self) -> None:
        if self._dissolving and self._is_over():
            self.on_over()

    def _is_over(self) -> bool:
        over = not self.children and not self._leaving
        if over and self.elsewhere is not None:
            self.elsewhere.close()
        return over

    def _leave(self, member: Member) -> None:
        if self._members.pop(member.pid, None) is not None:
            member.close()
            member.disks.close()
            self._pipes.leave(member.pid)

    # ---- frames -------------------------------------------------------------------------------------

    def _admit(self, member: Member) -> Member:
        self._members[member.pid] = member
        member.on_frame = lambda frame: self._do(member, frame)
        member.on_broken = lambda problem: self._broken(member, problem)
        return member

    def _broken(self, member: Member, problem: str) -> None:
        self._say(f"{member.name} is no longer served as one of a family: it sent {problem}")
        self._pipes.leave(member.pid)

    def _send(self, pid: int, kind: Kind, payload: bytes, channel: int) -> None:
        member = self._members.get(pid)
        if member is not None:
            member.send(kind, payload, channel)

    def _do(self, member: Member, frame: Frame) -> None:
        """Raises BrokenFrame."""
        pid, channel = member.pid, frame.channel
        if member.forking is not None and frame.kind is not Kind.FROZEN:
            raise BrokenFrame(f"{frame.kind.name} while it forks")
        if frame.kind is Kind.WRITE:
            self._pipes.write(pid, channel, frame.payload)
        elif frame.kind is Kind.READ:
            self._pipes.read(pid, channel, frame.number())
        elif frame.kind is Kind.WANT:
            self._pipes.want(pid, channel, frame.number())
        elif frame.kind is Kind.STATE:
            self._pipes.tell(pid, channel, frame.number())
        elif frame.kind is Kind.CLOSE:
            self._pipes.close(pid, channel, frame.number())
        elif frame.kind is Kind.PIPE:
            self._pipes.make(pid, channel)
        else:
            self._do_own(member, frame)

    def _do_own(self, member: Member, frame: Frame) -> None:
        """What is not about pipes."""
        if frame.kind is Kind.HELLO:
            if frame.number() != frames.VERSION:
                raise BrokenFrame(f"HELLO of version {frame.number()}")
            most = member.machine.spec.children or 0
            if self.is_template and member is self._top:
                member.send(Kind.TEMPLATE)
            member.send(Kind.HELLO, numbers(frames.VERSION, member.pid, member.ppid, most))
            member.greeted.set()
        elif frame.kind is Kind.KILL:
            pid, number = struct.unpack("<ii", frame.payload)
            member.send(Kind.KILLED, numbers(-self._kill(pid, number)))
        elif frame.kind is Kind.FORK:
            member.frozen.clear()
            kept = frame.payload == frames.KEPT
            way = self._keep(member) if kept else self._fork(member, frame.payload.decode(errors="replace"))
            member.forking = self._loop.create_task(way)
        elif frame.kind is Kind.SNAPSHOT:
            if self._capture is not None and member is self._top:
                self._capture.fail(not_kept(frame.number()))
        elif frame.kind is Kind.HOLD:
            self._held.set()
        elif frame.kind is Kind.GO:
            self._going.set()
        elif frame.kind is Kind.FROZEN:
            if not member.prepared:
                raise BrokenFrame("FROZEN without a fork")
            member.prepared = False
            member.frozen.set()

    def _kill(self, pid: int, number: int) -> int:
        """0, or why not."""
        target = self._members.get(pid)
        if target is None or not target.born:
            return errno.ESRCH
        if number == 0:
            return 0
        if number not in _SIGNALS:
            return errno.EINVAL
        if number == signal.SIGKILL:
            target.machine.end_at_once()
        else:
            target.ask_to_end(number)
        return 0

    # ---- fork ---------------------------------------------------------------------------------------

    async def _fork(self, parent: Member, host: str) -> None:
        host = host or parent.host
        try:
            async with asyncio.timeout(self.fork_s):
                self._check(parent, host)
                result = (await self._copied(parent, host)).pid
        except _Refused as e:
            result = -e.number
        except CannotForkError as e:
            self._say(f"{parent.name} cannot fork: {e.message}")
            result = -e.number
        except (FloeError, OSError, TimeoutError) as e:
            said = _told(e)
            self._say(f"{parent.name} could not be copied: {said}")
            result = -e.number if isinstance(e, Unplaced) else -errno.EAGAIN
        except Exception:  # a fault of ours; a guest that stays held hears nothing any more
            parent.release(Kind.RESULT, numbers(-errno.EAGAIN))
            raise
        finally:
            parent.forking = None
        parent.release(Kind.RESULT, numbers(result))
        if result > 0:
            self._forked = self._forked or not host
            self._want_standby()

    def _check(self, parent: Member, host: str) -> None:
        """Raises _Refused, Unplaced."""
        spec = parent.machine.spec
        if not parent.machine.copies() or not self._top.machine.spec.children:
            raise _Refused(errno.ENOSYS)
        if host and spec.egress is not None:  # what it may reach is looked up and held here
            raise _Refused(errno.EOPNOTSUPP)
        if host and (self.elsewhere is None or any(card.kind not in _CARDS_ELSEWHERE for card in spec.cards)):
            raise _Refused(errno.EOPNOTSUPP)
        if parent.host and any(not disk.readonly for disk in spec.disks):
            raise Unplaced(errno.EOPNOTSUPP, f"{parent.host} has its disks, which are not copied there")
        if not self._has_room(host):
            raise _Refused(errno.EAGAIN)

    def _has_room(self, host: str = "") -> bool:
        """For one more: of those that may be, and in the host's memory, which a machine that waits has not used yet."""
        spec = self._top.machine.spec
        if self._dissolving or len(self.children) >= (spec.children or 0):
            return False
        return host != "" or hostmemory.has_room(spec.memory)

    async def _copied(self, parent: Member, host: str) -> Member:
        """The child, which runs. Raises FloeError, OSError; then there is none."""
        pid = self._next_pid()
        name = f"{self._top.name}.{pid - TOP}"
        addresses = self._addresses(pid)
        waiting = (None if host else self._taken()) or self._started(name, host)
        waiting.take()
        machine = waiting.machine
        machine.spec = replace(machine.spec, name=name, cards=cards.told(machine.spec.cards, addresses))
        child = Member(pid, parent.pid, name, machine)
        child.disks = waiting.disks
        child.host = host
        waiting.on_over = lambda status: self._ended(child, status)
        self._admit(child)
        self._pipes.inherit(parent.pid, pid)
        try:
            if waiting.channel is not None:
                child.connect(waiting.channel, self._loop)
            self.on_child(name, machine)
            await self._carry(parent, child, waiting)
        except BaseException:
            machine.end_at_once()
            raise
        child.born = True
        child.born_at = time.time()
        child.send(Kind.RESULT, numbers(0) + child.identity().encode())
        return child

    def _addresses(self, pid: int) -> list[Addresses]:
        """For a child's cards, none of which another member has. Raises CannotForkError."""
        taken = {text for member in self._members.values() for text in cards.addresses(member.machine.spec.cards)}
        return cards.spare(self._top.machine.spec.cards, taken, pid - TOP - 1)

    async def _carry(self, parent: Member, child: Member, waiting: Standby) -> None:
        """The parent's state into the child's machine."""
        parent.send(Kind.PREPARED)
        parent.prepared = True
        parent.hold()
        with await waiting.source() as sock:
            await parent.frozen.wait()
            await parent.machine.send_copy(sock, lambda: child.disks.fill(parent.machine.spec.disks))
        await waiting.machine.run_copy()
        if child.status is not None:
            raise VmError(f"{child.name} ended at once")

    # ---- the first VM's state, for whoever wants it ----------------------------------------------------

    async def capture(self, *, deadline_s: float = _SNAPSHOT_S) -> Captured:
        """The first VM's state: as it is at the next moment between two steps of its script, from where it goes on; of
        a template, at vm.ready(), and it does not go on. Raises FloeError, OSError."""
        if self._capture is not None:
            raise VmError(f"a snapshot of {self._top.name} is being taken already")
        if not self._top.is_reached:
            raise VmError(
                f"{self._top.name} is not served as one of a family any more",
                hint=f"floe logs {self._top.name} says why; floe stop and floe start mend it",
            )
        if not hostmemory.has_room(self._top.machine.spec.memory):
            raise VmError("this machine has no memory left for a copy of the VM's")
        self._capture = capture = Capture(self._top, self._make, self._loop, last=self.is_template)
        try:
            return await capture.result(deadline_s)
        finally:
            self._capture = None
            await capture.close()

    async def _keep(self, parent: Member) -> None:
        """The guest stands where it can be copied, and waits."""
        capture = self._capture if parent is self._top else None
        kept = False
        try:
            if capture is not None:
                kept = await capture.let_out(lambda: self._pipes.kept(parent.pid), self.fork_s)
        finally:
            parent.forking = None
        if not kept or not self.is_template:
            parent.release(Kind.RESULT, numbers(1 if kept else -errno.EAGAIN))

    def go_on(self, pipes: Sequence[Kept], *, hold: bool = False) -> None:
        """The first VM is a copy of one that was captured, and runs: tell it who it is. hold: its script does not go on
        before let_go()."""
        self._pipes.bring(TOP, pipes)
        self._top.greeted.set()
        if hold:
            self._top.send(Kind.HOLD)
        self._top.send(Kind.RESULT, numbers(0) + self._top.identity().encode())

    async def held(self, deadline_s: float) -> None:
        """Wait until the first VM, which was told to hold, is another machine and waits. Raises VmError."""
        try:
            await asyncio.wait_for(self._held.wait(), deadline_s)
        except TimeoutError:
            raise VmError(f"{self._top.name} did not come to wait within {deadline_s:g} s") from None

    async def let_go(self) -> None:
        """Have the script of the first VM go on, which was held, and wait until it does: for ever, if that has died."""
        self._top.send(Kind.GO)
        await self._going.wait()

    # ---- the standby --------------------------------------------------------------------------------

    def _started(self, name: str, host: str = "") -> Standby:
        """A machine for a copy of any member: they are all alike. Raises FloeError, OSError."""
        original = self._top.machine
        disks = PrivateDisks(original.spec.disks)
        try:
            if host and self.elsewhere is not None:
                return Standby(self.elsewhere.make(host, original, name, disks), disks, self._loop)
            return Standby(self._make(original, name, disks), disks, self._loop)
        except BaseException:
            disks.close()
            raise

    def _want_standby(self) -> None:
        """Have one machine wait for the next fork soon."""
        if self._soon is None and self._forked:
            self._soon = self._loop.call_later(_SOON_S, self._stand_by)

    def _stand_by(self) -> None:
        """Start it, where a fork is to be expected and could be. Its captured packets would be a file that is seen."""
        self._soon = None
        spec = self._top.machine.spec
        if self._standby is None and self._forked and not spec.capture and self._has_room():
            try:
                self._standby = standby = self._started(self._top.name)
            except (FloeError, OSError):
                return  # the next fork tries it too, and tells
            standby.on_over = lambda status: self._lost(standby)
            self._idle = self._loop.call_later(_IDLE_S, self._send_away)

    def _taken(self) -> Standby | None:
        """The one that waits, which is ours no longer."""
        standby, self._standby = self._standby, None
        if self._idle is not None:
            self._idle.cancel()
        return standby

    def _send_away(self) -> None:
        """End the one that waits."""
        standby = self._taken()
        if standby is not None:
            self._leaving.add(standby)
            standby.machine.end_at_once()

    def _lost(self, standby: Standby) -> None:
        """It has ended, by itself or because it was to."""
        if self._standby is standby:
            self._taken()
        self._leaving.discard(standby)
        standby.drop()
        self._look_for_the_end()

    # ---- numbers ------------------------------------------------------------------------------------

    def _next_pid(self) -> int:
        while True:
            self._last = self._last + 1 if self._last < _LAST_PID else TOP + 1
            if self._last not in self._members and not self._pipes.made_by(self._last):
                return self._last


def _told(error: FloeError | OSError | TimeoutError) -> str:
    """Why a fork failed, for the user."""
    if isinstance(error, FloeError):
        return error.message
    return error.strerror or str(error) or "it took too long"
