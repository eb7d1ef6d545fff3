# SPDX-License-Identifier: MIT
"""From what a user asks for to a VmSpec: the image, built if it must be, and what it is booted with. What the image's
own image.toml says holds where the user says nothing. `say` takes warnings and progress.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from floe.build import pipeline
from floe.build.config import ImageConfig
from floe.errors import NotFound, UsageError
from floe.hypervisor import registry
from floe.hypervisor.base import Hypervisor
from floe.image import elf, signature
from floe.spec import disks, egress, handover, network, ports
from floe.spec.runoptions import RunOptions
from floe.spec.vmspec import DEFAULT_CHILDREN, VmSpec, parse_memory
from floe.stream.stamps import SWITCH


def plan(
    app: Path,
    options: RunOptions,
    say: Callable[[str], None] = lambda text: None,
    hypervisor: Hypervisor | None = None,
) -> tuple[VmSpec, str]:
    """What to boot, built if it must be, with ports known to be free; and why not KVM, "" if it is used or not wanted.
    hypervisor: where it is not one of this machine's that the options name.

    Raises what pipeline.build(), signature.verify(), elf.read() and assemble() do, and UsageError."""
    if is_elf(app):
        checked = signature.verify(app, options.verify) if options.verify else None
        made = elf.read(checked.path if checked else app)
        if options.dev and made.content["profile"] != "dev":
            raise UsageError(f"{app} is a sealed image", hint="floe run --dev APP, with the script it was built from")
        if options.how:
            raise UsageError(f"--{options.how}: {app} is built already", hint="name the app instead of the ELF")
        if options.variant:
            raise UsageError(
                f"--variant {options.variant}: {app} is built already", hint="name the app instead of the ELF"
            )
        spec, why_not_faster = assemble(made, None, options, hypervisor=hypervisor)
        return replace(spec, verified=checked.sha256 if checked else ""), why_not_faster
    if options.verify:
        raise UsageError(
            f"--verify: {app} is yet to be built, and only an ELF is signed",
            hint=f"floe build --sign KEY -o NAME.elf {app}; floe run --verify {options.verify} NAME.elf",
        )
    profile: pipeline.Profile | None = "dev" if options.dev else None
    built = pipeline.build(app, profile=profile, variant=options.variant, how=options.how, say=say)
    for warning in built.warnings:
        say(f"warning: {warning}")
    if built.config.ports and not (hypervisor or registry.create(options.hypervisor)).forwards_own():
        say(f"port {', '.join(built.config.ports)} is not forwarded: in a dom0 a guest has its own address")
    return assemble(built.image, built.config, options, say, hypervisor)


def assemble(
    made: elf.Image,
    config: ImageConfig | None,
    options: RunOptions,
    say: Callable[[str], None] = lambda text: None,
    hypervisor: Hypervisor | None = None,
) -> tuple[VmSpec, str]:
    """As plan() for an image that is built; `config` is its image.toml, None for an ELF alone.

    Raises what ports.claim(), disks.check_host(), the hypervisor's driver and handover do, and UsageError."""
    hypervisor = hypervisor or registry.create(options.hypervisor)
    hypervisor.check(options)
    memory = parse_memory(options.memory) if options.memory else int(made.content["memory"])
    _check_memory(made, memory)
    asked = [f for text in options.forwards for f in ports.parse_forwards(text)]
    cards = _cards(made, options.cards, asked, hypervisor)
    allowed = _egress(options.allow, config.allow if config else (), cards, hypervisor)
    forwards = [*asked, *_own_forwards(config, hypervisor, cards, asked, say)]
    own_uuid = _uuid(options.uuid)
    own_disks = _disks(made, options.disks, hypervisor)
    hypervisor.before_claim(forwards=bool(forwards), disks=bool(own_disks))
    secrets = handover.parse_secrets(options.secrets, made.content.get("secrets", ()))
    env_files = handover.parse_env_files(options.env_files)
    asked_env = dict(map(variable, options.env))
    accel, why_not_faster = hypervisor.choose_accel(options.accel)
    if hypervisor.is_here:
        disks.check_host(own_disks)
    own = [f for text in (config.ports if config else ()) for f in ports.parse_forwards(text)]
    children = _children(made, options.children, hypervisor, spread=any(f.spread for f in (*forwards, *own)))
    spec = VmSpec(
        elf=made.path,
        memory=memory,
        machine=options.machine if options.machine in hypervisor.machines else hypervisor.machines[0],
        accel=accel,
        hypervisor=options.hypervisor,
        name=str(made.content["name"]),
        cards=hypervisor.with_macs(cards, own_uuid),
        forwards=_claimed(_spread(made, forwards, asked, children, hypervisor), hypervisor),
        egress=egress.pinned(allowed),
        disks=own_disks,
        env=_environment(config.env if config else {}, env_files, asked_env),
        asked=tuple(asked_env.items()),
        args=options.args or (config.args if config else ()),
        capture=_check_capture(options.capture, cards),
        switches=(*_switches(options), *_unserved(children, hypervisor)),
        secrets=secrets,
        child_secrets=_child_secrets(made, options, secrets, children),
        env_files=env_files,
        uuid=own_uuid,
        children=children,
    )
    return spec, why_not_faster


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
    made: elf.Image, values: Sequence[str], forwards: Sequence[ports.Forward], hypervisor: Hypervisor
) -> tuple[network.Card, ...]:
    """The network cards; none by default for an image that has no driver for them."""
    if "virtio-net" in made.content["drivers"]:
        cards = network.parse_cards(values)
    elif forwards or any(value != "none" for value in values):
        what = forwards[0].option() if forwards else f"--net {values[0]}"
        raise UsageError(f"{what}: {made.content['name']} has no network: nothing in it imports network or socket")
    else:
        cards = ()
    if forwards and not _forwarding(cards, hypervisor):
        raise UsageError(
            f"{forwards[0].option()}: no card to forward ports to: of kind user, or under Xen bridge",
            hint="--net user, or without -p: on a tap or a bridge a guest has an address of its own",
        )
    for card in cards:
        if card.kind not in hypervisor.card_kinds:
            possible = ", or ".join("--net user" if k == "user" else f"--net {k}:NAME" for k in hypervisor.card_kinds)
            raise UsageError(f"--net {card.kind}:{card.name}: not under {hypervisor.label}", hint=possible)
    return cards


def _egress(
    values: Sequence[str], own: Sequence[str], cards: Sequence[network.Card], hypervisor: Hypervisor
) -> egress.Egress | None:
    """What the VM may reach, names not looked up yet. own: the image's own, where the user says nothing."""
    found = egress.parse_allow(values or own)
    try:
        if found is not None and not hypervisor.guards_egress:
            raise UsageError(f"--allow: not under {hypervisor.label}, whose guests send without being looked at")
        egress.check_cards(found, cards)
    except UsageError as e:
        if values:
            raise
        raise UsageError(f"allow of image.toml{e.message.removeprefix('--allow')}", hint=e.hint) from None
    return found


def _forwarding(cards: Sequence[network.Card], hypervisor: Hypervisor) -> bool:
    return any(card.kind in hypervisor.forwarding_kinds for card in cards)


def _own_forwards(
    config: ImageConfig | None,
    hypervisor: Hypervisor,
    cards: Sequence[network.Card],
    asked: Sequence[ports.Forward],
    say: Callable[[str], None],
) -> list[ports.Forward]:
    """What image.toml lists and -p does not, where the cards have a use for it."""
    if config is None or not config.ports or not hypervisor.forwards_own():
        return []
    if not _forwarding(cards, hypervisor):
        which = "s" if len(config.ports) > 1 else ""
        say(f"port{which} {', '.join(config.ports)} of image.toml: not forwarded, no card is of kind user")
        return []
    taken = {(f.guest_port, f.protocol) for f in asked}
    own = [f for text in config.ports for f in ports.parse_forwards(text)]
    return [f for f in own if (f.guest_port, f.protocol) not in taken]


def _disks(made: elf.Image, values: Sequence[str], hypervisor: Hypervisor) -> tuple[disks.Disk, ...]:
    found = disks.parse_disks(values, elsewhere=not hypervisor.is_here)
    if found and "virtio-blk" not in made.content["drivers"]:
        raise UsageError(
            f"--disk {values[0]}: {made.content['name']} has no file systems: nothing in it imports vfs",
            hint="a --variant that has disks, disks = true in image.toml, or floe run --dev",
        )
    return found


def _children(made: elf.Image, asked: int | None, hypervisor: Hypervisor, *, spread: bool) -> int | None:
    """How many copies may run at a time; None where the guest makes none. spread: its port is to be theirs, too; where
    it is one VM's, none is made that nobody would reach."""
    if not made.content.get("fork", False):
        if asked is not None:
            raise UsageError(
                f"--children {asked}: {made.content['name']} does not fork: nothing in it imports vm",
                hint="without --children",
            )
        return None
    if not hypervisor.copies:
        if asked is not None:
            raise UsageError(f"--children {asked}: not under {hypervisor.label}, which does not copy a running VM")
        return 0
    most = DEFAULT_CHILDREN if hypervisor.relays_forwards or not spread else 0
    return most if asked is None else asked


def _child_secrets(
    made: elf.Image, options: RunOptions, secrets: Sequence[tuple[str, Path]], children: int | None
) -> tuple[str, ...]:
    """The secrets that children may read; image.toml's do no harm where there are none."""
    for name in options.child_secrets:
        if children is None:
            raise UsageError(f"--child-secret {name}: {made.content['name']} does not fork")
        if name not in dict(secrets):
            raise UsageError(f"--child-secret {name}: there is no such secret", hint=f"--secret {name}=FILE beside it")
    return tuple(dict.fromkeys((*made.content.get("child_secrets", ()), *options.child_secrets)))


def _switches(options: RunOptions) -> tuple[str, ...]:
    asked = [SWITCH] if options.stamps else []
    return (*options.switches, *asked, *(["floe.aslr=0"] if options.no_aslr else []))


def _unserved(children: int | None, hypervisor: Hypervisor) -> tuple[str, ...]:
    """Nobody is there for its family all the time where another host's libvirt has started it."""
    return () if children is None or hypervisor.is_here else ("floe.unserved=1",)


def _spread(
    made: elf.Image,
    forwards: Sequence[ports.Forward],
    asked: Sequence[ports.Forward],
    children: int | None,
    hypervisor: Hypervisor,
) -> list[ports.Forward]:
    """The forwards; of those that are spread, where no VM is ever copied: image.toml's as they are without."""
    spreads = hypervisor.copies and hypervisor.relays_forwards
    if children is not None and spreads:
        return list(forwards)
    for forward in forwards if spreads else asked:
        if forward.spread:
            why = f"{made.content['name']} does not fork: nothing in it imports vm"
            if not hypervisor.copies:
                why = f"not under {hypervisor.label}, which does not copy a running VM"
            elif not hypervisor.relays_forwards:
                why = f"not under {hypervisor.label}, where each port is one VM's"
            raise UsageError(f"{forward.option()}: {why}", hint=replace(forward, spread=False).option())
    return [replace(forward, spread=False) for forward in forwards]


def _claimed(forwards: Sequence[ports.Forward], hypervisor: Hypervisor) -> tuple[ports.Forward, ...]:
    """With ports of this machine that are free, where they are this machine's."""
    return ports.claim(forwards, through=hypervisor.relays_forwards) if hypervisor.is_here else tuple(forwards)


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


def variable(text: str) -> tuple[str, str]:
    """--env's value: a name, and what it is set to. Raises UsageError."""
    key, equals, value = text.partition("=")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
        raise UsageError(f"--env {text}: not a name of an environment variable", hint="--env NAME=VALUE")
    if not equals:
        if key not in os.environ:
            raise UsageError(f"--env {key}: this shell has no such variable", hint=f"--env {key}=VALUE")
        value = os.environ[key]
    return key, value
