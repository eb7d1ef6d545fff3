# SPDX-License-Identifier: MIT
"""`floe export xl`: the configuration of an image's domain, for an administrator."""

from __future__ import annotations

import shlex

from floe.build.config import ImageConfig
from floe.image import elf
from floe.spec import network
from floe.spec.guestline import guest_command_line
from floe.spec.vmspec import VmSpec
from floe.xen import xlconfig


def render(made: elf.Image, settings: ImageConfig) -> str:
    """What `xl create` takes as it is, with the ELF as its kernel. Raises UsageError."""
    networked = "virtio-net" in made.content["drivers"]
    cards = (network.Card("bridge", xlconfig.BRIDGE),) if networked else ()
    spec = VmSpec(made.path, env=tuple(settings.env.items()), args=settings.args)
    cmdline = guest_command_line(spec, cards)
    domain = xlconfig.Domain(settings.name, int(made.content["memory"]), cmdline, cards=cards)
    return _for_admin(domain, made)


def _for_admin(domain: xlconfig.Domain, made: elf.Image) -> str:
    secrets = ", ".join(made.content.get("secrets", ()))
    lines = [f"# {domain.name}, a Xen PVH domain of {shlex.quote(made.path.name)}. xl create -c THIS-FILE\n"]
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
