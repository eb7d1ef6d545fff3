# SPDX-License-Identifier: MIT
"""Every machine and size of memory boots to Python, and what a script is told about them is right."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from floe.errors import EXIT_PANIC
from floe.qemu import commandline
from floe.setup.pins import chosen_release, load_pins
from floe.testing import Boot, Guest
from floe.vm.outcome import Outcome, judge
from tests.support.fixtures import REPO

GUEST = Path(__file__).resolve().parent / "guests" / "guest_machine.py"
MIB, GIB = 1 << 20, 1 << 30
# q35's firmware and its bridges need no more than pc's; microvm has neither.
MATRIX = [
    *(
        (machine, size)
        for machine in ("microvm", "pc", "q35")
        for size in ("8M", "32M", "256M", "3072M", "3584M", "5G")
    ),
    ("microvm", "4M"),
    ("microvm", "33M"),
]


def run(boot: Boot, *args: str, env: dict[str, str] | None = None) -> Guest:
    vm = boot(GUEST, deadline_s=60, args=args, env=env or {})
    return ended_well(vm)


def ended_well(vm: Guest) -> Guest:
    assert vm.wait() == 0
    assert vm.console_text.endswith("the end\n")
    assert "PANIC" not in vm.console_text and "Traceback" not in vm.console_text
    return vm


def available() -> int:
    """Bytes of memory that this host can still give."""
    match = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    assert match is not None
    return int(match[1]) * 1024


def size_of(text: str) -> int:
    return int(text[:-1]) * (GIB if text.endswith("G") else MIB)


@pytest.mark.parametrize(("machine", "memory"), MATRIX)
def test_boots(boot: Boot, machine: str, memory: str) -> None:
    """All RAM is seen, whatever lies between its pieces, and can be used."""
    size = size_of(memory)
    if size // 2 > available():
        pytest.skip(f"SKIP: {memory} of RAM are more than this host can spare")
    vm = ended_well(boot(GUEST, deadline_s=90, args=("ram",), machine=machine, memory=memory))
    match = re.search(r"^ram (\d+)$", vm.console_text, re.MULTILINE)
    assert match is not None
    assert size - MIB <= int(match[1]) <= size
    assert "block True 3 2\n" in vm.console_text


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["plain", "--flag", "-x"],
        ["two words", " ", "  lead and trail  "],
        ["", "", "after two empty ones"],
        ["100%", "%41", "%", "%%", "a%2"],
        ["ä", "日本語", "\U0001f680"],
        ['"quoted"', "it's", '""', "back\\slash", "$HOME", "a;b|c&d"],
        ["line\nbreak", "tab\t", "\x01\x7f"],
        ["--", "a=b", "env.K=V", "ip=none", "virtio_mmio.device=512@0xfeb00000:5"],
        ["x" * 2000],
    ],
)
def test_arguments_arrive_as_given(boot: Boot, args: list[str]) -> None:
    vm = run(boot, "arguments", *args)
    expected = [GUEST.name, "arguments", *args]
    assert re.findall(r"^arg (.*)$", vm.console_text, re.MULTILINE) == [str(list(a.encode())) for a in expected]


def test_environment(boot: Boot) -> None:
    env = {"PLAIN": "x", "BLANKS": " a  b ", "ODD": "100% \"q\" 'q' ä\n=", "EMPTY": ""}
    text = run(boot, "environment", env=env).console_text
    for key, value in env.items():
        assert f"env {key} {list(value.encode())}\n" in text
    assert "missing None default\nnew 1 2\nunset None\nTypeError\nTypeError\n" in text


@pytest.mark.parametrize("cpu", ["qemu32", "pentium", "qemu64,-lm", "qemu64,-nx", "qemu64"])
def test_a_processor_that_lacks_what_floe_needs_is_told(build: Callable[..., Path], cpu: str) -> None:
    argv = [commandline.find_qemu(), "-M", "microvm,isa-serial=on", "-accel", "tcg", "-cpu", cpu, "-m", "32M", "-nodefaults",
            "-display", "none", "-no-reboot", "-bios", commandline.FIRMWARE, "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
            "-serial", "stdio", "-kernel", str(build("hello"))]  # fmt: skip
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)
    if cpu == "qemu64":
        assert (judge(done.returncode, ""), done.stdout) == (Outcome(0, "exit"), "hello, world\n")
        return
    assert judge(done.returncode, "") == Outcome(EXIT_PANIC, "panic")
    assert done.stdout == "PANIC: this processor, as the VM has it, lacks long mode or NX (qemu64 has both)\n"


def test_identity(boot: Boot) -> None:
    text = run(boot, "identity").console_text
    assert "platform floe floe " in text
    pins = load_pins(REPO / "port" / "upstream.toml", chosen_release())
    assert f"version micropython True {pins[0].version}\n" in text
    assert f"float {struct.pack('>d', 1 / 3).hex()} {2**200 % 1000007}\n" in text
    assert "freq True\n" in text


def test_chance(boot: Boot) -> None:
    """Two boots of the same image draw differently, by urandom and by random."""
    drawn = []
    for _ in range(2):
        text = run(boot, "chance").console_text
        assert "urandom 32 True 0 100000\nbytes True\nValueError\n" in text
        match = re.search(r"^drawn (\w{64}) (\d+) (\d+)$", text, re.MULTILINE)
        assert match is not None and match[2] != match[3]
        drawn.append(match.groups())
    assert not set(drawn[0]) & set(drawn[1])


def test_the_folder_of_the_script_does_not_matter(boot: Boot, tmp_path: Path) -> None:
    copy = tmp_path / "a b" / "moved.py"
    copy.parent.mkdir()
    shutil.copy(GUEST, copy)
    vm = ended_well(boot(copy, deadline_s=60, args=("arguments",)))
    assert f"arg {list(b'moved.py')}" in vm.console_text
