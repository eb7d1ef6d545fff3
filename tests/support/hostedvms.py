# SPDX-License-Identifier: MIT
"""VMs of libvirt hosts for tests: `floe ... --host` in this process, with the hosts' table as its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from floe.cli import main
from tests.support.libvirthosts import EAST, WEST, LibvirtHosts

LOOP = """
import asyncio, os, sys


async def run():
    print("up", sys.argv[1:], os.getenv("COLOUR"))
    try:
        await asyncio.sleep(600)
    finally:
        print("bye")
        sys.exit(7)


asyncio.run(run())
"""


class Hosted:
    """Two hosts, and floe's command for their VMs."""

    def __init__(self, hosts: LibvirtHosts, capsys: pytest.CaptureFixture[str]) -> None:
        self.hosts = hosts
        self._capsys = capsys

    def __call__(self, *argv: str | Path, code: int = 0) -> str:
        """Standard output of a floe that ends with this code; `said` is then what came on standard error."""
        self._capsys.readouterr()
        found = main.run([str(word) for word in argv])
        out, self.said = self._capsys.readouterr()
        assert found == code, f"{found}: {self.said}"
        assert not self.said.startswith("floe: internal error")
        return out

    def ps(self, *hosts: str, everything: bool = True) -> list[dict[str, Any]]:
        """What `floe ps --json` says."""
        words = [word for host in hosts for word in ("--host", host)]
        found = json.loads(self("ps", *(["--all"] if everything else []), "--json", *words))
        assert isinstance(found, list)
        return found

    def files(self, host: str) -> list[str]:
        """Names in the pool, images apart."""
        names = self.hosts.run(host, "ls", "/var/lib/libvirt/floe").split()
        return [name for name in names if not name.endswith((".elf", ".whole"))]


def hosted(hosts: LibvirtHosts, capsys: pytest.CaptureFixture[str]) -> Iterator[Hosted]:
    """For a test's fixture, where this process's table has the hosts: no VM is left."""
    made = Hosted(hosts, capsys)
    try:
        yield made
    finally:
        left = made.ps(EAST, WEST)
        for host in sorted({vm["host"] for vm in left}):
            made("rm", "--force", "--host", host, *(vm["name"] for vm in left if vm["host"] == host))


Build = Callable[..., Path]
