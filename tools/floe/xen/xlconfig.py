# SPDX-License-Identifier: MIT
"""A domain's configuration as xl reads it (xl.cfg(5))."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from floe.errors import UsageError
from floe.spec.network import Card

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
    return "".join([*lines(domain), *(f'{ending}="preserve"\n' for ending in endings)])


def lines(domain: Domain) -> list[str]:
    """What is the same wherever the domain runs."""
    said = [f"name={quote(domain.name)}\n", 'type="pvh"\n', "vcpus=1\n"]
    mib = -(-domain.memory >> 20)
    # Less than a MiB is refused for a small guest (p2m pages); Xen's own choice is a multiple of what is needed.
    said += [f"memory={mib}  # MiB\n", f"shadow_memory={max(1, -(-mib // 256))}\n"]
    said += ['tsc_mode="native"  # no trap at each look at the clock\n']
    said += [f"uuid={quote(domain.uuid)}\n"] if domain.uuid else []
    said += [f"cmdline={quote(domain.cmdline)}\n"]
    said += [f"vif=[{', '.join(quote(vif(card)) for card in domain.cards)}]\n"] if domain.cards else []
    return said + disk_lines(domain.disks)


def disk_lines(disks: Sequence[str]) -> list[str]:
    """What names the disks, each as disk() says it. Raises UsageError."""
    return [f"disk=[{', '.join(map(quote, disks))}]\n"] if disks else []


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
