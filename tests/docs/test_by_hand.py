# SPDX-License-Identifier: MIT
"""docs/by-hand.md: every command is run as it stands, with both QEMUs and on KVM too; libvirt's part where it is there."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from floe.qemu import commandline
from tests.docs.tutorial import KINDS, Block, Shell, blocks, follow, steps

REPO = Path(__file__).resolve().parents[2]
PAGE = (REPO / "docs" / "by-hand.md").read_text()
LIBVIRT = PAGE[: PAGE.index("\n## libvirt\n")].count("\n")  # the line before its part
COMMAND_S = 90.0
SBIN = "/usr/sbin"  # libvirtd's, which is not in everybody's PATH
# What the page says to write for KVM.
KVM = {"-accel tcg -cpu max": "-accel kvm -cpu host,-arch-capabilities", "<domain type='qemu'>": "<domain type='kvm'>"}
# A libvirt of the test's own: what it reads and writes is not the machine's, and all its processes end with the shell.
INSIDE = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc"]
OWN = """
set -e
for folder in /run /etc/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt; do
    mkdir -p $folder && mount -t tmpfs floe-test $folder
done
cat > /etc/libvirt/qemu.conf <<END
user = "root"
group = "root"
security_driver = "none"
stdio_handler = "file"
cgroup_controllers = []
namespaces = []
END
libvirtd -d
exec "$@"
"""


def parts(accel: str) -> tuple[list[Block], list[Block]]:
    """The blocks of QEMU's part and of libvirt's, as they are for an accelerator."""
    text = PAGE
    for tcg, kvm in KVM.items():
        assert tcg in text and kvm in text
        text = text.replace(tcg, kvm) if accel == "kvm" else text
    found = blocks(text)
    return [b for b in found if b.line < LIBVIRT], [b for b in found if b.line > LIBVIRT]


def with_qemu(environment: dict[str, str], path: str) -> dict[str, str]:
    return environment | {"PATH": f"{Path(path).parent}:{environment['PATH']}:{SBIN}"}


def run(part: list[Block], folder: Path, shell: Shell) -> None:
    for block in part:
        follow(block, folder, shell)


def test_qemus_part(tmp_path: Path, environment: dict[str, str], each_qemu: str, accel: str) -> None:
    folder = tmp_path / "w"
    folder.mkdir()
    with Shell(folder, with_qemu(environment, each_qemu), COMMAND_S) as shell:
        run(parts(accel)[0], folder, shell)


@pytest.fixture
def own_libvirt() -> list[str]:
    """The command that starts one and runs another command beside it."""
    for tool in ("libvirtd", "virsh"):
        if shutil.which(tool, path=f"{os.environ['PATH']}:{SBIN}") is None:
            pytest.skip(f"SKIP: {tool} is not installed")
    if os.geteuid() != 0:
        pytest.skip("SKIP: a libvirt of the test's own needs root")
    done = subprocess.run([*INSIDE, "mount", "-t", "tmpfs", "floe-test", "/run"], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"SKIP: no namespaces for a libvirt of the test's own: {done.stderr.decode().strip()}")
    return [*INSIDE, "bash", "-c", OWN, "bash"]


def test_libvirts_part(tmp_path: Path, environment: dict[str, str], accel: str, own_libvirt: list[str]) -> None:
    """With the installed QEMU: a libvirt knows those of its own time."""
    folder = tmp_path / "w"
    folder.mkdir()
    with Shell(folder, with_qemu(environment, commandline.find_qemu()), COMMAND_S, own_libvirt) as shell:
        run(parts(accel)[1], folder, shell)


def test_nothing_on_the_page_is_left_out() -> None:
    count = 0
    for block in blocks(PAGE):
        assert block.kind in KINDS, f"line {block.line}"
        assert block.kind == "console" or block.file, f"line {block.line}: code without the name of its file"
        count += len(steps(block)) if block.kind == "console" else 0
    assert count > 20
