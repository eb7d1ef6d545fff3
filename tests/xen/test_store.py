# SPDX-License-Identifier: MIT
"""What a domain does when its host asks through XenStore: its end, a new start, less memory; and what it is given there."""

from __future__ import annotations

import re
import time
import urllib.request
from pathlib import Path

import pytest

from floe.build import pipeline
from floe.testing import Boot
from floe.testing.guest import Guest
from floe.xenlab import lab as the_lab
from tests.xen.xl import domains

STUBBORN = """
import time
print("ready")
while True:
    try:
        time.sleep(100)
    except KeyboardInterrupt:
        print("no")
"""
MEMORY = """
import floe, time
while True:
    print("ram", floe.mem_info()["ram"] >> 10)
    time.sleep_ms(200)
"""
EATER = """
import floe, os
got = []
try:
    while True:
        got.append(b"\\xa5" * (1 << 20))  # zeros would be found and taken back by Xen
except MemoryError:
    n = len(got)
    got = None
print("ram", floe.mem_info()["ram"] >> 10, "ate", n)
try:
    print("random", len(set(os.urandom(64))) > 30)
except OSError as e:
    print("random", e)
"""


def script(tmp_path: Path, text: str, name: str = "app.py") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def domain(vm: Guest) -> str:
    (name,) = domains()
    assert vm.outcome is None
    return name


# ---- the end ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dev", [False, True], ids=["sealed", "dev"])
def test_a_server_ends_with_xl_shutdown(boot: Boot, dev: bool) -> None:
    vm = boot("web", dev=dev, deadline_s=90)
    vm.expect_exact("serving on port 80")
    with urllib.request.urlopen(f"http://127.0.0.1:{vm.ports[80]}/", timeout=30) as answer:
        assert answer.status == 200
    the_lab.call(f"xl shutdown -w {domain(vm)}", deadline_s=40)
    assert vm.wait() == 0
    assert "info web: 1 requests served, 0 connections cut" in vm.console_text  # and not ended by us


def test_a_script_that_does_not_end_is_ended(boot: Boot, tmp_path: Path) -> None:
    """And a request is answered by its removal; one that is not known stays, and is said."""
    vm = boot(script(tmp_path, STUBBORN), deadline_s=60)
    vm.expect_exact("ready")
    home = f"/local/domain/{domains()[domain(vm)]}/control"
    the_lab.call(f"xenstore-write {home}/shutdown nap")
    vm.expect_exact("xen: the host asks for 'nap': not done")
    read = f"xenstore-read {home}/shutdown {home}/feature-poweroff {home}/feature-reboot"
    assert the_lab.call(read).splitlines() == ["nap", "1", "1"]
    start = time.monotonic()
    the_lab.call(f"xenstore-write {home}/shutdown halt")
    vm.expect_exact("no\n")
    assert the_lab.call(read).splitlines() == ["", "1", "1"]
    assert vm.wait() == 1
    assert 4.5 < time.monotonic() - start < 30


# ---- memory -------------------------------------------------------------------------------------


def memory_of(name: str) -> int:
    """MiB, as Xen has it."""
    (row,) = [line.split() for line in the_lab.call("xl list").splitlines() if line.startswith(f"{name} ")]
    return int(row[2])


def test_memory_goes_back_to_the_host_and_comes_again(boot: Boot, tmp_path: Path) -> None:
    vm = boot(script(tmp_path, MEMORY), deadline_s=90, memory="64M")
    vm.expect_exact("ram 65536\n")
    name = domain(vm)
    assert memory_of(name) == 64
    for target, left in [(24, 24), (40, 40), (17, 17), (64, 64)]:
        the_lab.call(f"xl mem-set {name} {target}m")
        vm.expect_exact(f"ram {left << 10}\n")
        assert memory_of(name) == left


def test_memory_in_use_stays(boot: Boot, tmp_path: Path) -> None:
    text = "got = [bytearray(1 << 20) for _ in range(30)]\n" + MEMORY
    vm = boot(script(tmp_path, text), deadline_s=90, memory="64M")
    vm.expect_exact("ram 65536\n")
    name = domain(vm)
    the_lab.call(f"xl mem-set {name} 8m")
    vm.pump(lambda: False, 3)
    vm.expect_exact("ram ")
    least = int(vm.console_text.split()[-1])
    assert 30 << 10 < least < 64 << 10
    assert vm.outcome is None
    the_lab.call(f"xl mem-set {name} 64m")
    vm.expect_exact("ram 65536\n")


# ---- domains made by hand -----------------------------------------------------------------------


def run_by_hand(elf: Path, lines: str, before: str = "") -> str:
    """Run a domain to its end with these lines in its configuration, and `before` done to $D, its home, before it
    starts; what it said."""
    name = "byhand"
    cfg = f'name="{name}"\ntype="pvh"\nkernel="/tmp/{name}.elf"\ntsc_mode="native"\nshadow_memory=4\n{lines}\n'
    the_lab.call(f"cat > /tmp/{name}.elf", stdin=elf.read_bytes(), deadline_s=30)
    the_lab.call(f"cat > /tmp/{name}.cfg", stdin=(cfg + 'on_poweroff="preserve"\n').encode())
    told = the_lab.call(
        f"""xl create -q -p /tmp/{name}.cfg 2>&1
D=/local/domain/$(xl domid {name})
cat $(xenstore-read $D/console/tty) > /tmp/{name}.out &
{before}
xl unpause {name}
n=0
until xenstore-read $D/data/floe-exit 2>/dev/null; do usleep 400000; [ $((n += 1)) -lt 75 ] || break; done
usleep 500000
kill $!
xl list | grep {name}
xl destroy {name}
cat /tmp/{name}.out""",
        deadline_s=60,
    )
    return told.replace("\r", "")


def test_a_domain_that_may_have_more_than_it_has(lab: None, tmp_path: Path) -> None:
    """memory= below maxmem=: all that it can get is what is there, and it is not killed for touching more."""
    elf = pipeline.build(script(tmp_path, EATER)).path
    said = run_by_hand(elf, "memory=24\nmaxmem=160")
    got = re.search(r"ram (\d+) ate (\d+)\n", said)
    assert got, said
    assert int(got[1]) == 24 << 10
    assert 10 <= int(got[2]) < 24
    assert re.search(r"byhand +\d+ +24 ", said), said


@pytest.mark.parametrize("seeded", [True, False])
def test_without_rdrand_the_host_s_seed_is_all_there_is(lab: None, tmp_path: Path, seeded: bool) -> None:
    elf = pipeline.build(script(tmp_path, EATER)).path
    seed = f"xenstore-write $D/floe/seed {'0123456789abcdef' * 4}" if seeded else ""
    said = run_by_hand(elf, 'memory=24\ncpuid="host,rdrand=0,rdseed=0"', seed)
    assert ("random True\n" if seeded else "random no entropy source\n") in said, said


@pytest.mark.parametrize("version", [1, 2])
def test_both_versions_of_the_grant_table(boot: Boot, version: int) -> None:
    vm = boot("web", deadline_s=90, switches=[f"floe.xen.grants={version}"])
    vm.expect_exact("serving on port 80")
    with urllib.request.urlopen(f"http://127.0.0.1:{vm.ports[80]}/", timeout=30) as answer:
        assert b"<html" in answer.read().lower()
