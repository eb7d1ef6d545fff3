# SPDX-License-Identifier: MIT
"""What the VMs of a stack on hosts say, line by line as it comes: no host keeps the times of lines (follow.py has those
of this machine)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import Future, wait
from functools import partial

from floe.compose import hosted
from floe.compose.follow import Line
from floe.compose.hosted import Fleet
from floe.errors import HostError
from floe.fleet import store
from floe.fleet.connection import started
from floe.fleet.console import LATER_S, Log
from floe.fleet.domain import CONSOLE, SERIAL
from floe.fleet.vms import There, Vms
from floe.shown import shown

_LONGEST = 1 << 16  # bytes of one line
_Said = tuple[There, list[str]]


class _Console:
    """What one VM says, from one start of its log to the next."""

    def __init__(self, vms: Vms, vm: There) -> None:
        self._logs = [Log(vms.store, vm.uuid + part) for part in (CONSOLE, SERIAL)]
        self._rests = [b""] * len(self._logs)  # of lines whose end has not come

    def news(self, vms: Vms, *, final: bool) -> list[str]:
        """The lines that have come; with what is no whole line yet where nothing follows."""
        lines: list[bytes] = []
        said = vms.host.ask(lambda c: [log.news(c) for log in self._logs], deadline_s=store.BRING_S)
        for number, data in enumerate(said):
            *whole, rest = (self._rests[number] + data).split(b"\n")
            if rest and (final or len(rest) > _LONGEST):
                whole, rest = [*whole, rest], b""
            self._rests[number] = rest
            lines += whole
        return [shown(line.rstrip(b"\r").decode("utf-8", "backslashreplace")) for line in lines]


class Follow:
    """The consoles of some VMs of a stack, of those too that start meanwhile. names: VMs or single replicas, empty for
    all."""

    def __init__(self, fleet: Fleet, project: str, names: Collection[str], put: Callable[[Line], None]) -> None:
        self.on_end: Callable[[There], None] = lambda vm: None  # a VM has ended
        self.on_gone: Callable[[HostError], None] = lambda error: None
        self.gone: dict[str, HostError] = {}  # hosts that answer no more
        self._hosts = dict(fleet.hosts)
        self._project = project
        self._names = names
        self._put = put
        self._consoles: dict[tuple[str, str, float], _Console] = {}
        self._over: set[tuple[str, str, float]] = set()  # those that have ended, and said all

    def put_all(self, last: int | None, *, final: bool) -> None:
        """What there is now, VM by VM; only the last lines of each where `last` says how many."""
        for host, vms in self._hosts.items():
            try:
                said = self._look(vms, final=final)
            except HostError as e:
                self._lose(host, e)
                continue
            for vm, lines in said:
                self._show(vm, lines if last is None else lines[max(0, len(lines) - last) :])

    def run(self, busy: Callable[[], bool] = lambda: False) -> None:
        """Put lines as they come, until all these VMs have ended or are removed, or their hosts are gone, and nothing
        is busy starting them. A host that is slow holds up no other one."""
        looks: dict[str, tuple[bool, Future[list[_Said]]]] = {}  # and whether nothing was busy when it began
        over: dict[str, bool] = {}
        while True:
            idle = not busy()  # looked at before what it leads to
            for host, vms in self._hosts.items():
                if host not in self.gone and host not in looks:
                    looks[host] = idle, started(partial(self._look, vms, final=False))
            wait([look for _, look in looks.values()], LATER_S)
            for host in [host for host, (_, look) in looks.items() if look.done()]:
                began_idle, look = looks.pop(host)
                over[host] = not self._taken(host, look) and began_idle
            if all(host in self.gone or over.get(host, False) for host in self._hosts):
                return
            store.wait(LATER_S)

    def _taken(self, host: str, look: Future[list[_Said]]) -> bool:
        """Whether VMs run there."""
        try:
            said = look.result()
        except HostError as e:
            self._lose(host, e)
            return False
        for vm, lines in said:
            self._show(vm, lines)
            if not vm.alive and _key(vm) not in self._over:
                self._over.add(_key(vm))
                self.on_end(vm)
        return any(vm.alive for vm, _ in said)

    def _lose(self, host: str, error: HostError) -> None:
        self.gone[host] = error
        self.on_gone(error)

    def _show(self, vm: There, lines: list[str]) -> None:
        for line in lines:
            self._put(Line(hosted.label(self._project, vm), None, line))

    def _look(self, vms: Vms, *, final: bool) -> list[_Said]:
        found = [vm for vm in vms.all() if vm.mark.project == self._project and self._asked_for(vm)]
        if any(not vm.alive and _key(vm) not in self._over for vm in found):
            store.settle()
        said = []
        for vm in found:
            if vm.alive:
                self._over.discard(_key(vm))  # floe start has begun it again
            elif _key(vm) in self._over:
                said.append((vm, list[str]()))
                continue
            console = self._consoles.setdefault(_key(vm), _Console(vms, vm))
            said.append((vm, console.news(vms, final=final or not vm.alive)))
        return said

    def _asked_for(self, vm: There) -> bool:
        return not self._names or vm.mark.service in self._names or hosted.label(self._project, vm) in self._names


def _key(vm: There) -> tuple[str, str, float]:
    return vm.host, vm.uuid, vm.mark.begun
