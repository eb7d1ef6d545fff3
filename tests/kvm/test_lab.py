# SPDX-License-Identifier: MIT
"""`floe lab kvm`: up, run, status, down, as a person types them: commands, images, ports, disks. Promises of the guest:
test_kvm.py."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import dns.message
import dns.query
import pytest

from floe.kvmlab.lab import LAB
from tests.boot.dnspeer import free_port

BOOT_S = 120


def floe(*words: str, stdin: bytes = b"", timeout: float = BOOT_S) -> subprocess.CompletedProcess[bytes]:
    argv = [str(Path(sys.executable).with_name("floe")), "lab", "kvm", *words]
    return subprocess.run(argv, input=stdin, capture_output=True, timeout=timeout, check=False)


pytestmark = pytest.mark.usefixtures("lab")


def test_up_and_down() -> None:
    assert b"floe: the KVM lab is up already" in floe("up").stderr
    facts = json.loads(floe("status", "--json").stdout)
    assert (facts["state"], facts["guests"], facts["memory"]) == ("up", [], 512 << 20)
    assert facts["versions"]["linux"].startswith("6.1")
    assert b"guests: none\n" in floe("status").stdout
    assert b"Linux version 6.1" in floe("run", "dmesg").stdout
    assert floe("log").returncode == 0
    assert floe("down").stderr == b"floe: the KVM lab is down\n"
    assert floe("down").stderr == b"floe: the KVM lab was not up\n"
    assert floe("status").returncode == 127
    ran = floe("run", "true")
    assert (ran.returncode, ran.stdout) == (127, b"")
    assert b"floe: the KVM lab is not up\n  try: floe lab kvm up" in ran.stderr
    again = floe("up")
    assert again.returncode == 0
    assert b"booting" not in again.stderr and b"from its snapshot" in again.stderr


def test_run_a_command() -> None:
    assert floe("run", "echo one; exit 7").returncode == 7
    assert floe("run", "sh", "-c", 'echo "$0"', "a  b'c").stdout == b"a  b'c\n"
    data = os.urandom(1 << 18)
    assert floe("run", "cat", stdin=data).stdout == data
    assert floe("run", "cat /sys/module/kvm_amd/parameters/npt").stdout == b"Y\n"
    assert b"svm" in floe("run", "grep", "-m", "1", "flags", "/proc/cpuinfo").stdout


def test_run_a_program(tmp_path: Path) -> None:
    """A Linux program of this machine's."""
    start = 'void _start(void) { __asm__("mov $42, %edi; mov $60, %eax; syscall"); }'
    argv = ["gcc", "-static", "-nostdlib", "-x", "c", "-", "-o", str(tmp_path / "answer")]
    subprocess.run(argv, input=start.encode(), check=True, timeout=60)
    assert floe("run", str(tmp_path / "answer")).returncode == 42


SCRIPT = """
import machine, sys, time
print("args", sys.argv[1:], machine.reset_cause() == machine.PWRON_RESET)
if "reset" in sys.argv and machine.reset_cause() == machine.PWRON_RESET:
    machine.reset()
if "sleep" in sys.argv:
    time.sleep(1000)
sys.exit(9)
"""


def test_run_an_image(build: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(SCRIPT)
    elf = str(build(tmp_path / "main.py"))
    ran = floe("run", elf, "--", "a b", "c")
    assert (ran.returncode, ran.stdout) == (9, b"args ['a b', 'c'] True\n"), ran.stderr
    ran = floe("run", "--machine", "q35", elf, "reset")
    assert (ran.returncode, ran.stdout) == (9, b"args ['reset'] True\nargs ['reset'] False\n"), ran.stderr
    ran = floe("run", "--timeout", "6", elf, "sleep")
    assert (ran.returncode, ran.stderr) == (124, b"floe: ended after 6 s\n")
    assert LAB.call("pidof qemu-system-x86_64; ls /run/guests; true") == ""  # nothing is left
    ran = floe("run", "--memory", "1M", elf)
    assert ran.returncode == 125
    assert b"floe: --memory 1M: less than 2M" in ran.stderr
    damaged = tmp_path / "damaged.elf"
    damaged.write_bytes(Path(elf).read_bytes()[:-9] + b"x" * 9)
    ran = floe("run", str(damaged))
    assert (ran.returncode, ran.stdout) == (126, b"")


def test_web(build: Callable[..., Path]) -> None:
    """From this machine through the lab's QEMU and the inner one."""
    port = free_port()
    argv = [str(Path(sys.executable).with_name("floe")), "lab", "kvm", "run", "-p", f"{port}:80", str(build("web"))]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert b"serving on port 80" in process.stdout.readline()
            for _ in range(20):
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
                    assert answer.status == 200
                    assert b"<html" in answer.read().lower()
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/none", timeout=30)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 143
    deadline = time.monotonic() + 10
    while LAB.call("pidof qemu-system-x86_64") and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not re.search(rf"HOST_FORWARD.* {port} ", LAB.monitor("info usernet"))


def test_dns(build: Callable[..., Path]) -> None:
    """By UDP and TCP."""
    port = free_port()
    query = dns.message.make_query("web.example.org", "A")
    words = ["-p", f"{port}:53", "-p", f"{port}:53/udp"]
    argv = [str(Path(sys.executable).with_name("floe")), "lab", "kvm", "run", *words, str(build("dns"))]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert b"zone example.org." in process.stdout.readline()
            assert b"serving 1 zones" in process.stdout.readline()
            for ask in (dns.query.udp, dns.query.tcp):
                answer = ask(query, "127.0.0.1", 30, port)
                assert answer.answer[0].to_text() == "web.example.org. 3600 IN A 192.0.2.80"
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 143


KEEPS = """
import os, vfs, floe
vfs.mount()
print(floe.BlockDevice(0))
n = int(open("/count").read()) if "count" in os.listdir("/") else 0
with open("/big%d" % n, "wb") as f:
    for i in range(20):
        f.write(bytes([i + n]) * 5000)
for k in range(n + 1):
    with open("/big%d" % k, "rb") as f:
        assert all(f.read(5000) == bytes([i + k]) * 5000 for i in range(20))
with open("/count", "w") as f:
    f.write(str(n + 1))
print("count", n)
"""


def test_what_is_written_to_a_disk_is_read_at_the_next_start(build: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(KEEPS)
    (tmp_path / "image.toml").write_text('name = "kvmdisk"\ndisks = true\n')
    elf, disk = build(tmp_path), tmp_path / "disk"
    for n in range(2):
        ran = floe("run", "--timeout", "60", "--disk", f"{disk}:size=1M", str(elf))
        assert ran.returncode == 0, ran
        assert re.search(rb"virtio-blk, 1 MiB.*\ncount %d\n" % n, ran.stdout), ran.stdout
    assert b"littlefs" in disk.read_bytes()[:64]
