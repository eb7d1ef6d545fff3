# SPDX-License-Identifier: MIT
"""What `floe run` is asked for, as it is written there. vm/plan.py makes a VmSpec of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from floe.spec.vmspec import DEFAULT_HYPERVISOR


@dataclass(frozen=True)
class RunOptions:
    """The options; None and empty where the command line says nothing."""

    dev: bool = False
    variant: str = ""
    how: Literal["linked", "ready"] | None = None  # to build: pipeline.How
    memory: str | None = None
    forwards: tuple[str, ...] = ()
    cards: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    disks: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    env_files: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    child_secrets: tuple[str, ...] = ()
    uuid: str = ""
    args: tuple[str, ...] = ()
    accel: str = "auto"
    machine: str = "microvm"
    stamps: bool = False
    no_aslr: bool = False
    switches: tuple[str, ...] = ()  # further words for the guest
    capture: Path | None = None  # packets in pcap format
    hypervisor: str = DEFAULT_HYPERVISOR
    children: int | None = None  # of a VM that forks, at a time
    verify: Path | None = None  # public keys, one of which signed the image
