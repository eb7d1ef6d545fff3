# SPDX-License-Identifier: MIT
"""What a stack's file asks for, VM by VM: each with its options, its image, and digests that tell it from another."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from floe.build import pipeline
from floe.build.config import ImageConfig
from floe.compose import networks
from floe.compose.stackfile import StackFile, Vm
from floe.errors import FloeError, UsageError
from floe.image import elf
from floe.spec import handover
from floe.spec.runoptions import RunOptions
from floe.spec.vmspec import VmSpec
from floe.store.stackfolder import Stack
from floe.vm import plan

_Say = Callable[[str], None]


@dataclass(frozen=True)
class Instance:
    """One VM. name: as `floe ps` has it, STACK.VM or STACK.VM.N; label: the same without the stack's."""

    name: str
    label: str
    key: str  # of its table in the file
    vm: Vm
    app: Path
    image: elf.Image
    config: ImageConfig | None
    options: RunOptions
    aspects: dict[str, str]

    def spec(self) -> VmSpec:
        """What to boot, with host ports that are free now. Raises FloeError."""
        return plan.assemble(self.image, self.config, self.options)[0]


def labels(name: str, vm: Vm) -> list[str]:
    """Of the VMs of one table: NAME, or with `replicas` NAME.1, NAME.2, ..."""
    return [name] if vm.replicas is None else [f"{name}.{number}" for number in range(1, vm.replicas + 1)]


def names(stack: str, vms: dict[str, Vm]) -> dict[str, str]:
    """Of all VMs of these tables, as `floe ps` has them; each with its table's."""
    return {f"{stack}.{label}": name for name, vm in vms.items() for label in labels(name, vm)}


def instances(file: StackFile, stack: Stack, vms: dict[str, Vm], say: _Say) -> list[Instance]:
    """All VMs of these tables, built as far as they must be. Raises what a build raises, and FloeError with the key."""
    found = []
    built: dict[tuple[Path, str, bool], tuple[elf.Image, ImageConfig | None]] = {}
    for name, vm in vms.items():
        key = f"vm.{name}"
        app = file.file.parent / vm.app
        with told(file.file, f"{key}.app"):
            if (what := (app, vm.variant, vm.dev)) not in built:
                built[what] = image_of(app, vm, say)
            image, config = built[what]
        for label in labels(name, vm):
            full = f"{stack.name}.{label}"
            with told(file.file, key):
                options = replace(options_of(file.file.parent, vm, full), cards=cards(file, stack, full, vm, image))
                aspects = _aspects(image, config, options)
                aspects |= {"networks": _wires(stack, options), "restart": vm.restart}
                # What a VM that runs does not hold: told before that one makes room.
                plan.assemble(image, config, replace(options, forwards=(), disks=()))
            found.append(Instance(full, label, key, vm, app, image, config, options, aspects))
    return found


@contextlib.contextmanager
def told(file: Path, key: str) -> Iterator[None]:
    """Errors with the file and the key that they are about."""
    try:
        yield
    except FloeError as e:
        hint = e.hint
        for option, own in (("-p ", 'ports = ["{}"]'), ("--secret ", "secrets: {}"), ("--memory ", 'memory = "{}"')):
            hint = own.format(e.hint.removeprefix(option)) if e.hint.startswith(option) else hint
        error = FloeError(f"{file}: {key}: {e.message}", evidence=e.evidence, hint=hint)
        error.exit_code = e.exit_code
        raise error from e


def image_of(app: Path, vm: Vm, say: _Say) -> tuple[elf.Image, ImageConfig | None]:
    """Built if it must be. Raises what a build raises."""
    if plan.is_elf(app):
        made = elf.read(app)
        if vm.variant or (vm.dev and made.content["profile"] != "dev"):
            raise FloeError(f"{app} is built already", hint="name the app instead of the ELF")
        return made, None
    built = pipeline.build(app, profile="dev" if vm.dev else None, variant=vm.variant, say=say)
    for warning in built.warnings:
        say(f"warning: {warning}")
    # What a stack opens to this machine its file says, not that of an image.
    return built.image, msgspec.structs.replace(built.config, ports=())


def options_of(folder: Path, vm: Vm, name: str) -> RunOptions:
    """Without cards."""
    return RunOptions(
        dev=vm.dev,
        memory=vm.memory or None,
        forwards=tuple(vm.ports),
        allow=tuple(vm.allow),
        disks=tuple(os.path.join(folder, disk) for disk in vm.disks),
        env=tuple(f"{key}={value}" for key, value in vm.env.items()),
        env_files=tuple(str(folder / path) for path in vm.env_files),
        secrets=tuple(f"{key}={folder / path}" for key, path in vm.secrets.items()),
        child_secrets=tuple(vm.child_secrets),
        uuid=plan.identity(name),
        args=tuple(vm.args),
        children=vm.children,
        accel=vm.accel,
        machine=vm.machine,
    )


def cards(file: StackFile, stack: Stack, name: str, vm: Vm, image: elf.Image) -> tuple[str, ...]:
    """None for an image without a network that was not asked to have one. Raises UsageError for one that was."""
    if "virtio-net" not in image.content["drivers"]:
        if vm.networks or vm.outside or vm.ports or vm.ready.port:
            hint = "ports, networks, outside and ready.port are for those that do"
            raise UsageError(f"{vm.app} has no network: nothing in it imports network or socket", hint=hint)
        return ()
    return tuple(networks.cards(file, stack, name, vm))


def _wires(stack: Stack, options: RunOptions) -> str:
    """A card stays joined to the process that carried its network when it was started."""
    carried = any(card.startswith("connect:") for card in options.cards)
    return _digest(options.cards, networks.identity(stack) if carried else "")


def _aspects(image: elf.Image, config: ImageConfig | None, options: RunOptions) -> dict[str, str]:
    """Digests by key: of contents, where a file is named. Env and secrets are not to be read off them."""
    secrets = handover.parse_secrets(options.secrets, image.content.get("secrets", ()))
    env_files = handover.parse_env_files(options.env_files)
    blobs = handover.read(secrets, env_files, {})
    return {
        "app": _digest(image.path.read_bytes()),
        "memory": options.memory or str(image.content["memory"]),
        "env": _digest(options.env, config.env if config else {}),
        "env_files": _digest([blob.content.hex() for blob in blobs if not blob.name.startswith("secret/")]),
        "secrets": _digest([(blob.name, blob.content.hex()) for blob in blobs if blob.name.startswith("secret/")]),
        "child_secrets": " ".join(options.child_secrets),
        "disks": _digest(options.disks),
        "ports": " ".join(options.forwards),
        "allow": _digest(options.allow or (config.allow if config else ())),
        "children": str(options.children),
        "args": _digest(options.args or (config.args if config else ())),
        "accel": options.accel,
        "machine": options.machine,
    }


def _digest(*values: object) -> str:
    raw = values[0] if isinstance(values[0], bytes) else json.dumps(values, sort_keys=True).encode()
    return hashlib.sha256(raw).hexdigest()[:16]


def differing(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """The keys of what is not as it was."""
    return [key for key in now if before.get(key) != now[key]]
