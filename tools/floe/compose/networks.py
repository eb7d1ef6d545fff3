# SPDX-License-Identifier: MIT
"""The networks of a stack: who has which address and name in them, the cards of its VMs, and the process that carries
them (hostnet/networks.py), started, asked and ended."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from floe import userfile
from floe.compose.stackfile import DHCP, Net, StackFile, Vm
from floe.errors import DiskFull, FloeError, UsageError, VmError
from floe.hostnet import networks as carrier
from floe.store import vmfolder
from floe.store.stackfolder import Stack, StackFolder
from floe.store.vmfolder import Process

_START_S = 20.0
_ANSWER_S = 10.0
_END_S = 5.0
_LONGEST_FOLDER = 60  # characters, so that the path of a socket in it is no longer than unix(7) allows
_LOG = "networks.log"

Members = dict[str, str]  # name of each VM, as `floe ps` has it: of which [vm.NAME]


def addresses(file: StackFile, before: dict[str, dict[str, str]], members: Members) -> dict[str, dict[str, str]]:
    """Address of each VM in each network: what the file says, what it has had, or the next that is free. Those behind
    it are for its children."""
    found: dict[str, dict[str, str]] = {}
    for name, network in file.networks.items():
        if not network.subnet:
            continue
        subnet = ipaddress.IPv4Network(network.subnet)
        joined = {member: file.joined(file.vms[vm]) for member, vm in members.items()}
        joined = {member: nets for member, nets in joined.items() if nets.get(name) != DHCP}
        fixed = {member: nets[name] for member, nets in joined.items() if nets.get(name)}
        for member, address in fixed.items():
            if (other := next(m for m, a in fixed.items() if a == address)) != member:
                problem = f"{address} is {members[other]}'s in the network {name}"
                raise UsageError(f"{file.file}: vm.{members[member]}.networks: {problem}", hint="another address")
        blocks = {member: _Blocks(subnet, file.vms[vm].children or 0) for member, vm in members.items()}
        taken = {str(subnet[1]), network.gateway, network.dns}
        for member, address in fixed.items():
            block = blocks[member].at(address)
            here = {address} if not network.bridge else set()  # the gateway may be a VM, and is one on a switch
            if not block or block & (taken - here | set(fixed.values()) - {address}):
                problem = (
                    f"in the network {name} not all of {address} and the {blocks[member].children} behind it are free"
                )
                raise UsageError(f"{file.file}: vm.{members[member]}.networks: {problem}", hint="another address")
            taken |= block
        found[name] = dict(fixed)
        had = {
            member: address
            for member, nets in joined.items()
            if name in nets and member not in fixed and (address := before.get(name, {}).get(member, "")) not in taken
        }
        for member, address in had.items():
            block = blocks[member].at(address) if address else set()
            if block and not block & (taken | set(had.values()) - {address}):
                found[name][member] = address
                taken |= block
        for member, nets in joined.items():
            if name in nets and member not in found[name]:
                own = blocks[member].next(taken)
                if own is None:
                    raise UsageError(f"{file.file}: network.{name}.subnet: no address of {subnet} is left for {member}")
                found[name][member] = own
                taken |= blocks[member].at(own)
    return found


@dataclass(frozen=True)
class _Blocks:
    """Addresses of a VM and its children in a subnet, one behind the other."""

    subnet: ipaddress.IPv4Network
    children: int

    def at(self, address: str) -> set[str]:
        """Those that begin there; none where not all are the subnet's."""
        first = ipaddress.IPv4Address(address)
        if first not in self.subnet or int(first) + self.children >= int(self.subnet.broadcast_address):
            return set()
        return {str(first + number) for number in range(1 + self.children)}

    def next(self, taken: set[str]) -> str | None:
        """The first at which all are free."""
        run = 0
        for number in range(2, self.subnet.num_addresses - 1):
            run = 0 if str(self.subnet[number]) in taken else run + 1
            if run > self.children:
                return str(self.subnet[number - self.children])
        return None


def cards(file: StackFile, stack: Stack, name: str, vm: Vm) -> list[str]:
    """The values of --net for a VM: a way outside, and its networks."""
    joined = file.joined(vm)
    outside = vm.outside if vm.outside is not None else bool(vm.ports) or not joined
    made = ["user"] if outside else []
    for network in joined:
        net = file.networks[network]
        mac = hardware_address(name, network)
        address = stack.addresses.get(network, {}).get(name, "")
        subnet = ipaddress.IPv4Network(net.subnet) if net.subnet and address else None
        spare = f"+{vm.children}" if vm.children else ""
        words = f",ip={address}/{subnet.prefixlen}{spare}" if subnet else ""
        if subnet:
            dns = net.dns or ("" if net.bridge else str(subnet[1]))
            words += f",gw={net.gateway}" if net.gateway not in ("", address) else ""
            words += f",dns={dns}" if dns else ""
        what = f"bridge:{net.bridge}" if net.bridge else f"connect:{stack.sockets}/{network}{carrier.SUFFIX}"
        made.append(f"{what}{words},mac={mac}")
    return made or ["none"]


def hardware_address(name: str, network: str) -> str:
    """Of a VM's card in a network: the same at every start."""
    from floe.vm import plan

    return "02:" + hashlib.sha256(f"floe mac {plan.identity(name)} {network}".encode()).digest()[:5].hex(":")


def identity(stack: Stack) -> str:
    """Tells one carrier from another, whose wires are not the same."""
    return f"{stack.carrier.pid}.{stack.carrier.start}" if stack.carrier and stack.carrier.alive else ""


def settle(file: StackFile, stack: Stack, chosen: Iterable[tuple[str, str]]) -> None:
    """Decide on the addresses: of the VMs that are chosen, and of those that are up."""
    members = {name: placed.vm for name, placed in stack.vms.items() if placed.vm in file.vms} | dict(chosen)
    stack.addresses = addresses(file, stack.addresses, members)


def provide(folder: StackFolder, file: StackFile, stack: Stack) -> bool:
    """Have the networks carried as the file and the addresses say, by the process that does already or by a new one;
    end it where there are none. True: it is another one than before. Raises FloeError."""
    wanted, before = _content(file, stack), identity(stack)
    if not wanted:
        stop(stack)
        folder.write(stack)
        return False
    if not stack.sockets or not _is_ours(Path(stack.sockets)):
        own = folder.path / "net"
        fits = len(os.fsencode(own)) <= _LONGEST_FOLDER and "," not in str(own)
        stack.sockets = str(own) if fits else vmfolder.short_folder()
        folder.write(stack)
    _write(Path(stack.sockets), wanted)
    if identity(stack):
        ask(stack, {"do": "reload"})
    else:
        for left in Path(stack.sockets).iterdir():
            if left.name != carrier.FILE:
                left.unlink()  # of one that was killed
        _start(folder, stack)
    folder.write(stack)
    return identity(stack) != before


def rename(file: StackFile, stack: Stack) -> None:
    """Have the names say who serves now. Raises FloeError."""
    if identity(stack) and (wanted := _content(file, stack)):
        _write(Path(stack.sockets), wanted)
        ask(stack, {"do": "reload"})


def is_cut(stack: Stack) -> bool:
    """Whether the VMs of this stack have lost their networks."""
    return stack.carrier is not None and not identity(stack)


def _write(sockets: Path, content: dict[str, Any]) -> None:
    new = sockets / f"{carrier.FILE}.new"
    try:
        sockets.mkdir(mode=0o700, exist_ok=True)
        new.write_text(json.dumps(content))
        os.replace(new, sockets / carrier.FILE)
    except OSError as e:
        userfile.forget(new)
        full = DiskFull.of(e, sockets)
        raise full or FloeError(f"cannot write {sockets}: {e.strerror}", hint="another XDG_STATE_HOME") from e


def _is_ours(folder: Path) -> bool:
    """A folder below /tmp is gone after a start of the host, and may have become another user's."""
    try:
        return folder.stat().st_uid == os.getuid()
    except OSError:
        return False


def _content(file: StackFile, stack: Stack) -> dict[str, Any]:
    content = {}
    for name, network in file.networks.items():
        if network.bridge:
            continue
        names: dict[str, list[tuple[str, str]]] = {}
        for member, address in stack.addresses[name].items():
            label = member.removeprefix(f"{stack.name}.")
            apart = member in stack.vms and stack.vms[member].apart
            for word in dict.fromkeys((label, label if apart else label.partition(".")[0])):
                names.setdefault(word, []).append((address, hardware_address(member, name)))
        content[name] = {"address": str(ipaddress.IPv4Network(network.subnet)[1]), "names": names}
    return content


def _start(folder: StackFolder, stack: Stack) -> None:
    """A carrier that is written down, or none: it ends by itself if this process does before that."""
    ours, theirs = socket.socketpair()
    argv = [sys.executable, "-P", "-m", "floe.hostnet.networks", stack.sockets, "--parent", str(theirs.fileno())]
    with (folder.path / _LOG).open("ab") as log, ours:
        with theirs:
            process = subprocess.Popen(
                argv,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
            )
        started = select.select([ours], [], [], _START_S)[0] and ours.recv(2)
        stack.carrier = Process.of(process.pid)
        if started and stack.carrier is not None:
            folder.write(stack)
            ours.send(b"!")
            return
    stack.carrier = None
    process.kill()
    process.wait()
    said = (folder.path / _LOG).read_text(errors="replace").splitlines()[-5:]
    raise VmError("the process that carries the networks did not start", evidence="\n".join(said), hint="floe doctor")


def ask(stack: Stack, request: dict[str, Any]) -> dict[str, Any]:
    """The carrier's answer. Raises VmError."""
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(_ANSWER_S)
            s.connect(str(Path(stack.sockets) / carrier.CONTROL))
            s.sendall(json.dumps(request).encode() + b"\n")
            said = b""
            while not said.endswith(b"\n") and (data := s.recv(1 << 16)):
                said += data
        answer: dict[str, Any] = json.loads(said)
    except (OSError, ValueError) as e:
        raise VmError(f"the process that carries the networks of {stack.name} does not answer: {e}") from e
    if "error" in answer:
        raise VmError(f"the networks of {stack.name}: {answer['error']}")
    return answer


def answers(file: StackFile, stack: Stack, name: str, vm: Vm) -> bool:
    """Whether the port of `ready` of a VM answers just now, in any of its networks: it may be open in one alone."""
    return any(
        _answers(file.networks[network], stack, network, stack.addresses[network][name], vm.ready.port)
        for network in file.joined(vm)
        if name in stack.addresses.get(network, {})
    )


def _answers(net: Net, stack: Stack, network: str, address: str, port: int) -> bool:
    if not net.bridge:
        return bool(ask(stack, {"do": "probe", "network": network, "address": address, "port": port})["open"])
    try:
        socket.create_connection((address, port), 1.0).close()
    except OSError:
        return False
    return True


def stop(stack: Stack) -> None:
    """End the carrier."""
    process = stack.carrier
    if process is not None and process.signal(signal.SIGTERM) and not process.wait_gone(_END_S):
        process.signal(signal.SIGKILL)
    stack.carrier = None
