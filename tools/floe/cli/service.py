# SPDX-License-Identifier: MIT
"""`floe service`: a systemd unit for an app, or for a detached VM."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from click.core import ParameterSource

from floe import __version__
from floe.build import port_archive
from floe.cli import runwords
from floe.cli.run import command as run
from floe.errors import FloeError, NotFound, UsageError
from floe.image import elf
from floe.shown import shown
from floe.spec import disks, handover, network, ports, systemd
from floe.spec.restart import parse_restart
from floe.spec.vmspec import parse_memory
from floe.store import vmfolder
from floe.vm.plan import identity, is_elf

_TEMPORARY = re.compile(r"(^|[=:])/(var/)?tmp/")  # in a word: a file that a private /tmp would hide
_KVM, _TUN, _VHOST = "/dev/kvm", "/dev/net/tun", "/dev/vhost-net"
_PRIVILEGED = 1024  # ports below it take a capability


@click.command(
    params=[
        click.Option(["--user"], metavar="NAME", help="Whom the service runs as.  [default: you]"),
        *(p for p in run.params if p.name in ("app", "args") or p.name not in runwords.MANNERS),
    ],
    short_help="Print a systemd unit for an app or a detached VM.",
)
@click.pass_context
def command(ctx: click.Context, /, user: str | None, app: Path, **options: object) -> int:
    """Print a systemd unit that runs APP, with the options that floe run would have; or the detached VM of that name,
    with the options that it was started with.

    --restart is systemd's then, on-failure where it is not given. What has a slash in it is never the name of a VM."""
    own = _chosen_user(user)
    name = str(app)
    try:
        folder = None if "/" in name else vmfolder.find(name)
    except NotFound:
        folder = None
    if folder is not None:
        ctx = _recorded(ctx, folder)
    click.echo(_unit(ctx, own), nl=False)
    return 0


def _recorded(ctx: click.Context, folder: vmfolder.Folder) -> click.Context:
    """The context of the floe run that started a VM."""
    words = folder.spec.command
    if not words:
        raise FloeError(
            f"the options that {folder.name} was started with are not known",
            evidence="it was started by floe compose, by another floe, or with a secret that came from a pipe",
            hint="floe service APP, with the options that it is to have",
        )
    given = {p.name for p in run.params if p.name and ctx.get_parameter_source(p.name) is ParameterSource.COMMANDLINE}
    if given - {"app"}:
        raise UsageError(
            f"{folder.name} is a detached VM, and has its options",
            hint=f"for an app of that name: {shlex.join(['floe', 'service', f'./{folder.name}'])} ...",
        )
    return ctx.command.make_context("service", list(words), parent=ctx.parent)


@dataclass(frozen=True)
class _User:
    name: str
    uid: int


def _chosen_user(name: str | None) -> _User:
    try:
        found = pwd.getpwnam(name) if name else pwd.getpwuid(os.geteuid())
    except KeyError:
        raise NotFound(
            f"--user {name or os.geteuid()}: there is no such user", hint="sudo adduser --system NAME"
        ) from None
    return _User(found.pw_name, found.pw_uid)


def _unit(ctx: click.Context, user: _User) -> str:
    options = ctx.params
    app = Path(os.path.abspath(options["app"]))
    _check(app, options)
    words = runwords.given(ctx, without=("user", "restart", "name"))
    name = options["name"] or re.sub(r"[^A-Za-z0-9_.-]", "-", app.stem).strip("-.") or "vm"
    if options["name"] and not options["uuid"]:
        words = ["--uuid", identity(options["name"]), *words]
    policy = parse_restart(options["restart"])
    asked = ctx.get_parameter_source("restart") is ParameterSource.COMMANDLINE
    cards = network.parse_cards(options["cards"])
    forwards = [f for text in options["forwards"] for f in ports.parse_forwards(text)]
    low = user.uid != 0 and any(0 < f.host_port < _PRIVILEGED for f in forwards)
    joined = any(card.kind in ("tap", "bridge") for card in cards)
    helped = user.uid != 0 and any(card.kind == "bridge" for card in cards)  # by QEMU's setuid program
    own_disks = disks.parse_disks(options["disks"])
    unit = systemd.Unit(
        name=name,
        command=[_program(), "run", *words],
        user=user.name,
        groups=["kvm"] if user.uid and _has_group("kvm") else [],
        restart=policy.when if asked else "on-failure",
        most=policy.most,
        writable=_writable(app, own_disks, cards),
        devices=[
            _KVM,
            *([_TUN, _VHOST] if joined else []),
            *(str(d.path) for d in own_disks if d.path.is_block_device()),
        ],
        capabilities=None if not user.uid or helped else ["CAP_NET_BIND_SERVICE"] if low else [],
        environment=[f"XDG_STATE_HOME=%S/{name}", f"XDG_CACHE_HOME=%C/{name}"],
        private_tmp=not any(_TEMPORARY.search(word) for word in words),
        new_privileges=helped,
        sandboxed=options["hypervisor"] == "qemu",
    )
    head = [
        f"# By floe {__version__}. To install it, as root, in a file {name}.service below /etc/systemd/system:",
        f"# systemctl daemon-reload && systemctl enable --now {name}",
    ]
    return "\n".join([*head, str(unit)])


def _check(app: Path, options: dict[str, object]) -> None:
    """What can be seen to be wrong now is not left to the service's first start. Raises FloeError and its like."""
    if not app.exists():
        raise NotFound(
            f"no such file or folder, and no VM of this name: {shown(str(options['app']))}", hint="floe ps --all"
        )
    made = elf.read(app) if is_elf(app) else None
    if made is None and app.is_dir() and not (app / "image.toml").is_file():
        raise NotFound(f"{app} has no image.toml", hint=f"floe new {shown(app.name)}")
    memory, secrets, env_files = options["memory"], options["secrets"], options["env_files"]
    if isinstance(memory, str):
        parse_memory(memory)
    assert isinstance(secrets, tuple) and isinstance(env_files, tuple)
    handover.parse_secrets(secrets, made.content.get("secrets", ()) if made else ())
    handover.read_env_files(handover.parse_env_files(env_files))


def _writable(app: Path, own_disks: Sequence[disks.Disk], cards: Sequence[network.Card]) -> list[str]:
    found = [str(disk.path.parent if disk.size else disk.path) for disk in own_disks if not disk.readonly]
    found += [str(path.absolute().parent) for path in network.socket_paths(cards)]
    if not is_elf(app) and not port_archive.INSTALLED:  # a wheel builds in the cache folder
        found.append(str(port_archive.CACHE))
    return list(dict.fromkeys(found))


def _program() -> str:
    beside = Path(sys.executable).with_name("floe")
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("floe")
    if found is None:
        raise NotFound("there is no command floe that a service could run", hint="pip install floe, in a venv")
    return os.path.abspath(found)


def _has_group(name: str) -> bool:
    try:
        return grp.getgrnam(name) is not None
    except KeyError:
        return False
