# SPDX-License-Identifier: MIT
"""A stack's file: VMs, and the networks between them. Read once, checked, frozen. docs/compose.md has every key."""

from __future__ import annotations

import contextlib
import graphlib
import ipaddress
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from floe import tomlfile
from floe.compose import variables
from floe.errors import ConfigError, FloeError, NotFound, UsageError
from floe.spec.disks import parse_disks
from floe.spec.egress import parse_allow
from floe.spec.network import MAX_CARDS, MAX_SPARE
from floe.spec.ports import parse_forwards
from floe.spec.restart import parse_restart
from floe.spec.vmspec import DEFAULT_HYPERVISOR, parse_memory
from floe.store.stackfolder import Scale

FILE_NAME = "compose.toml"
NAME_MAX = 24
MAX_REPLICAS = 64
DEFAULT_NETWORK = "default"
DHCP = "dhcp"  # in place of an address: the VM asks for one, that of a bridge's network or of a VM's
_SUBNET = "10.100.{}.0/24"
_CARD_NAME = re.compile(r"[^\s/,:]{1,15}")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?")
_NAME_HINT = f"letters, digits and '-', a letter or digit first and last, {NAME_MAX} at most"
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Ready(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a VM is ready: its port answers, or a line with this text appears, or it ends with this code; and within how
    many seconds."""

    port: int = 0
    line: str = ""
    exit: int | None = None
    within: float = 60.0


class Vm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One VM of a stack, or as many as `replicas` says."""

    app: str = ""
    variant: str = ""
    dev: bool = False
    memory: str = ""
    env: dict[str, str] = {}
    env_files: list[str] = []
    secrets: dict[str, str] = {}
    child_secrets: list[str] = []
    disks: list[str] = []
    ports: list[str] = []
    allow: list[str] = []
    args: list[str] = []
    networks: list[str] | dict[str, str] | None = None
    outside: bool | None = None
    after: list[str] = []
    ready: Ready = Ready()
    restart: str = "no"
    replicas: int | None = None
    update: str = ""
    drain: float = 10.0  # seconds that one which is about to end is given for its connections
    children: int | None = None  # of one that forks, at a time; each has its addresses from the VM's networks
    profiles: list[str] = []
    accel: str = "auto"
    machine: str = "microvm"
    place: str | dict[str, str | list[str]] = "spread"

    @property
    def labels(self) -> frozenset[str]:
        """All of which its host must have."""
        wanted = self.place.get("label", []) if isinstance(self.place, dict) else []
        return frozenset([wanted] if isinstance(wanted, str) else wanted)

    @property
    def rolls(self) -> bool:
        """Whether its VMs are updated one after the other, and others serve in their place meanwhile."""
        return self.update == "rolling" or (not self.update and (self.replicas or 0) > 1 and self.ready.exit is None)

    @property
    def drains(self) -> bool:
        """Whether one of its VMs is drained before it is ended for good: others may be asked in its place."""
        return self.replicas is not None and self.ready.exit is None


class Net(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A network between VMs: a switch of ours, whose own name server is asked where `dns` is "", or a bridge of this
    machine's; of VMs on other hosts a VXLAN between these, or a bridge that each has."""

    subnet: str = ""
    bridge: str = ""
    gateway: str = ""
    dns: str = ""


class HostWords(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file says of one of its hosts."""

    labels: list[str] = []
    address: str = ""  # for the other hosts


class _Top(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str = ""
    vm: dict[str, dict[str, Any]] = {}
    network: dict[str, dict[str, Any]] = {}
    hosts: list[str] = []
    host: dict[str, HostWords] = {}


@dataclass(frozen=True)
class StackFile:
    """A stack as it is written. name: "" where the file names none. Every network has its subnet, but a bridge on which
    addresses are leased."""

    file: Path
    name: str
    vms: dict[str, Vm]
    networks: dict[str, Net]
    hosts: dict[str, frozenset[str]]  # with their labels; none: all runs on this machine
    addresses: dict[str, str]  # of hosts, for one another, where the file says them
    scales: dict[str, Scale]  # those that hold
    _again: Callable[[dict[str, Scale]], StackFile]

    def scaled(self, scales: dict[str, Scale]) -> StackFile:
        """With other numbers of replicas, as far as the file says what it said then. Raises ConfigError where so many
        cannot be."""
        return self if scales == self.scales else self._again(scales)

    def replicas_of(self, name: str, project: str) -> int:
        """As the file has them, of a VM that may be scaled. Raises NotFound, UsageError."""
        vm = self.scaled({}).vms.get(name)
        if vm is None:
            known = ", ".join(self.vms)
            raise NotFound(f"there is no VM {name} in {self.file}", evidence=f"there are: {known}")
        if vm.replicas is None:
            hint = f"replicas = 1 in [vm.{name}] of {self.file}"
            raise UsageError(f"{project}.{name} is one VM, without replicas", hint=hint)
        return vm.replicas

    @property
    def default_name(self) -> str:
        """What the stack is called where the file does not say: as its folder."""
        return re.sub(r"[^A-Za-z0-9]+", "-", self.file.parent.name).strip("-")[: NAME_MAX - 4].strip("-") or "stack"

    def chosen(self, profiles: Sequence[str]) -> dict[str, Vm]:
        """The VMs without a profile, and those of the profiles; and what they come after. Raises UsageError."""
        known = {profile for vm in self.vms.values() for profile in vm.profiles}
        for profile in profiles:
            if profile not in known:
                hint = f"one of: {', '.join(sorted(known))}" if known else f"profiles = [{profile!r}] in a [vm.NAME]"
                raise UsageError(f"--profile {profile}: no VM of {self.file} has it", hint=hint)
        names = [name for name, vm in self.vms.items() if not vm.profiles or set(vm.profiles) & set(profiles)]
        found = set(names)
        while names:
            for other in self.vms[names.pop()].after:
                if other not in found:
                    found.add(other)
                    names.append(other)
        return {name: vm for name, vm in self.vms.items() if name in found}

    def order(self) -> list[str]:
        """The VMs, each behind those that it comes after; else as in the file."""
        steps = _steps(self.vms)
        return sorted(self.vms, key=steps.__getitem__)

    def joined(self, vm: Vm) -> dict[str, str]:
        """The networks of a VM, and the address that it is to have in each, "" for any."""
        if vm.networks is None:
            return {DEFAULT_NETWORK: ""} if DEFAULT_NETWORK in self.networks else {}
        return vm.networks if isinstance(vm.networks, dict) else dict.fromkeys(vm.networks, "")


def _steps(vms: Mapping[str, Vm]) -> dict[str, int]:
    """How many VMs come before each, one after another. Those that wait for one another, and what waits for them, have
    no such number."""
    sorter = graphlib.TopologicalSorter({name: vm.after for name, vm in vms.items()})
    with contextlib.suppress(graphlib.CycleError):  # the others can be had nevertheless
        sorter.prepare()
    steps: dict[str, int] = {}
    step = 0
    while ready := sorter.get_ready():
        steps.update(dict.fromkeys(ready, step))
        sorter.done(*ready)
        step += 1
    return steps


def find(path: Path) -> Path:
    """FILE as it is named: a file, or a folder with a compose.toml. Raises nothing: what is not there may have been."""
    path = Path(os.path.abspath(path))
    return path / FILE_NAME if path.is_dir() else path


def load(path: Path, environment: Mapping[str, str]) -> StackFile:
    """Raises NotFound, ConfigError with file, line and key."""
    file = find(path)
    try:
        raw, text = tomlfile.read(file)
    except FileNotFoundError:
        raise NotFound(f"no such file: {file}", hint="FILE is a stack's file, or a folder with compose.toml") from None
    except OSError as e:
        raise FloeError(f"cannot read {file}: {e.strerror}") from e

    def read(scales: dict[str, Scale]) -> StackFile:
        return _Reader(file, text, environment, scales).read(raw, read)

    return read({})


_T = TypeVar("_T")


class _Reader:
    """Checks one file."""

    def __init__(self, file: Path, text: str, environment: Mapping[str, str], scales: dict[str, Scale]) -> None:
        self._file = file
        self._text = text
        self._environment = environment
        self._scales = scales
        self._held: dict[str, Scale] = {}
        self._hosted = False

    def _fail(self, key: str, problem: str, hint: str = "") -> ConfigError:
        line = tomlfile.line_of(self._text, key) if key else None
        return ConfigError(str(self._file), key, problem, line=line, hint=hint)

    def read(self, raw: dict[str, Any], again: Callable[[dict[str, Scale]], StackFile]) -> StackFile:
        top = self._as(_Top, self._replaced(raw, ""), "")
        if top.name and (len(top.name) > NAME_MAX or not _NAME.fullmatch(top.name)):
            raise self._fail("name", f"'{top.name}' is no name of a stack", _NAME_HINT)
        if not top.vm:
            raise self._fail("", "no VM is in it", '[vm.NAME] with app = "main.py"')
        self._hosted = bool(top.hosts)
        vms = {name: self._vm(name, table) for name, table in top.vm.items()}
        self._check_order(vms)
        hosts = {name: frozenset(top.host.get(name, HostWords()).labels) for name in top.hosts}
        self._check_hosts(top, vms, hosts)
        addresses = {name: str(ipaddress.ip_address(h.address)) for name, h in top.host.items() if h.address}
        networks = self._networks(top.network, vms)
        stack = StackFile(self._file, top.name, vms, networks, hosts, addresses, self._held, again)
        for name, vm in vms.items():
            self._check_networks(f"vm.{name}", vm, stack)
        self._check_gateways(stack)
        return stack

    def _check_hosts(self, top: _Top, vms: dict[str, Vm], hosts: dict[str, frozenset[str]]) -> None:
        for name, words in top.host.items():
            if name not in hosts:
                raise self._fail(f"host.{name}", f"'{name}' is none of the file's hosts", f"hosts = [{name!r}]")
            try:
                ipaddress.ip_address(words.address or "::")
            except ValueError as e:
                raise self._fail(f"host.{name}.address", str(e), 'address = "192.0.2.1"') from None
        if hosts and not top.name:
            raise self._fail("name", "a stack on other hosts is known by its name there", 'name = "shop"')
        known = frozenset().union(*hosts.values())
        for name, vm in vms.items():
            key = f"vm.{name}"
            if isinstance(vm.place, str) and vm.place not in ("spread", "pack"):
                raise self._fail(f"{key}.place", f"'{vm.place}' is none", 'one of: spread, pack, { label = "..." }')
            if isinstance(vm.place, dict) and (list(vm.place) != ["label"] or not vm.labels):
                raise self._fail(f"{key}.place", "label is wanted, and nothing else", '{ label = "ssd" }')
            if not hosts and vm.place != "spread":
                raise self._fail(f"{key}.place", "the file names no hosts", 'hosts = ["NAME", "NAME"]')
            if missing := sorted(vm.labels - known):
                raise self._fail(f"{key}.place", f"no host has the label {missing[0]}", f"labels = [{missing[0]!r}]")
            if hosts:
                self._check_elsewhere(key, vm)
                self._check_disks_there(key, vm, [name for name, labels in hosts.items() if vm.labels <= labels])

    def _check_elsewhere(self, key: str, vm: Vm) -> None:
        """What a VM of another host cannot have yet."""
        asked = {
            "allow": bool(vm.allow), "restart": vm.restart != "no", "children": vm.children is not None,
        }  # fmt: skip
        if word := next((word for word, given in asked.items() if given), ""):
            raise self._fail(f"{key}.{word}", "not on other hosts yet", f"without {word}, or without hosts")
        forwards = [forward for text in vm.ports for forward in parse_forwards(text)]
        own = [forward.guest_port for forward in forwards if forward.protocol == "tcp"]
        if vm.ready.port and vm.ready.port not in own:
            hint = f'ports = ["8080:{vm.ready.port}"]'
            raise self._fail(f"{key}.ready.port", "on another host a port is asked that is forwarded", hint)
        if not all(forward.host_port for forward in forwards):
            raise self._fail(f"{key}.ports", "any free port is for VMs of this machine", "0.0.0.0:8080:80")

    def _check_disks_there(self, key: str, vm: Vm, places: list[str]) -> None:
        """A disk lies on one host, and stays there. places: hosts that the VM may run on."""
        if vm.disks and ((vm.replicas or 1) > 1 or vm.update == "rolling"):
            raise self._fail(f"{key}.disks", "a disk of another host is one VM's", "without replicas and update")
        if vm.disks and len(places) != 1:
            problem = f"a disk stays on its host, and the VM may run on {', '.join(places)}"
            raise self._fail(f"{key}.disks", problem, 'place = { label = "..." } that one host has')
        self._refused(f"{key}.disks", lambda: parse_disks(vm.disks, elsewhere=True))

    def _replaced(self, value: Any, key: str) -> Any:
        """A value with the variables of all strings in it replaced."""
        if isinstance(value, dict):
            return {k: self._replaced(v, f"{key}.{k}" if key else k) for k, v in value.items()}
        if isinstance(value, list):
            return [self._replaced(v, key) for v in value]
        try:
            return variables.replaced(value, self._environment) if isinstance(value, str) else value
        except variables.VariableError as e:
            raise self._fail(key, e.problem, e.hint) from None

    def _as(self, kind: type[_T], raw: Any, prefix: str) -> _T:
        try:
            return msgspec.convert(raw, kind, strict=False)  # a variable's value may be meant as a number
        except msgspec.ValidationError as e:
            key, problem = tomlfile.explain(e)
            hint = ""
            if problem == "unknown key":
                table: Any = Ready if key.startswith("ready.") else kind
                hint = f"known keys: {', '.join(table.__struct_fields__)}"
            raise self._fail(".".join(part for part in (prefix, key) if part), problem, hint) from None

    def _vm(self, name: str, table: dict[str, Any]) -> Vm:
        key = f"vm.{name}"
        if len(name) > NAME_MAX or not _NAME.fullmatch(name):
            raise self._fail(key, f"'{name}' is no name of a VM", _NAME_HINT)
        vm = self._as(Vm, table, key)
        scale = self._scales.get(name)
        if scale is not None and scale.said == vm.replicas:
            self._held[name] = scale
            vm = msgspec.structs.replace(vm, replicas=scale.count)
        if not vm.app:
            raise self._fail(key, "app is missing", 'app = "main.py": a script, an image\'s folder or an ELF')
        self._refused(f"{key}.memory", lambda: parse_memory(vm.memory) if vm.memory else None)
        for port in vm.ports:
            self._refused(f"{key}.ports", lambda port=port: parse_forwards(port))  # type: ignore[misc]  # mypy: no type
        self._refused(f"{key}.allow", lambda: parse_allow(vm.allow))
        for variable in vm.env:
            if not _VARIABLE_NAME.fullmatch(variable):
                raise self._fail(f"{key}.env.{variable}", "no name of an environment variable")
        self._refused(f"{key}.restart", lambda: parse_restart(vm.restart))
        self._check_machine(key, vm)
        self._check_replicas(key, vm)
        self._check_ready(f"{key}.ready", vm.ready)
        self._check_update(key, vm)
        return vm

    def _networks(self, tables: dict[str, dict[str, Any]], vms: dict[str, Vm]) -> dict[str, Net]:
        """Those of the file, and one for the VMs that name none, where they are several or a port is waited for. On
        other hosts, where each takes rights, those of the file alone."""
        networks = {}
        for name, table in tables.items():
            if len(name) > NAME_MAX or not _NAME.fullmatch(name):
                raise self._fail(f"network.{name}", f"'{name}' is no name of a network", _NAME_HINT)
            networks[name] = self._as(Net, table, f"network.{name}")
        silent = [vm for vm in vms.values() if vm.networks is None]
        if not self._hosted and silent and (len(vms) > 1 or silent[0].ready.port):
            networks.setdefault(DEFAULT_NETWORK, Net())
        for number, (name, network) in enumerate(networks.items()):
            if not network.subnet and not network.bridge:
                networks[name] = msgspec.structs.replace(network, subnet=_SUBNET.format(number))
            self._check_network(f"network.{name}", networks[name])
        return networks

    def _check_network(self, key: str, network: Net) -> None:
        if network.bridge and not _CARD_NAME.fullmatch(network.bridge):
            raise self._fail(f"{key}.bridge", f"'{network.bridge}' is no name of a bridge", "ip -brief link")
        if (network.gateway or network.dns) and network.bridge and not network.subnet:
            raise self._fail(key, "gateway and dns go with subnet where there is a bridge")
        try:
            subnet = ipaddress.IPv4Network(network.subnet) if network.subnet else None
            for address in (network.gateway, network.dns):
                if address:
                    ipaddress.IPv4Address(address)
        except ValueError as e:
            raise self._fail(f"{key}.subnet", str(e), 'subnet = "10.9.0.0/24"') from None
        if subnet is not None and not 8 <= subnet.prefixlen <= 29:
            raise self._fail(f"{key}.subnet", f"{subnet} is not from /8 to /29", 'subnet = "10.9.0.0/24"')

    def _check_gateways(self, stack: StackFile) -> None:
        """In a network of ours nobody but a VM forwards."""
        for name, network in stack.networks.items():
            fixed = {stack.joined(vm).get(name) for vm in stack.vms.values()}
            if network.gateway and not network.bridge and network.gateway not in fixed:
                hint = f'networks = {{ {name} = "{network.gateway}" }} in the [vm.NAME] that forwards'
                raise self._fail(f"network.{name}.gateway", f"{network.gateway} is no VM's address", hint)

    def _check_networks(self, key: str, vm: Vm, stack: StackFile) -> None:
        joined = stack.joined(vm)
        for network, address in joined.items():
            if network not in stack.networks:
                hint = f"one of: {', '.join(stack.networks)}" if stack.networks else f"add a table [network.{network}]"
                raise self._fail(f"{key}.networks", f"there is no network '{network}'", hint)
            self._check_address(f"{key}.networks", address, vm, stack.networks[network])
        if vm.allow and joined:
            problem = f"what it sends into the network {next(iter(joined))} is not looked at"
            raise self._fail(f"{key}.allow", problem, "networks = [], and ports of this machine between VMs")
        if len(joined) >= MAX_CARDS:
            raise self._fail(f"{key}.networks", f"{len(joined)} networks; a guest has at most {MAX_CARDS} cards")
        if (
            vm.ready.port
            and not stack.hosts
            and not any(stack.networks[name].subnet and own != DHCP for name, own in joined.items())
        ):
            raise self._fail(f"{key}.ready.port", "the VM is in no network in which its address is known")
        if vm.ports and vm.outside is False:
            raise self._fail(f"{key}.outside", "ports are forwarded to a VM with a way outside only")

    def _check_address(self, key: str, text: str, vm: Vm, network: Net) -> None:
        if text in ("", DHCP):
            return
        if vm.replicas is not None and vm.replicas > 1:
            raise self._fail(key, f"{vm.replicas} replicas cannot share the address {text}")
        try:
            address, subnet = ipaddress.IPv4Address(text), ipaddress.IPv4Network(network.subnet or "0.0.0.0/32")
        except ValueError as e:
            raise self._fail(key, str(e), f'an address of {network.subnet}, "" for any, "dhcp"') from None
        if address not in subnet or address in (subnet[0], subnet[1], subnet[-1]):
            where = f"from {subnet[2]} to {subnet[-2]}" if network.subnet else "of a network with a subnet"
            raise self._fail(key, f"{text} is no address {where}")

    def _refused(self, key: str, parse: Callable[[], object]) -> None:
        try:
            parse()
        except UsageError as e:
            raise self._fail(key, e.message, e.hint) from None

    def _check_machine(self, key: str, vm: Vm) -> None:
        from floe.hypervisor import registry

        driver = registry.create(DEFAULT_HYPERVISOR)
        for word, value, known in (("accel", vm.accel, driver.accels), ("machine", vm.machine, driver.machines)):
            if value not in known:
                raise self._fail(f"{key}.{word}", f"'{value}' is none", f"one of: {', '.join(known)}")

    def _check_replicas(self, key: str, vm: Vm) -> None:
        if vm.children is not None and not 0 <= vm.children <= MAX_SPARE:
            raise self._fail(f"{key}.children", f"{vm.children} is not from 0 to {MAX_SPARE}")
        if vm.replicas is None:
            return
        if not 0 <= vm.replicas <= MAX_REPLICAS:
            raise self._fail(f"{key}.replicas", f"{vm.replicas} is not from 0 to {MAX_REPLICAS}")
        if vm.replicas > 1 and not self._hosted:
            self._check_shared(key, vm, f"{vm.replicas} replicas")

    def _check_shared(self, key: str, vm: Vm, who: str) -> None:
        """What several VMs at a time cannot have."""
        for port in vm.ports:
            if any(forward.host_port for forward in parse_forwards(port)):
                hint = f"0:{parse_forwards(port)[0].guest_port} for any free port, or a VM in front of them"
                raise self._fail(f"{key}.ports", f"{who} cannot share the port of {port}", hint)
        for disk in vm.disks:
            if ":ro" not in disk:
                hint = f"{disk}:ro, or a [vm.NAME] for each"
                raise self._fail(f"{key}.disks", f"{who} cannot write to one disk, {disk}", hint)

    def _check_update(self, key: str, vm: Vm) -> None:
        if vm.update not in ("", "rolling", "replace"):
            raise self._fail(f"{key}.update", f"'{vm.update}' is none", "one of: rolling, replace")
        if not 0 <= vm.drain <= 3600:
            raise self._fail(f"{key}.drain", f"{vm.drain:g} is no number of seconds from 0 to 3600")
        if vm.update != "rolling":
            return
        if vm.replicas is None or vm.ready.exit is not None:
            why, hint = ("without replicas", "replicas = 1") if vm.replicas is None else ("with ready.exit", "replace")
            raise self._fail(f"{key}.update", f"a VM {why} has no other beside it", hint)
        if not self._hosted:
            self._check_shared(key, vm, "the old one and the new one")
        if isinstance(vm.networks, dict) and (fixed := [own for own in vm.networks.values() if own not in ("", DHCP)]):
            raise self._fail(f"{key}.update", f"the old one and the new one cannot share the address {fixed[0]}")

    def _check_ready(self, key: str, ready: Ready) -> None:
        if (ready.port != 0) + (ready.line != "") + (ready.exit is not None) > 1:
            raise self._fail(key, "one of port, line and exit is wanted, not several")
        if not 0 <= ready.port <= 65535:
            raise self._fail(f"{key}.port", f"{ready.port} is no port")
        if not 0 < ready.within <= 86400:
            raise self._fail(f"{key}.within", f"{ready.within:g} is no number of seconds from 0 to 86400")

    def _check_order(self, vms: dict[str, Vm]) -> None:
        for name, vm in vms.items():
            for other in vm.after:
                if other not in vms:
                    raise self._fail(f"vm.{name}.after", f"there is no VM '{other}'", f"one of: {', '.join(vms)}")
        steps = _steps(vms)
        if stuck := [name for name in vms if name not in steps]:
            raise self._fail(f"vm.{stuck[0]}.after", f"these wait for one another: {', '.join(stuck)}")
