# SPDX-License-Identifier: MIT
"""Routers between two network namespaces, a source and a sink: a VM of ours, the Linux microVM, and a veth pair in their
place. And what puts load on them: packetload.c."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from floe.bench.compiled import compiled
from floe.bench.linux import MEMORY, LinuxVm, router
from floe.errors import VmError
from floe.spec.network import parse_cards
from tests.bench.common import GUESTS, HERE, Report, build, expect, floe_vm
from tests.bench.guests.refused import refused
from tests.support.spaces import Space, spaces

Rules = tuple[int, bool]  # rules that refuse, and whether they stand behind the one for what is established
WAIT_S = 30.0
_BOOT_S = 180.0  # with 1,000 rules, under TCG, beside other work
_MACS = ("02:00:00:00:01:01", "02:00:00:00:02:01")
_NET = tuple(f"mac={mac},ip=10.{number}.0.1/24,ip6=none" for number, mac in enumerate(_MACS, 1))
_FLOWS = 50  # of the load


@dataclass
class Way:
    """From the source to the sink, through a router or straight."""

    left: Space
    right: Space
    hop: str  # hardware address of what the source sends to
    ask: Callable[[str], Any] = lambda what: None


def nft_rules(rules: Rules) -> str:
    """What guest_router.py loads, for nft."""
    out = ["table ip bench {", "chain forward {", "type filter hook forward priority 0; policy drop;"]
    count, behind = rules
    more = []
    for word, value, proto, port in refused(count):
        address = f"ip {word[0]}addr {value} " if word else ""
        more.append(f"{address}{f'{proto} dport {port} ' if proto else ''}drop")
    established = ["ct state established,related accept"]
    out += [*established, *more] if behind else [*more, *established]
    out += ['iif "eth0" accept', "}", "chain out {"]
    out += ["type nat hook postrouting priority 100;", 'oif "eth1" masquerade', "}", "}"]
    return "\n".join(out) + "\n"


@contextmanager
def ours(
    number: int, accel: str, rules: Rules, *, machine: str = "microvm", memory: str = "64M", flows: int = 0
) -> Iterator[Way]:
    """A VM of ours between two namespaces."""
    with _ends(number) as (left, right):
        cards = parse_cards([f"tap:{space.tap},{words}" for space, words in zip((left, right), _NET, strict=True)])
        env = (("REFUSED", str(rules[0])), ("BEHIND", "yes" if rules[1] else "no"), ("FLOWS", str(flows)))
        elf = build(GUESTS / "guest_router.py")
        with floe_vm(elf, accel=accel, machine=machine, memory=memory, cards=cards, env=env) as vm:
            expect(vm, "forwarding", _BOOT_S)

            def ask(what: str) -> Any:
                vm.send(what.encode() + b"\n")
                expect(vm, f"{what} end", WAIT_S)
                return re.findall(rf"(.*) {what} end", vm.console_text)[-1]

            yield _joined(left, right, ask)


@contextmanager
def theirs(number: int, accel: str, rules: Rules, *, memory: str = MEMORY, flows: int = 65536) -> Iterator[Way]:
    """The Linux microVM between two namespaces."""
    with _ends(number) as (left, right):
        root = router("router", nft_rules(rules), flows)
        taps = (left.tap, right.tap)
        with LinuxVm(None, (), {}, accel=accel, root=root, memory=memory, taps=taps, macs=_MACS) as vm:
            vm.wait_for("linux: forwarding")

            def ask(what: str) -> Any:
                time.sleep(1.5)  # it says so each second
                return (re.findall(r"linux: (\d+) flows", vm.text) or ["0"])[-1]

            yield _joined(left, right, ask)


@contextmanager
def direct(number: int) -> Iterator[Way]:
    """A veth pair in the place of the router."""
    with _ends(number) as (left, right):
        for space in (left, right):
            subprocess.run(["ip", "link", "del", space.tap], check=True, timeout=WAIT_S)
        argv = ["ip", "link", "add", left.tap, "netns", left.name, "type", "veth", "peer", "name", right.tap]
        subprocess.run([*argv, "netns", right.name], check=True, timeout=WAIT_S)
        for space, address in ((left, "10.1.0.2/24"), (right, "10.2.0.2/24")):
            space.ip("addr", "add", address, "dev", space.tap)
            space.ip("link", "set", space.tap, "up")
        for space in (left, right):
            _deafen(space)
        yield Way(left, right, right.run("cat", f"/sys/class/net/{right.tap}/address").strip())


def _ends(number: int) -> AbstractContextManager[list[Space]]:
    return spaces(f"l{number}", f"r{number}")


def _joined(left: Space, right: Space, ask: Callable[[str], Any]) -> Way:
    left.join("10.1.0.2/24", gateways=("10.1.0.1",))
    right.join("10.2.0.2/24", gateways=("10.2.0.1",))
    for space in (left, right):
        _deafen(space)
    path = Way(left, right, _MACS[0], ask)
    end = time.monotonic() + WAIT_S
    while not load(path, 100, 0.4, flows=1)["answered"]:
        if time.monotonic() > end:
            raise VmError("nothing comes through")
    return path


def _deafen(space: Space) -> None:
    """The load, and what the sink answers, are counted and then dropped, before the namespace looks at them."""
    space.run("sh", "-c", f"echo 1 >/proc/sys/net/ipv6/conf/{space.tap}/disable_ipv6")
    text = f"type filter hook ingress device {space.tap} priority 0\nudp dport 9 drop\nudp sport 9 drop"
    space.run("nft", f"table netdev sink {{\nchain sink {{\n{text}\n}}\n}}")


def load(path: Way, rate: float, seconds: float, kind: str = "count", flows: int = _FLOWS) -> Report:
    """What packetload says."""
    argv = [
        str(compiled(HERE / "packetload.c")),
        path.left.name,
        path.left.tap,
        path.hop,
        path.right.name,
        path.right.tap,
    ]
    argv += [str(rate), str(seconds), str(flows), kind]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + WAIT_S, check=False)
    if done.returncode:
        raise VmError("packetload failed", evidence=done.stderr)
    result: Report = json.loads(done.stdout)
    return result


def check_rules(path: Way, rules: int) -> None:
    """A datagram to a port that is refused is, and one beside it is not. Raises VmError."""
    port = int(refused(rules)[-1][3].partition("-")[0])

    def listen() -> tuple[socket.socket, socket.socket]:
        made = socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)
        for sock, at in zip(made, (port, port + 9), strict=True):
            sock.bind(("10.2.0.2", at))
            sock.settimeout(1.0)
        return made

    def send() -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            for at in (port, port + 9):
                sock.sendto(b"?", ("10.2.0.2", at))

    refuses, passes = path.right.call(listen)
    with refuses, passes:
        path.left.call(send)
        try:
            passes.recv(8)
            refuses.settimeout(0.2)
            refuses.recv(8)
        except TimeoutError as e:
            if refuses.gettimeout() == 0.2:
                return
            raise VmError("the rules refuse what they should let pass") from e
    raise VmError("the rules let pass what they should refuse")
