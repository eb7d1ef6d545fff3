# SPDX-License-Identifier: MIT
"""Networks between the hosts of a stack: for each a bridge on every host, and a VXLAN (RFC 7348) that joins these.

`ip` and `bridge` make them, by root over ssh, as libvirt 9.0 knows no VXLAN. Frames for whom nobody knows go to each of
the other hosts, by entries of the forwarding table: no multicast is needed. Name and number come of stack and network;
an alias says whose a link is, and one without it is nobody's to touch here."""

from __future__ import annotations

import hashlib
import ipaddress
import shlex
import socket
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from msgspec import structs

from floe.compose.stackfile import StackFile
from floe.errors import FloeError, HostError
from floe.fleet import connection
from floe.fleet.vms import There, Vms
from floe.hosts import ssh, table
from floe.hosts.table import LibvirtHost
from floe.spec.vmspec import VmSpec

PORT = 4789  # RFC 7348, 5
_HEADERS = {4: 50, 6: 70}  # bytes of Ethernet, IP, UDP and VXLAN, around what is in an inner frame
_LEAST_MTU = 576  # of IPv4 hosts
_STEP_S = 30.0
_NOT_ROOT, _FOREIGN, _NO_ADDRESS, _NO_WAY = 81, 82, 83, 84
# `own` ends all where there is a link of that name that is not ours.
_BEGIN = f"""
set -eu
trap '' HUP INT TERM PIPE  # nothing is left half done
PATH=$PATH:/usr/sbin:/sbin
[ "$(id -u)" = 0 ] || exit {_NOT_ROOT}
own() {{  # name alias
    said=$(ip -j link show dev "$1" 2>/dev/null) || return 1
    case $said in *"\\"ifalias\\":\\"$2\\""*) return 0 ;; esac
    echo "$1"
    exit {_FOREIGN}
}}
mtu_of() {{ sed -n 's/.* mtu \\([0-9]*\\).*/\\1/p'; }}
"""
# Prints an MTU a line. $1: of this host, then the other hosts' addresses.
_MEASURE = f"""
measure() {{
    device=$(ip -o address show to "$1" | sed -n 's/^[0-9]*: \\([^ ]*\\) .*/\\1/p' | head -n 1)
    [ -n "$device" ] || exit {_NO_ADDRESS}
    ip -o link show dev "$device" | mtu_of
    shift
    for peer; do
        route=$(ip -o route get "$peer" 2>/dev/null) || {{ echo "$peer"; exit {_NO_WAY}; }}
        echo "$route" | mtu_of
        ip -o link show dev "$(echo "$route" | sed 's/.* dev \\([^ ]*\\).*/\\1/')" | mtu_of
    done
}}
"""
_HAVE = f"""
have() {{  # bridge link alias number address mtu peers
    bridge=$1 link=$2 alias=$3 number=$4 address=$5 mtu=$6
    shift 6
    if ! own "$bridge" "$alias"; then
        ip link add "$bridge" type bridge
        ip link set "$bridge" alias "$alias" addrgenmode none
    fi
    if own "$link" "$alias" && ! ip -d -o link show dev "$link" | grep -qF " id $number local $address "; then
        ip link del "$link"
    fi
    if ! own "$link" "$alias"; then
        ip link add "$link" type vxlan id "$number" local "$address" dstport {PORT}
        ip link set "$link" alias "$alias" addrgenmode none
    fi
    there=" $(bridge fdb show dev "$link" | sed -n 's/^00:00:00:00:00:00 dst \\([^ ]*\\) .*/\\1/p' | tr '\\n' ' ')"
    for peer; do
        case $there in *" $peer "*) ;; *) bridge fdb append 00:00:00:00:00:00 dev "$link" dst "$peer" ;; esac
    done
    for old in $there; do
        case " $* " in *" $old "*) ;; *) bridge fdb del 00:00:00:00:00:00 dev "$link" dst "$old" ;; esac
    done
    ip link set "$link" mtu "$mtu" master "$bridge" up
    ip link set "$bridge" mtu "$mtu" up
}}
"""
_CLEAR = """
clear() {  # the alias's beginning, names of bridges and links that stay
    begin=$1
    shift
    for kind in vxlan bridge; do
        for name in $(ip -o link show type $kind | sed -n "s|^[0-9]*: \\([^:@]*\\).* alias $begin.*|\\1|p"); do
            case " $* " in *" $name "*) ;; *) ip link del "$name" ;; esac
        done
    done
}
"""


@dataclass(frozen=True)
class Link:
    """A network of a stack as its hosts have it. number: the VXLAN's."""

    alias: str
    number: int

    @classmethod
    def of(cls, project: str, network: str) -> Link:
        """The same wherever it is asked for."""
        alias = f"{_begin(project)}{network}"
        return cls(alias, int.from_bytes(hashlib.sha256(alias.encode()).digest()[:3]) or 1)

    @property
    def bridge(self) -> str:
        """A name as Linux takes it, of 15 characters at most."""
        return f"floe{self.number:06x}"

    @property
    def name(self) -> str:
        """Of the VXLAN, a port of the bridge."""
        return f"floex{self.number:06x}"


def _begin(project: str) -> str:
    return f"floe:{project}/"


def networks(file: StackFile) -> list[str]:
    """Those of a stack over hosts that are not a bridge of theirs."""
    return [name for name, network in file.networks.items() if file.hosts and not network.bridge]


def joined(file: StackFile, project: str) -> StackFile:
    """The same, where each network has its bridge."""
    own = {name: Link.of(project, name).bridge for name in networks(file)}
    found = {name: structs.replace(net, bridge=own.get(name, net.bridge)) for name, net in file.networks.items()}
    return replace(file, networks=found)


def have(file: StackFile, project: str, hosts: dict[str, Vms], used: Iterable[str] = ()) -> int:
    """Make what is missing on these hosts, have each know the others, and remove what is left of networks that are
    neither in the file nor among `used`: how long a packet of theirs may be in it; 0 where the file has no such
    network, and nothing is done. Raises HostError, FloeError."""
    wanted = [Link.of(project, name) for name in networks(file)]
    if not wanted:
        return 0
    addresses = dict(_addresses(file, hosts))
    _check(file, addresses)
    peers = {host: [there for other, there in addresses.items() if other != host] for host in hosts}
    measured = _on_all(
        hosts, {host: _MEASURE + shlex.join(["measure", addresses[host], *peers[host]]) for host in hosts}
    )
    mtus = [int(word) for said in measured.values() for word in said.split()]
    mtu = min(mtus) - _HEADERS[ipaddress.ip_address(next(iter(addresses.values()))).version]
    if mtu < _LEAST_MTU:
        raise FloeError(f"between the hosts packets have {min(mtus)} bytes at most: too few for a network in them")
    cleared = _cleared(project, [*networks(file), *used])
    scripts = {}
    for host in hosts:
        made = [
            shlex.join(["have", n.bridge, n.name, n.alias, str(n.number), addresses[host], str(mtu), *peers[host]])
            for n in wanted
        ]
        scripts[host] = _HAVE + "\n".join(made) + cleared
    _on_all(hosts, scripts)
    return mtu


def fitted(spec: VmSpec, file: StackFile, project: str, mtu: int) -> VmSpec:
    """A VM that knows how long its packets may be in these networks."""
    own = {Link.of(project, name).bridge for name in networks(file)}
    return replace(spec, cards=tuple(replace(card, mtu=mtu) if card.name in own else card for card in spec.cards))


def stale(file: StackFile, project: str, there: Iterable[There]) -> bool:
    """Whether VMs are in a network that the file has no more."""
    now = set(networks(file))
    begins = {
        f"bridge:{Link.of(project, name).bridge}," for vm in there for name in vm.mark.addresses if name not in now
    }
    return any(card.startswith(tuple(begins)) for vm in there for card in vm.mark.cards)


def clear(project: str, hosts: dict[str, Vms], kept: Sequence[str] = ()) -> None:
    """Remove a stack's links on these hosts, but those of some of its networks. Raises HostError."""
    _on_all(hosts, dict.fromkeys(hosts, _cleared(project, kept)))


def _cleared(project: str, kept: Sequence[str]) -> str:
    """What removes them, as a script."""
    links = [Link.of(project, name) for name in kept]
    stay = [word for link in links for word in (link.bridge, link.name)]
    return _CLEAR + shlex.join(["clear", _begin(project), *stay])


def _addresses(file: StackFile, hosts: dict[str, Vms]) -> Iterator[tuple[str, str]]:
    """Of all hosts of the file, for the others; hosts that answer have one. Raises FloeError."""
    for name in file.hosts:
        try:
            yield name, file.addresses.get(name) or _address(table.find_libvirt(name))
        except FloeError:
            if name in hosts:
                raise


def _address(place: LibvirtHost) -> str:
    """Where ssh goes."""
    hint = f'[host.{place.name}] address = "192.0.2.1"'
    if place.ssh is None:
        raise FloeError(f"{place.name} is this machine: which of its addresses do the other hosts know?", hint=hint)
    name = ssh.address(place.ssh)
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    except OSError as e:
        raise FloeError(f"{place.name}: no address is found for {name}: {e.strerror}", hint=hint) from None
    return str(min(found, key=lambda one: one[0] != socket.AF_INET)[4][0])


def _check(file: StackFile, addresses: dict[str, str]) -> None:
    """Raises FloeError."""
    first, *others = addresses
    for name in others:
        hint = f'[host.{name}] address = "ADDRESS"'
        if ipaddress.ip_address(addresses[name]).version != ipaddress.ip_address(addresses[first]).version:
            problem = f"{first} has the address {addresses[first]} and {name} {addresses[name]}: one is IPv6"
            raise FloeError(f"{file.file}: {problem}", hint=hint)
        if (
            name != first
            and (same := next(other for other in addresses if addresses[other] == addresses[name])) != name
        ):
            raise FloeError(f"{file.file}: {same} and {name} have the same address {addresses[name]}", hint=hint)


def _on_all(hosts: dict[str, Vms], scripts: dict[str, str]) -> dict[str, str]:
    """What these say, on all hosts at once. Raises HostError."""
    asked = {name: connection.started(partial(_run, vms.host.place, scripts[name])) for name, vms in hosts.items()}
    return {name: future.result() for name, future in asked.items()}


def _run(place: LibvirtHost, script: str) -> str:
    """What a script says there, which is root's. Raises HostError."""
    argv = ["sh"] if place.ssh is None else ssh.argv(place.ssh, "exec sh", connect_s=connection.CONNECT_S)
    try:
        done = subprocess.run(
            argv, input=f"{_BEGIN}{script}\n", capture_output=True, text=True, timeout=_STEP_S, check=False,
            start_new_session=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise HostError(f"{place.name} does not answer within {_STEP_S:g} s: ip link") from None
    except OSError as e:
        raise HostError(f"{place.name}: cannot start {argv[0]}: {e.strerror}") from e
    said = done.stdout.strip()
    if done.returncode == 0:
        return said
    last = said.rpartition("\n")[2]
    mend = f'root@ in the URI of {place.name}, or bridge = "br0" of the host\'s own'
    problems = {
        _NOT_ROOT: ("a network between hosts takes root's rights there", mend),
        _NO_WAY: (f"no way leads to the other host at {last}", "another address in the file"),
        _FOREIGN: (f"there is a link {last} that is not this stack's", "another name of the stack or network"),
        _NO_ADDRESS: ("the other hosts' address of it is none of its own", f'[host.{place.name}] address = "ADDRESS"'),
    }
    problem, hint = problems.get(done.returncode, (done.stderr.strip().rpartition("\n")[2] or "ip link failed", ""))
    raise HostError(f"{place.name}: {problem}", hint=hint)
