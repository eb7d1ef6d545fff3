# SPDX-License-Identifier: MIT
"""The guest's command line, which a hypervisor hands over beside the image: addresses, variables, switches, arguments.
Read by port/bootargs.c."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from floe.errors import UsageError
from floe.spec import disks, handover, network
from floe.spec.network import Card
from floe.spec.vmspec import VmSpec

# hal_cmdline()'s limit, less one virtio_mmio.device= word per device
_MAX_CMDLINE = 4095 - 64 * (network.MAX_CARDS + 2)


def guest_command_line(spec: VmSpec, cards: Sequence[Card] | None = None) -> str:
    """The kernel command line: ip= words, env., switches, `--`, arguments. `cards`: where they are not those of `spec`.
    Raises UsageError when too long."""
    words = network.guest_words(spec.cards if cards is None else cards)
    words += [f"env.{key}={encode(value)}" for key, value in spec.env]
    blobs = handover.env_blobs(spec.env_files, dict(spec.asked))
    words += [f"floe.env={blobs}"] if blobs else []
    words += disks.guest_words(spec.disks)
    words += spec.switches
    words += ["--", *map(encode_argument, spec.args)] if spec.args else []
    line = " ".join(words)
    if len(line.encode()) > _MAX_CMDLINE:
        raise UsageError(
            f"arguments and environment take {len(line.encode())} bytes; there is room for {_MAX_CMDLINE}",
            hint=f"--env-file FILE takes {handover.MAX_ENV >> 10} KiB of variables, --secret NAME=FILE any file",
        )
    return line


def encode(value: str) -> str:
    """Percent-encode what would not survive in a word: blanks, quotes, `%`, control characters, all beyond ASCII.

    And `@`, which begins the words that a detached VM's processes replace (@BOOTED@, @CONSOLE@)."""
    keep = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in "\"'%@")
    return quote(value, safe=keep)


def encode_argument(value: str) -> str:
    """As encode(); an empty argument is `""`, and none looks like the words that QEMU puts behind ours."""
    if value.startswith("virtio_mmio."):
        return f"%{ord('v'):02X}{encode(value[1:])}"
    return encode(value) or '""'
