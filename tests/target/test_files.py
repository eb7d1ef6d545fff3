# SPDX-License-Identifier: MIT
"""Files in a VM: the RAM disk of a dev image, and what the port adds to upstream's file systems."""

from __future__ import annotations

from pathlib import Path

import pytest

from floe.testing import Boot, Guest

GUEST = Path(__file__).resolve().parent / "guests" / "guest_files.py"

IMPORTS = """
import os, sys
assert "/lib" in sys.path, sys.path
os.mkdir("/lib")
with open("/lib/gadget.py", "w") as f:
    f.write("def answer():\\n    return 42\\n")
with open("near.py", "w") as f:
    f.write("import gadget\\nwhat = gadget.answer()\\n")
for name in ("near", "gadget"):
    print(name, __import__(name).__file__)
print(sys.modules["near"].what)
"""

SURVIVES = """
import gc, os, vfs, _board
open("/kept", "w").write("still here")
print("free", os.statvfs("/")[3] * os.statvfs("/")[0])
vfs.umount("/")
gc.collect()
_board._boot()  # as after a soft reset
print(open("/kept").read())
"""


def done(vm: Guest, text: str = "all done\n") -> None:
    """Wait for the guest's last line, or for the traceback that comes instead."""
    vm.expect_exact([text, "Traceback"])
    assert "Traceback" not in vm.console_text
    assert "PANIC" not in vm.console_text


def test_a_dev_image_has_files(boot: Boot) -> None:
    vm = boot(GUEST, deadline_s=60, dev=True, args=("VfsLfs2",))
    done(vm)


def test_a_small_vm_has_them_too(boot: Boot) -> None:
    vm = boot(GUEST, deadline_s=60, dev=True, args=("VfsLfs2",), memory="8M", net=["none"])
    done(vm)


def test_what_lies_there_can_be_imported(boot: Boot, tmp_path: Path) -> None:
    script = tmp_path / "imports.py"
    script.write_text(IMPORTS)
    vm = boot(script, deadline_s=20, dev=True)
    done(vm, "near near.py\ngadget /lib/gadget.py\n42\n")


def test_the_ram_disk_outlives_its_mount(boot: Boot, tmp_path: Path) -> None:
    script = tmp_path / "survives.py"
    script.write_text(SURVIVES)
    vm = boot(script, deadline_s=20, dev=True)
    done(vm, "still here\n")


@pytest.mark.parametrize("disk", [False, True], ids=["ram", "disk"])
def test_files_outlive_a_soft_reset(boot: Boot, tmp_path: Path, disk: bool) -> None:
    script = tmp_path / "counts.py"
    script.write_text("with open('/kept', 'a') as f:\n    f.write('x')\nprint('have', open('/kept').read())\n")
    vm = boot(script, deadline_s=30, dev=True, disks=[f"{tmp_path}/d:size=1M"] if disk else [])
    done(vm, "have x\n")
    for times in (2, 3):
        vm.expect_exact(">>> ")
        vm.send(b"\x04")
        vm.expect_exact("soft reboot")
        done(vm, f"have {'x' * times}\n")
