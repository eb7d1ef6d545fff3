# SPDX-License-Identifier: MIT
"""What the library writes to files, on a VM's disks: it is there at the next start, and goes from one disk to another."""

from __future__ import annotations

import subprocess
from pathlib import Path

from floe.testing import Boot

SCRIPT = """
import glob, logging, logging.handlers, os, shutil, sys, tempfile, vfs

start = sys.argv[1]
log = logging.getLogger("app")
log.setLevel(logging.INFO)
log.addHandler(logging.FileHandler("/plain.log"))
log.addHandler(logging.handlers.RotatingFileHandler("/disk1/rotating.log", maxBytes=50, backupCount=2))
for n in range(4):
    log.info("start %s message %d", start, n)
for name in ["/plain.log"] + sorted(glob.glob("/disk1/*.log*")):
    with open(name) as f:
        print(name, f.read().splitlines())
with tempfile.TemporaryDirectory(dir="/disk1") as folder:
    os.makedirs(folder + "/a/b")
    with open(folder + "/a/b/file", "w") as f:
        f.write("x" * 5000)
    moved = shutil.move(folder + "/a", "/moved" + start)
    print(os.listdir(folder), os.path.getsize(moved + "/b/file"))
print(sorted(os.listdir("/")), glob.glob("/disk1/tmp*"))
usage = shutil.disk_usage("/disk1")
print(usage.total > usage.free > 0)
logging.shutdown()
"""
LINE = "start {} message {}"


def lines(*which: tuple[int, int]) -> list[str]:
    return [LINE.format(*one) for one in which]


def test_files_on_two_disks(boot: Boot, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(SCRIPT)
    fat = tmp_path / "fat"
    fat.write_bytes(b"\0" * (4 << 20))
    subprocess.run(["mformat", "-i", fat, "::"], check=True, timeout=20)
    disks = [f"{tmp_path / 'littlefs'}:size=2M", str(fat)]
    for start in (1, 2):
        vm = boot(tmp_path / "app.py", args=[str(start)], disks=disks, deadline_s=30)
        assert vm.wait() == 0, vm.console_text
        said = vm.console_text.splitlines()
        now = [(start, n) for n in range(4)]
        assert said[0] == f"/plain.log {lines(*([(1, n) for n in range(4)] if start == 2 else []), *now)}"
        assert said[1] == f"/disk1/rotating.log {lines(*now[2:])}"
        assert said[2] == f"/disk1/rotating.log.1 {lines(*now[:2])}"
        rest = said[3:] if start == 1 else said[4:]
        assert start == 1 or said[3] == f"/disk1/rotating.log.2 {lines((1, 2), (1, 3))}"
        assert rest == [
            "[] 5000",
            f"{['disk1', 'moved1', 'moved2', 'plain.log'] if start == 2 else ['disk1', 'moved1', 'plain.log']} []",
            "True",
        ]
