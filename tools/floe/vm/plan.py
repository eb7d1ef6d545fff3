# SPDX-License-Identifier: MIT
"""From what a user asks for to a VmSpec: the image, built if it must be, and what it is booted with. What the image's
own image.toml says holds where the user says nothing. `say` takes warnings and progress.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from floe.build import pipeline
from floe.build.config import ImageConfig
from floe.errors import NotFound, UsageError
from floe.image import elf
from floe.qemu import accel, commandline
from floe.spec import disks, handover, network, ports
from floe.spec.vmspec import VmSpec, parse_memory
from floe.stream.stamps import SWITCH


@dataclass(frozen=True)
class Wishes:
    """What the command line asks for; None and empty where it says nothing."""

    dev: bool = False
    variant: str = ""
    how: pipeline.How | None = None
    memory: str | None = None
    forwards: tuple[str, ...] = ()
    cards: tuple[str, ...] = ()
    disks: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    env_files: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    uuid: str = ""
    args: tuple[str, ...] = ()
    accel: str = "auto"
    machine: str = "microvm"
    stamps: bool = False
    switches: tuple[str, ...] = ()  # further words for the guest
    capture: Path | None = None  # packets in pcap format
    hypervisor: str = "qemu"


def plan(app: Path, wishes: Wishes, say: Callable[[str], None] = lambda text: None) -> tuple[VmSpec, str]:
    """What to boot, built if it must be, with ports known to be free; and why not KVM, "" if it is used or not wanted.

    Raises what image.build(), elf.read() and assemble() do, and UsageError."""
    if is_elf(app):
        made = elf.read(app)
        if wishes.dev and made.content["profile"] != "dev":
            raise UsageError(f"{app} is a sealed image", hint="floe run --dev APP, with the script it was built from")
        if wishes.how:
            raise UsageError(f"--{wishes.how}: {app} is built already", hint="name the app instead of the ELF")
        if wishes.variant:
            raise UsageError(
                f"--variant {wishes.variant}: {app} is built already", hint="name the app instead of the ELF"
            )
        return assemble(made, None, wishes)
    built = pipeline.build(app, profile="dev" if wishes.dev else None, variant=wishes.variant, how=wishes.how, say=say)
    for warning in built.warnings:
        say(f"warning: {warning}")
    if built.config.ports and not forwards_own(wishes.hypervisor):
        say(f"port {', '.join(built.config.ports)} is not forwarded: in a dom0 a guest has its own address")
    return assemble(built.image, built.config, wishes, say)


def assemble(
    made: elf.Image, config: ImageConfig | None, wishes: Wishes, say: Callable[[str], None] = lambda text: None
) -> tuple[VmSpec, str]:
    """As plan() for an image that is built; `config` is its image.toml, None for an ELF alone.

    Raises what ports.claim(), disks.check_host(), accel.choose() and those of handover do, and UsageError."""
    if wishes.machine not in commandline.MACHINES:
        raise UsageError(
            f"--machine {wishes.machine}: no such machine", hint=f"one of {', '.join(commandline.MACHINES)}"
        )
    memory = parse_memory(wishes.memory) if wishes.memory else int(made.content["memory"])
    _check_memory(made, memory)
    asked = [f for text in wishes.forwards for f in ports.parse_forwards(text)]
    cards = _cards(made, wishes.cards, asked, xen=wishes.hypervisor == "xen")
    _check_hypervisor(wishes, cards)
    forwards = [*asked, *_own_forwards(config, wishes, cards, asked, say)]
    own_uuid = _uuid(wishes.uuid)
    if forwards and wishes.hypervisor == "xen":
        from floe.xenlab import lab

        lab.forget_dead_forwards()  # or the lab's QEMU would still have their ports
    secrets = handover.parse_secrets(wishes.secrets, made.content.get("secrets", ()))
    env_files = handover.parse_env_files(wishes.env_files)
    asked_env = dict(map(_variable, wishes.env))
    chosen, why_no_kvm = ("xen", "") if wishes.hypervisor == "xen" else accel.choose(wishes.accel)
    spec = VmSpec(
        elf=made.path,
        memory=memory,
        machine="pvh" if wishes.hypervisor == "xen" else wishes.machine,
        accel=chosen,
        hypervisor=wishes.hypervisor,
        name=str(made.content["name"]),
        cards=network.with_macs(cards, own_uuid) if wishes.hypervisor == "qemu" else cards,
        forwards=ports.claim(forwards, through=wishes.hypervisor == "qemu"),
        disks=_disks(made, wishes.disks, xen=wishes.hypervisor == "xen"),
        env=_environment(config.env if config else {}, env_files, asked_env),
        asked=tuple(asked_env.items()),
        args=wishes.args or (config.args if config else ()),
        capture=_check_capture(wishes.capture, cards),
        switches=(*wishes.switches, *((SWITCH,) if wishes.stamps else ())),
        secrets=secrets,
        env_files=env_files,
        uuid=own_uuid,
    )
    return spec, why_no_kvm


def forwards_own(hypervisor: str) -> bool:
    """Whether the image's own ports are forwarded: not in a dom0, where a guest has its own address."""
    if hypervisor != "xen":
        return True
    from floe.xen import dom0

    return not dom0.is_here()


def _check_hypervisor(wishes: Wishes, cards: Sequence[network.Card]) -> None:
    """Raises UsageError for what one hypervisor has and the other has not."""
    xen = wishes.hypervisor == "xen"
    if xen and (wishes.accel, wishes.machine) != ("auto", "microvm"):
        raise UsageError("--accel and --machine are QEMU's; a Xen domain is of type PVH", hint="--hypervisor xen alone")
    if xen and wishes.capture:
        raise UsageError("packets of a Xen domain are captured in dom0", hint="tcpdump -i vifID.0 there")
    for card in cards:
        if card.kind not in (("user", "bridge") if xen else network.KINDS):
            raise UsageError(f"--net {card.kind}:{card.name}: not under Xen", hint="--net user, or --net bridge:NAME")


def is_elf(path: Path) -> bool:
    """Whether APP is an ELF rather than something to build."""
    try:
        if not path.is_file():  # a pipe may never be written to
            return path.suffix == ".elf"
        with path.open("rb") as f:
            return f.read(4) == b"\x7fELF" or path.suffix == ".elf"
    except OSError:
        return path.suffix == ".elf"


def _check_memory(made: elf.Image, memory: int) -> None:
    top = max(segment.address + segment.memory_bytes for segment in made.segments)
    if top > memory:
        need = (top >> 20) + 1
        raise UsageError(
            f"{memory / (1 << 20):g} MiB of memory are too little: the image reaches up to {top / (1 << 20):.1f} MiB",
            hint=f"--memory {need}M at least, and what the script needs on top",
        )


def _cards(
    made: elf.Image, values: Sequence[str], forwards: Sequence[ports.Forward], *, xen: bool
) -> tuple[network.Card, ...]:
    """The network cards; none by default for an image that has no driver for them."""
    if "virtio-net" in made.content["drivers"]:
        cards = network.parse_cards(values)
    elif forwards or any(value != "none" for value in values):
        what = forwards[0].option() if forwards else f"--net {values[0]}"
        raise UsageError(f"{what}: {made.content['name']} has no network: nothing in it imports network or socket")
    else:
        cards = ()
    if forwards and not _forwarding(cards, xen=xen):
        raise UsageError(
            f"{forwards[0].option()}: no card to forward ports to: of kind user, or under Xen bridge",
            hint="--net user, or without -p: on a tap or a bridge a guest has an address of its own",
        )
    return cards


def _forwarding(cards: Sequence[network.Card], *, xen: bool) -> bool:
    return any(card.kind == "user" or (xen and card.kind == "bridge") for card in cards)


def _own_forwards(
    config: ImageConfig | None,
    wishes: Wishes,
    cards: Sequence[network.Card],
    asked: Sequence[ports.Forward],
    say: Callable[[str], None],
) -> list[ports.Forward]:
    """What image.toml lists and -p does not, where the cards have a use for it."""
    if config is None or not config.ports or not forwards_own(wishes.hypervisor):
        return []
    if not _forwarding(cards, xen=wishes.hypervisor == "xen"):
        which = "s" if len(config.ports) > 1 else ""
        say(f"port{which} {', '.join(config.ports)} of image.toml: not forwarded, no card is of kind user")
        return []
    taken = {(f.guest_port, f.protocol) for f in asked}
    own = [f for text in config.ports for f in ports.parse_forwards(text)]
    return [f for f in own if (f.guest_port, f.protocol) not in taken]


def _disks(made: elf.Image, values: Sequence[str], *, xen: bool) -> tuple[disks.Disk, ...]:
    found = disks.parse_disks(values)
    if found and "virtio-blk" not in made.content["drivers"]:
        raise UsageError(
            f"--disk {values[0]}: {made.content['name']} has no file systems: nothing in it imports vfs",
            hint="disks = true in image.toml, or floe run --dev",
        )
    if found and xen:
        from floe.lab.disk import unplug_dead
        from floe.xenlab.lab import LAB

        unplug_dead(LAB)
    disks.check_host(found)
    return found


def _environment(
    image: Mapping[str, str], files: Sequence[Path], asked: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    """What goes on the command line: the image's own variables that neither --env-file nor --env sets."""
    others = {key for values in (*handover.read_env_files(files), asked) for key in values}
    return tuple((key, value) for key, value in image.items() if key not in others)


def identity(name: str) -> str:
    """The UUID of the VM that this user calls NAME on this machine: the same at every start."""
    try:
        machine = uuid.UUID(Path("/etc/machine-id").read_text().strip())
    except (OSError, ValueError):
        machine = uuid.UUID(int=uuid.getnode())
    return str(uuid.uuid5(machine, f"floe/{os.getuid()}/{name}"))


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text) if text else uuid.uuid4())
    except ValueError:
        raise UsageError(f"--uuid {text}: not a UUID", hint=f"--uuid {uuid.uuid4()}") from None


def _check_capture(path: Path | None, cards: Sequence[network.Card]) -> Path | None:
    if path is not None and not cards:
        raise UsageError(f"no network card whose packets could go to {path}")
    if path is not None and not path.parent.is_dir():
        raise NotFound(f"packets cannot be written to {path}: its folder does not exist")
    return path


def _variable(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
        raise UsageError(f"--env {text}: not a name of an environment variable", hint="--env NAME=VALUE")
    if not equals:
        if key not in os.environ:
            raise UsageError(f"--env {key}: this shell has no such variable", hint=f"--env {key}=VALUE")
        value = os.environ[key]
    return key, value
