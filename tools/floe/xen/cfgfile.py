# SPDX-License-Identifier: MIT
"""`floe build --xl`: the configuration of an image's domain beside its ELF."""

from __future__ import annotations

from pathlib import Path

from floe.build.config import ImageConfig
from floe.errors import FloeError, UsageError
from floe.image import elf
from floe.spec import network
from floe.spec.guestline import guest_command_line
from floe.spec.vmspec import VmSpec
from floe.xen import xlconfig


def write(made: elf.Image, settings: ImageConfig) -> Path:
    """Write NAME.cfg beside the ELF for `xl create`, as an administrator would, who then changes it. Returns its path.

    Raises FloeError, UsageError."""
    path = made.path.with_suffix(".cfg")
    if path == made.path:
        raise UsageError(f"--xl would write over {path}", hint="floe build -o FILE.elf --xl")
    networked = "virtio-net" in made.content["drivers"]
    cards = (network.Card("bridge", xlconfig.BRIDGE),) if networked else ()
    spec = VmSpec(made.path, env=tuple(settings.env.items()), args=settings.args)
    cmdline = guest_command_line(spec, cards)
    domain = xlconfig.Domain(settings.name, int(made.content["memory"]), cmdline, cards=cards)
    try:
        path.write_text(_for_admin(domain, made))
    except OSError as e:
        raise FloeError(f"cannot write {path}: {e.strerror}", hint="floe build -o FILE.elf --xl") from e
    return path


def _for_admin(domain: xlconfig.Domain, made: elf.Image) -> str:
    secrets = ", ".join(made.content.get("secrets", ()))
    lines = [f"# {domain.name}, a Xen PVH domain that floe built. xl create -c {made.path.with_suffix('.cfg').name}\n"]
    lines += ["# The exit code is in XenStore, at /local/domain/ID/data/floe-exit, until the domain is destroyed.\n"]
    if secrets:
        lines += [f"# It needs secrets ({secrets}), which `floe run --hypervisor xen --secret NAME=FILE` hands over.\n"]
    lines += [f"kernel={xlconfig.quote(str(made.path.absolute()))}\n", *xlconfig.lines(domain)]
    if not domain.cards:
        lines += ["# Nothing in it uses a network.\n"]
    if "virtio-blk" in made.content["drivers"]:
        example = xlconfig.disk(str(made.path.with_name("disk.img").absolute()), 0, readonly=False)
        lines += ["# Mounted at /; the next one at /disk1.\n", f"#disk=[{xlconfig.quote(example)}]\n"]
    lines += ["# The script's end or sys.exit(), and xl shutdown.\n", 'on_poweroff="destroy"\n']
    lines += ["# machine.reset() and the end of a deep sleep, and xl reboot.\n", 'on_reboot="restart"\n']
    lines += ["# A panic: its text is on the console, and xl dump-core finds the domain.\n", 'on_crash="preserve"\n']
    return "".join(lines)
