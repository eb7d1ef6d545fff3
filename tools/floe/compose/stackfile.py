# SPDX-License-Identifier: MIT
"""A stack's file: VMs, and the networks between them. Read once, checked, frozen. docs/compose.md has every key."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from floe import tomlfile
from floe.compose import variables
from floe.errors import ConfigError, FloeError, NotFound, UsageError
from floe.spec.ports import parse_forwards
from floe.spec.vmspec import parse_memory

FILE_NAME = "compose.toml"
NAME_MAX = 24
MAX_REPLICAS = 64
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?")
_NAME_HINT = f"letters, digits and '-', a letter or digit first and last, {NAME_MAX} at most"
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Ready(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a VM is ready: a line with this text appears, or it ends with this code; and within how many seconds."""

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
    disks: list[str] = []
    ports: list[str] = []
    args: list[str] = []
    after: list[str] = []
    ready: Ready = Ready()
    replicas: int | None = None
    profiles: list[str] = []
    accel: str = "auto"
    machine: str = "microvm"


class _Top(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str = ""
    vm: dict[str, dict[str, Any]] = {}


@dataclass(frozen=True)
class StackFile:
    """A stack as it is written. name: "" where the file names none."""

    file: Path
    name: str
    vms: dict[str, Vm]

    @property
    def default_name(self) -> str:
        """What the stack is called where the file does not say: as its folder."""
        return re.sub(r"[^A-Za-z0-9]+", "-", self.file.parent.name).strip("-")[: NAME_MAX - 4].strip("-") or "stack"

    def chosen(self, profiles: tuple[str, ...]) -> dict[str, Vm]:
        """The VMs without a profile, and those of the profiles; and what they come after. Raises UsageError."""
        known = {profile for vm in self.vms.values() for profile in vm.profiles}
        for profile in profiles:
            if profile not in known:
                hint = f"one of: {', '.join(sorted(known))}" if known else f"profiles = [{profile!r}] in a [vm.NAME]"
                raise UsageError(f"--profile {profile}: no VM of {self.file} has it", hint=hint)
        names = [name for name, vm in self.vms.items() if not vm.profiles or set(vm.profiles) & set(profiles)]
        for name in names:
            names += [other for other in self.vms[name].after if other not in names]
        return {name: vm for name, vm in self.vms.items() if name in names}


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
    return _Reader(file, text, environment).read(raw)


_T = TypeVar("_T")


class _Reader:
    """Checks one file."""

    def __init__(self, file: Path, text: str, environment: Mapping[str, str]) -> None:
        self._file = file
        self._text = text
        self._environment = environment

    def _fail(self, key: str, problem: str, hint: str = "") -> ConfigError:
        line = tomlfile.line_of(self._text, key) if key else None
        return ConfigError(str(self._file), key, problem, line=line, hint=hint)

    def read(self, raw: dict[str, Any]) -> StackFile:
        top = self._as(_Top, self._replaced(raw, ""), "")
        if top.name and (len(top.name) > NAME_MAX or not _NAME.fullmatch(top.name)):
            raise self._fail("name", f"'{top.name}' is no name of a stack", _NAME_HINT)
        if not top.vm:
            raise self._fail("", "no VM is in it", '[vm.NAME] with app = "main.py"')
        vms = {name: self._vm(name, table) for name, table in top.vm.items()}
        self._check_order(vms)
        return StackFile(self._file, top.name, vms)

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
        if not vm.app:
            raise self._fail(key, "app is missing", 'app = "main.py": a script, an image\'s folder or an ELF')
        self._refused(f"{key}.memory", lambda: parse_memory(vm.memory) if vm.memory else None)
        for port in vm.ports:
            self._refused(f"{key}.ports", lambda port=port: parse_forwards(port))  # type: ignore[misc]
        for variable in vm.env:
            if not _VARIABLE_NAME.fullmatch(variable):
                raise self._fail(f"{key}.env.{variable}", "no name of an environment variable")
        self._check_replicas(key, vm)
        self._check_ready(f"{key}.ready", vm.ready)
        return vm

    def _refused(self, key: str, parse: Callable[[], object]) -> None:
        try:
            parse()
        except UsageError as e:
            raise self._fail(key, e.message, e.hint) from None

    def _check_replicas(self, key: str, vm: Vm) -> None:
        if vm.replicas is None:
            return
        if not 0 <= vm.replicas <= MAX_REPLICAS:
            raise self._fail(f"{key}.replicas", f"{vm.replicas} is not from 0 to {MAX_REPLICAS}")
        if vm.replicas < 2:
            return
        for port in vm.ports:
            if any(forward.host_port for forward in parse_forwards(port)):
                hint = f"0:{parse_forwards(port)[0].guest_port} for any free port, or a VM in front of them"
                raise self._fail(f"{key}.ports", f"{vm.replicas} replicas cannot share the port of {port}", hint)
        for disk in vm.disks:
            if ":ro" not in disk:
                hint = f"{disk}:ro, or a [vm.NAME] for each"
                raise self._fail(f"{key}.disks", f"{vm.replicas} replicas cannot write to one disk, {disk}", hint)

    def _check_ready(self, key: str, ready: Ready) -> None:
        if ready.line and ready.exit is not None:
            raise self._fail(key, "one of line and exit is wanted, not both")
        if not 0 < ready.within <= 86400:
            raise self._fail(f"{key}.within", f"{ready.within:g} is no number of seconds from 0 to 86400")

    def _check_order(self, vms: dict[str, Vm]) -> None:
        for name, vm in vms.items():
            for other in vm.after:
                if other not in vms:
                    raise self._fail(f"vm.{name}.after", f"there is no VM '{other}'", f"one of: {', '.join(vms)}")
        done: set[str] = set()
        while len(done) < len(vms):
            free = {name for name, vm in vms.items() if name not in done and set(vm.after) <= done}
            if not free:
                stuck = [name for name in vms if name not in done]
                raise self._fail(f"vm.{stuck[0]}.after", f"these wait for one another: {', '.join(stuck)}")
            done |= free
