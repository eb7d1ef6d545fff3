# SPDX-License-Identifier: MIT
"""A domain's configuration as xl reads it (xl.cfg(5)): for `floe run`, and for an administrator. Prints nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from floe.errors import UsageError
from floe.net import Card

BRIDGE = "xenbr0"  # the name in Xen's own documents; the lab's has it too
_NAME_MAX = 40


@dataclass(frozen=True)
class Domain:
    """What a configuration says. memory: bytes; disks: xl-disk-configuration(5)."""

    name: str
    memory: int
    cmdline: str = ""
    uuid: str = ""
    cards: tuple[Card, ...] = ()
    disks: tuple[str, ...] = ()


def render(domain: Domain) -> str:
    """For a domain that somebody watches: it stays until its end has been read. The kernel is not named."""
    endings = ("on_poweroff", "on_reboot", "on_crash", "on_watchdog", "on_soft_reset")
    return "".join([*_lines(domain), *(f'{ending}="preserve"\n' for ending in endings)])


def render_for_admin(domain: Domain, kernel: Path) -> str:
    """For `xl create` as it is: a file that an administrator reads and changes."""
    return "".join(
        [
            f"# A Xen PVH domain that floe built: xl create -c {kernel.with_suffix('.cfg').name}\n",
            "# Its exit code is in XenStore while it is preserved: /local/domain/ID/data/floe-exit.\n",
            f"kernel={quote(str(kernel))}  # absolute: xl looks from where it is called\n",
            *_lines(domain),
            "# The script's end, or sys.exit(); machine.reset(), or deep sleep; a panic, which xl console shows.\n",
            'on_poweroff="destroy"\non_reboot="restart"\non_crash="preserve"\n',
        ]
    )


def _lines(domain: Domain) -> list[str]:
    lines = [f"name={quote(domain.name)}\n", 'type="pvh"\n', "vcpus=1\n"]
    lines += [f"memory={-(-domain.memory >> 20)}  # MiB\n"]
    lines += ['tsc_mode="native"  # no trap at each look at the clock\n']
    lines += [f"uuid={quote(domain.uuid)}\n"] if domain.uuid else []
    lines += [f"cmdline={quote(domain.cmdline)}\n"]
    lines += [f"vif=[{', '.join(quote(vif(card)) for card in domain.cards)}]\n"] if domain.cards else []
    lines += [f"disk=[{', '.join(map(quote, domain.disks))}]\n"] if domain.disks else []
    return lines


def vif(card: Card) -> str:
    """xl-network-configuration(5) of a card."""
    mac = f"mac={card.mac}," if card.mac else ""
    return f"{mac}bridge={card.name or BRIDGE}"


def disk(target: str, index: int, *, readonly: bool) -> str:
    """xl-disk-configuration(5) of a file or block device of dom0. Its path is the last word: it may hold a comma."""
    access = "ro" if readonly else "rw"
    return f"format=raw,vdev=xvd{chr(ord('a') + index)},access={access},backendtype=phy,target={target}"


def quote(text: str) -> str:
    """A string of xl.cfg, in double quotes. Its hexadecimal and octal escapes do not work up to Xen 4.17 at least, so
    that control characters cannot be said: UsageError."""
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise UsageError(f"{text!r} holds a control character, which xl does not take")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def domain_name(name: str, uuid: str) -> str:
    """A name for `xl list` that is this domain's alone: NAME-, then the beginning of its UUID."""
    stem = re.sub(r"[^A-Za-z0-9_.-]", "-", name or "floe")[:_NAME_MAX]
    return f"{stem}-{uuid[:8]}" if uuid else stem
