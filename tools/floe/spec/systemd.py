# SPDX-License-Identifier: MIT
"""A systemd service that runs a command in the foreground: the unit's text, for systemd 252 and later.

What a word means there: systemd.syntax(7) for quotes, systemd.unit(5) for `%`; `$` means nothing behind the `:` of
ExecStart (systemd.service(5))."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from floe.errors import UsageError

STOP_S = 15  # what an orderly end may take: the script's grace, and the hypervisor's
_AGAIN_S = 2  # between two starts: five of them within ten seconds, and systemd would give up
_PLAIN = re.compile(r"[A-Za-z0-9_./:=,@+-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SANDBOX = (
    "ProtectSystem=strict",
    "ProtectControlGroups=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "LockPersonality=yes",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    "SystemCallArchitectures=native",
    "UMask=0077",
)


@dataclass(frozen=True)
class Unit:
    """`restart`: systemd's word. `writable`: files and folders, beside the service's own below /var/lib and /var/cache.
    sandboxed: it needs no more rights than a process of QEMU's does."""

    name: str
    command: Sequence[str]
    user: str
    groups: Sequence[str] = ()
    restart: str = "on-failure"
    most: int | None = None  # restarts, None: without end
    writable: Sequence[str] = ()
    devices: Sequence[str] = ()
    capabilities: Sequence[str] | None = ()  # that it has; None: all that its user has, for root
    environment: Sequence[str] = ()  # NAME=VALUE; %-words mean what systemd says
    private_tmp: bool = True
    new_privileges: bool = False  # a setuid program helps
    sandboxed: bool = True

    def __str__(self) -> str:
        """Raises UsageError."""
        return "\n".join([*self._head(), *self._service(), "", "[Install]", "WantedBy=multi-user.target", ""])

    def _head(self) -> list[str]:
        limit = ["StartLimitIntervalSec=0"]
        if self.most is not None:
            limit = ["StartLimitIntervalSec=infinity", f"StartLimitBurst={self.most + 1}"]
        return [
            "[Unit]",
            f"Description={_sentence(self.name)}, a VM of floe's",
            "Wants=network-online.target",
            "After=network-online.target",
            *limit,
            "",
        ]

    def _service(self) -> list[str]:
        lines = [
            "[Service]",
            "Type=exec",
            f"User={self.user}",
            *([f"SupplementaryGroups={' '.join(self.groups)}"] if self.groups else []),
            f"ExecStart=:{' '.join(map(quoted, self.command))}",
            f"Restart={self.restart}",
            f"RestartSec={_AGAIN_S}",
            # SIGTERM goes to floe alone, which asks the script; QEMU would obey it at once. 130: ended from outside.
            "KillMode=mixed",
            f"TimeoutStopSec={STOP_S}",
            "SuccessExitStatus=130",
            *(f"Environment={quoted(word, specifiers=True)}" for word in self.environment),
            f"StateDirectory={self.name}",
            f"CacheDirectory={self.name}",
        ]
        if self.capabilities is not None:
            own = " ".join(self.capabilities)
            lines += [f"CapabilityBoundingSet={own}", *([f"AmbientCapabilities={own}"] if own else [])]
        if not self.sandboxed:
            return lines
        lines += [f"PrivateTmp={'yes' if self.private_tmp else 'no'}"]
        lines += [] if self.new_privileges else ["NoNewPrivileges=yes"]
        lines += [f"ReadWritePaths={quoted(f'-{path}')}" for path in self.writable]
        lines += ["DevicePolicy=closed", *(f"DeviceAllow={quoted(device)} rw" for device in self.devices)]
        return lines + list(_SANDBOX)


def quoted(word: str, *, specifiers: bool = False) -> str:
    """A word of a command or a path, as a unit has it. specifiers: `%` keeps its meaning. Raises UsageError."""
    if _CONTROL.search(word):
        raise UsageError(f"{word!r} has a control character, which no unit can hold", hint="another name for the file")
    if not specifiers:
        word = word.replace("%", "%%")
    if _PLAIN.fullmatch(word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _sentence(text: str) -> str:
    return text.replace("%", "%%")
