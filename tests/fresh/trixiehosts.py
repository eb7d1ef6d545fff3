# SPDX-License-Identifier: MIT
"""`make test-hosts`: the tests of VMs on other hosts, whose libvirt, QEMU and sshd are a Debian 13's: of both hosts, and
then of one of two where what they test is the same.

Needs root, debootstrap and this machine's libvirt; a quarter of an hour, not in CI, which has this machine's on both.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.fresh.root import Root, fresh, needs
from tests.support.libvirthosts import ROOT

REPO = Path(__file__).resolve().parents[2]
PACKAGES = ("ca-certificates", "iproute2", "openssh-server", "python3")
LIBVIRT = ("libvirt-daemon-system", "qemu-system-x86")  # as docs/hosts.md has them
INSTALL_S = 1200
ALL = ("tests/tools/fleet", "tests/tools/compose", "tests/docs/test_hosts_page.py")
# The hosts' names are east and west. Between two versions of QEMU no VM moves and no snapshot goes, and floe hosts says so.
OF_ONE = ("tests/tools/fleet/test_vms.py", "tests/tools/fleet/test_attached.py", "tests/tools/fleet/test_disks.py")


def host(logs: Path) -> Root:
    """A Debian 13 that is a host. Raises RuntimeError."""
    root = fresh("trixie", logs / "trixie-hosts", PACKAGES)
    if not (root.folder / "usr/sbin/libvirtd").exists():
        argv = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *LIBVIRT]
        log = logs / "trixie-hosts-install.log"
        if root.run(argv, user="root", cwd="/", log=log, timeout_s=INSTALL_S):
            raise RuntimeError(f"libvirt is not installed there: {log}")
    return root


def attempt(words: tuple[str, ...], variables: dict[str, str]) -> int:
    """pytest's exit code."""
    pytest = [sys.executable, "-m", "pytest", "-c", "tools/pyproject.toml", "--rootdir=.", "-q", "-n", "2"]
    print(" ".join([f"{key}={value}" for key, value in variables.items()]), flush=True)
    return subprocess.run([*pytest, *words], cwd=REPO, env=os.environ | variables, check=False).returncode


def main() -> int:
    if lacking := needs():
        print(f"test-hosts needs {lacking}", file=sys.stderr)
        return 2
    logs = REPO / "build" / "fresh"
    logs.mkdir(parents=True, exist_ok=True)
    root = str(host(logs).folder)
    return attempt(ALL, {ROOT: root}) or attempt(OF_ONE, {f"{ROOT}_WEST": root})


if __name__ == "__main__":
    sys.exit(main())
