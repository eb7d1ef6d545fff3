# SPDX-License-Identifier: MIT
"""Domains and files in the lab's dom0, made by hand: for tests of what `floe run` does not do, like pulling a disk."""

from __future__ import annotations

import base64
import gzip
import hashlib
import itertools
from pathlib import Path
from types import TracebackType
from typing import Self

from floe.spec.network import Card
from floe.xen import xlconfig
from floe.xenlab import lab

FOLDER = "/run/floe-test"
LOGS = "/var/log/xen/console"
_numbers = itertools.count()


def put(data: bytes, path: str) -> str:
    """Write a file in dom0; return its path."""
    lab.call(f"mkdir -p {Path(path).parent} && cat > {path}", stdin=data, deadline_s=60)
    return path


def get(path: str, sector: int = 0, sectors: int = 0) -> bytes:
    """Read a file, or a block device, of dom0: all of it, or some sectors of 512 bytes."""
    part = f"dd bs=512 skip={sector} count={sectors} 2>/dev/null" if sectors else "cat"
    return gzip.decompress(base64.b64decode(lab.call(f"{part} < {path} | gzip -1 | base64", deadline_s=60)))


def disk(size: int, name: str = "") -> str:
    """A file of zeros in dom0; return its path."""
    path = f"{FOLDER}/{name or f'disk{next(_numbers)}'}"
    lab.call(f"mkdir -p {FOLDER} && rm -f {path} && truncate -s {size} {path}")
    return path


class Domain:
    """A domain from an ELF, with disks as xl-disk-configuration(5) words them; destroyed at the end of the context."""

    def __init__(
        self,
        elf: Path,
        *disks: str,
        args: str = "",
        words: str = "",
        memory: int = 32 << 20,
        cards: tuple[Card, ...] = (),
        family: bool = False,
    ) -> None:
        """family: the guest is to have a line to its family, and stands still until run_with_family()."""
        data = elf.read_bytes()
        kernel = f"{FOLDER}/{hashlib.sha256(data).hexdigest()[:16]}.elf"
        self.name = f"test{next(_numbers)}"
        own = xlconfig.Domain(
            name=self.name, memory=memory, cmdline=f"{words} -- {args}".strip(), cards=cards, disks=disks
        )
        cfg = f"kernel={xlconfig.quote(kernel)}\n{xlconfig.render(own)}"
        self.config = cfg
        script = (
            f"[ -e {kernel} ] || {{ echo upload; exit; }}\ncat > {FOLDER}/cfg\n"
            f"xl create -q {'-p ' if family else ''}{FOLDER}/cfg 2>&1 && echo made && xl domid {self.name}"
        )
        said = lab.call(script, stdin=cfg.encode(), deadline_s=60).split()
        if said == ["upload"]:
            put(data, kernel)
            said = lab.call(script, stdin=cfg.encode(), deadline_s=60).split()
        assert said[-2:-1] == ["made"], said
        self.id = int(said[-1])
        self._there = True

    def run_with_family(self) -> None:
        """It stands still, and goes on with a line to its family."""
        lab.call(f"xenstore-write /local/domain/{self.id}/floe/family 1 && xl unpause {self.id}", deadline_s=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.destroy()

    def destroy(self) -> None:
        """As a power failure is for the guest. A second time does nothing."""
        if self._there:
            self._there = False
            lab.call(f"xl destroy {self.id} 2>/dev/null", deadline_s=60)

    def checkpoint(self, path: str) -> None:
        """Save it to a file of dom0's; it goes on."""
        said = lab.call(f"xl save -c {self.name} {path} 2>&1 && echo saved", deadline_s=300)
        assert said.endswith("saved\n"), said

    def restore(self, path: str) -> None:
        """What was saved, in the place of this domain."""
        self.destroy()
        said = lab.call(f"xl restore {path} 2>&1 && xl domid {self.name}; rm {path}", deadline_s=300).split()
        assert said[-1:] and said[-1].isdecimal(), said
        self.id = int(said[-1])
        self._there = True

    def migrate(self) -> None:
        """To this host: its state goes through a pipe from one xl to another, as it would through ssh."""
        said = lab.call(
            f"xl migrate -s '' {self.name} 'xl migrate-receive' 2>&1; xl domid {self.name}", deadline_s=300
        ).split()
        assert said[-1:] and said[-1].isdecimal() and int(said[-1]) != self.id, said
        self.id = int(said[-1])

    def console(self) -> str:
        """All that it said until now, except for the last moments: xenconsoled holds output back for 200 ms."""
        incoming = f"{LOGS}/guest-{self.name}--incoming.log"  # its name while it is migrated
        return lab.call(f"cat {LOGS}/guest-{self.name}.log; [ ! -e {incoming} ] || cat {incoming}")

    def expect(self, text: str, deadline_s: int = 30) -> None:
        """Wait until the console has said this."""
        log = f"{LOGS}/guest-{self.name}.log"
        script = f"n=0; until grep -qF '{text}' {log}; do [ $((n += 1)) -le {deadline_s * 10} ] || exit 1; usleep 100000; done"
        assert lab.call(f"{script}; echo seen", deadline_s=deadline_s + 10).strip() == "seen", self.console()

    def wait(self, deadline_s: int = 40) -> int:
        """Wait for the end; return the exit code."""
        node = f"/local/domain/{self.id}/data/floe-exit"
        script = (
            f"n=0; until v=$(xenstore-read {node} 2>/dev/null); do [ $((n += 1)) -le {deadline_s * 10} ] || exit 1;"
            " usleep 100000; done; usleep 300000; echo $v"
        )
        said = lab.call(script, deadline_s=deadline_s + 10).split()
        assert said, self.console()
        return int(said[0])
