# SPDX-License-Identifier: MIT
"""What a router with two cards forwards between two networks: images/router, a Linux microVM with nftables, and the
kernel of this machine with the same rules. iperf3 on both sides, in network namespaces."""

from __future__ import annotations

import select
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from floe.bench import contest, guests, linux, net, rounds, spaces
from floe.bench.experiment import Contender, Experiment, Figure, LeftOut, Options, Reading, Turn
from floe.bench.guests import LABELS
from floe.bench.linux import LinuxVm
from floe.bench.running import Endpoint, left_s
from floe.bench.spaces import Space
from floe.build import port_archive
from floe.errors import FloeError, NotFound, VmError
from floe.spec.network import parse_cards
from floe.spec.vmspec import VmSpec, parse_memory

_IMAGE = port_archive.ROOT / "images" / "router"
_PORT = 5201
_ROUTERS, _HOSTS = ("10.1.0.1", "10.2.0.1"), ("10.1.0.2", "10.2.0.2")
_BITS = 24
_MEMORY = "32M"
_FLOWS = 65536
_POLL_S = 0.05
_DATAGRAM = 64  # bytes of the small ones
_TABLE = "Linux of this machine, nftables"
FIGURES = (
    *net.FIGURES,
    Figure("to_per_s", "small datagrams to the server", "1/s", more_is_better=True),
    Figure("from_per_s", "small datagrams from the server", "1/s", more_is_better=True),
)
Route = Callable[[float], AbstractContextManager[tuple[Space, Space]]]  # by the end of its start: both sides


def prepare(options: Options) -> Experiment:
    """Raises NotFound without iperf3, without root and without a checkout, and what the builds do."""
    guests.need("iperf3", "iperf3")
    if why := spaces.why_none():
        raise NotFound(why, hint="a router is measured between two network namespaces")
    guests.need_image(_IMAGE)
    options.say("forward: building images/router")
    guests.build(_IMAGE)
    left_out = list(guests.accels_left_out(options.accels, "Floe, {}"))
    routes: dict[str, Route] = {f"Floe, {LABELS[accel]}": partial(ours, accel) for accel in options.accels}
    if options.quick:
        left_out.append(LeftOut("Linux microVM, nftables", "--quick fetches nothing"))
    else:
        try:
            options.say("forward: preparing the Linux microVM")
            linux.router("forward", rules("eth0", "eth1"), _FLOWS)
            for accel in (accels := contest.linux_accels(options)):
                routes[f"Linux microVM, nftables, {LABELS[accel]}"] = partial(theirs, accel)
            if accels != options.accels:
                why = "Debian's kernel does not start under this machine's KVM"
                left_out.append(LeftOut("Linux microVM, nftables, KVM", why))
        except (FloeError, *rounds.FAULTS) as e:
            left_out.append(LeftOut("Linux microVM, nftables", rounds.said_by(e)))
    try:
        with this_machine(0.0):  # its kernel may know no nftables
            routes[_TABLE] = this_machine
    except (FloeError, *rounds.FAULTS) as e:
        left_out.append(LeftOut(_TABLE, rounds.said_by(e)))
    if options.quick:
        left_out.append(LeftOut("4 connections, and UDP above 50 Mbit/s", "not in --quick"))
    commands = {f"Floe, {LABELS[accel]}": command(accel) for accel in options.accels}
    against = _TABLE if _TABLE in routes else ""
    return Experiment(
        "forward",
        "Forwarding",
        "From one network to another, through a router with two cards that knows flows: TCP, UDP at rising rates, and "
        f"datagrams of {_DATAGRAM} bytes as fast as they are sent, to the server and from it.",
        FIGURES,
        tuple(
            Contender(name, partial(_measure, route), "" if name == against else against, commands.get(name, ""), 240)
            for name, route in routes.items()
        ),
        rounds=options.of(6, 1),
        seconds=60 if options.quick else 2700,
        left_out=tuple(left_out),
        axis="UDP offered, Mbit/s",
        note="images/router has no router.toml here: it forwards, and translates nothing. Both ends and the router "
        "share this machine's processors.",
    )


def rules(*cards: str) -> str:
    """What images/router does by itself, for nft: flows are known, a card's network is behind no other card."""
    lines = ["ct state established,related accept"]
    lines += [f'iifname "{card}" ip saddr {_ROUTERS[n]}/{_BITS} accept' for n, card in enumerate(cards)]
    chain = "type filter hook forward priority 0; policy drop;"
    return f"table ip bench {{\nchain forward {{\n{chain}\n" + "\n".join(lines) + "\n}\n}\n"


def _cards(*taps: str) -> list[str]:
    return [f"tap:{tap},ip={_ROUTERS[n]}/{_BITS},ip6=none" for n, tap in enumerate(taps)]


def command(accel: str) -> str:
    """With which a user has the same VM, where taps are named so."""
    spec = VmSpec(_IMAGE, memory=parse_memory(_MEMORY), accel=accel)
    return guests.command_of(spec, _IMAGE, *(word for card in _cards("tap0", "tap1") for word in ("--net", card)))


@contextmanager
def ours(accel: str, end: float) -> Iterator[tuple[Space, Space]]:
    """A VM of ours between two namespaces. end: of time.monotonic(), for its start. Raises VmError, NotFound."""
    with spaces.spaces("l", "r") as (left, right):
        cards = parse_cards(_cards(left.tap, right.tap))
        with guests.booted(guests.spec(guests.build(_IMAGE), accel=accel, memory=_MEMORY, cards=cards)) as vm:
            guests.expect(vm, "routing between 2 cards", left_s(end))
            _join(left, right)
            yield left, right


@contextmanager
def theirs(accel: str, end: float) -> Iterator[tuple[Space, Space]]:
    """The Linux microVM. Raises as ours()."""
    with spaces.spaces("l", "r") as (left, right):
        root = linux.router("forward", rules("eth0", "eth1"), _FLOWS)
        with LinuxVm(None, (), {}, accel=accel, root=root, taps=(left.tap, right.tap)) as vm:
            vm.wait_for("linux: forwarding")
            _join(left, right)
            yield left, right


@contextmanager
def this_machine(end: float) -> Iterator[tuple[Space, Space]]:
    """A third namespace. Raises NotFound without nft, VmError where its rules are not known here."""
    nft = shutil.which("nft", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if nft is None:
        raise NotFound("nft is not installed", hint="apt-get install nftables")
    addresses = f"{_HOSTS[0]}/{_BITS}", f"{_ROUTERS[0]}/{_BITS}"
    with spaces.wired("l", "m", addresses) as (left, middle), spaces.spaces("r") as (right,):
        inner = f"{right.tap}m"[-15:]
        right.ip("link", "add", right.tap, "type", "veth", "peer", "name", inner, "netns", middle.name)
        middle.ip("addr", "add", f"{_ROUTERS[1]}/{_BITS}", "dev", inner)
        middle.ip("link", "set", inner, "up")
        # Rules alone decide: not the kernel's own look at where a sender is, which a host may have switched on.
        middle.run(
            "sh", "-c", "cd /proc/sys/net/ipv4; echo 1 >ip_forward; for f in conf/*/rp_filter; do echo 0 >$f; done"
        )
        middle.run(nft, rules(middle.tap, inner))
        right.ip("addr", "add", f"{_HOSTS[1]}/{_BITS}", "dev", right.tap)
        for device in ("lo", right.tap):
            right.ip("link", "set", device, "up")
        for space, gateway in zip((left, right), _ROUTERS, strict=True):
            space.ip("route", "add", "default", "via", gateway)
        yield left, right


def _join(*sides: Space) -> None:
    for side, address, gateway in zip(sides, _HOSTS, _ROUTERS, strict=True):
        side.join(f"{address}/{_BITS}", gateways=(gateway,))


def _measure(route: Route, turn: Turn) -> Iterator[Reading]:
    with route(contest.start_by(turn)) as (left, right), right.running("iperf3", "-s", "-p", _PORT) as server:
        endpoint = Endpoint(_HOSTS[1], _PORT, tuple(left.argv()), left)
        _wait_until_through(endpoint, right, contest.start_by(turn), server)
        for way in net.WAYS:
            yield from net.streams(endpoint, way, turn)
        for way in net.WAYS:
            yield from net.datagrams(endpoint, way, turn)
        for way in net.WAYS:
            yield small(endpoint, way, turn)


def small(endpoint: Endpoint, way: net.Way, turn: Turn) -> Reading:
    """Small datagrams, as fast as they are sent. Raises VmError."""
    end = net.iperf3(endpoint, turn, *way.words, "-u", "-b", "0", "-l", str(_DATAGRAM))["sum"]
    there = (end["packets"] - end["lost_packets"]) / end["seconds"]
    values = {f"{way.name}_per_s": there, f"{way.name}_lost": float(end["lost_percent"])}
    return Reading(values, f"UDP, {_DATAGRAM} bytes, fastest")


def _wait_until_through(
    endpoint: Endpoint, side: Space, end: float, server: subprocess.Popen[bytes] | None = None
) -> None:
    """Raises VmError if nobody is reached in time. iperf3 would take a connection that only tries for a test: one to a
    port that nobody listens at is refused by the other side as soon as it comes through."""

    def why_not() -> str:
        why = "no time"
        while time.monotonic() < end:
            try:
                socket.create_connection((endpoint.address, _PORT + 1), timeout=1.0).close()
            except ConnectionRefusedError:
                return ""
            except OSError as e:
                why = str(e)
            select.select([], [], [], _POLL_S)
        return why

    if why := endpoint.call(why_not):
        raise VmError(f"nothing comes through the router: {why}")
    while not side.call(_listens):
        if server is not None and server.poll() is not None:
            raise VmError(f"iperf3 -s ended with {server.returncode} before it listened")
        if time.monotonic() > end:
            raise VmError("iperf3 does not listen in its time")
        select.select([], [], [], _POLL_S)


def _listens() -> bool:
    tables = [Path(f"/proc/thread-self/net/{name}") for name in ("tcp", "tcp6")]
    return any(f":{_PORT:04X} " in line and " 0A " in line for table in tables for line in _lines(table))


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []  # a kernel may have no IPv6
