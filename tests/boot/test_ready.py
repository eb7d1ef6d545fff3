# SPDX-License-Identifier: MIT
"""An application on a ready kernel is what it is linked: the same words and exit codes, whatever it reaches, in memory
that is as protected."""

from __future__ import annotations

from pathlib import Path

import pytest

from floe.build import pipeline
from floe.build.pipeline import How
from floe.cli import main as cli
from floe.errors import ImageRefused, NotFound
from floe.image import elf
from floe.qemu.commandline import MACHINES
from floe.testing import Boot

REPO = Path(__file__).resolve().parents[2]
HOWS: tuple[How, ...] = ("linked", "ready")
PAGE = 4096

# Each reaches another kernel: (script, the kernel, exit code).
SCRIPTS = {
    "console": ("import json, math\nprint(json.dumps([math.pi, 1e-7]))\nraise SystemExit(7)\n", "console", 7),
    "hashes": ("import hashlib\nprint(hashlib.sha256(b'a').digest())\n", "network", 0),
    "network": ("import socket\nprint(socket.getaddrinfo('127.0.0.1', 80)[0][4])\nint('x')\n", "network", 1),
    "tls": ("import ssl\nprint(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))\n", "tls", 0),
    "compiler": ("def f():\n    exec('1/0')\n\nprint(eval('6*7'))\nf()\n", "compiler", 1),
    "library": ("import asyncio, hmac\n\n\nasync def main():\n    await asyncio.sleep_ms(1)\n    print('slept')\n\n\nasyncio.run(main())\nprint(hmac.new(b'k', b'm', 'sha256').hexdigest())\n", "network", 0),
    "memory": ("l = []\nwhile True:\n    l.append(bytearray(10000))\n", "console", 121),
}  # fmt: skip


def build(app: Path, how: How, **options: str) -> elf.Image:
    return pipeline.build(app, how=how, **options).image


@pytest.mark.parametrize("name", SCRIPTS)
def test_both_say_the_same(boot: Boot, tmp_path: Path, name: str) -> None:
    text, kernel, code = SCRIPTS[name]
    script = tmp_path / f"{name}.py"
    script.write_text(text)
    said = []
    for how in HOWS:
        image = build(script, how)
        assert image.content.get("kernel") == (kernel if how == "ready" else None)
        vm = boot(image.path, deadline_s=30)
        assert vm.wait() == code, vm.console_text
        assert "PANIC" not in vm.console_text
        said.append(vm.console_text)
    assert said[0] == said[1]
    assert said[0]


def test_disks(boot: Boot, tmp_path: Path) -> None:
    """A file that a linked image writes is there for a ready one, and the other way round."""
    script = tmp_path / "count.py"
    script.write_text(
        "import os, vfs\n"
        "n = int(open('/n').read()) if 'n' in os.listdir('/') else 0\n"
        "with open('/n', 'w') as f:\n    f.write(str(n + 1))\n"
        "print('n', n, os.listdir('/rom') if 'rom' in os.listdir('/') else None)\n"
    )
    for n, how in enumerate((*HOWS, "linked")):
        image = build(script, how)
        vm = boot(image.path, deadline_s=30, disks=[f"{tmp_path}/disk.img:size=1M"])
        vm.expect_exact(f"n {n} None")
        assert vm.wait() == 0


def test_a_dev_image(boot: Boot, tmp_path: Path) -> None:
    script = tmp_path / "dev.py"
    script.write_text("def twice(x):\n    return 2 * x\n\n\nprint(twice(21))\n")
    listed = []
    for how in HOWS:
        vm = boot(build(script, how, profile="dev").path, deadline_s=60)
        vm.expect_exact("42")
        assert vm.exec("print(twice(4), __name__)") == "8 __main__\n"
        assert vm.exec("import hmac, requests; print(requests.__file__)") == "requests.py\n"
        listed.append(vm.exec("help('modules')"))
    assert listed[0] == listed[1]
    assert "asyncio/core" in listed[0]


@pytest.mark.parametrize("machine", MACHINES)
def test_every_machine_in_four_mebibytes(boot: Boot, each_qemu: str, machine: str) -> None:
    vm = boot(build(REPO / "images" / "hello", "ready").path, deadline_s=30, machine=machine, memory="4M")
    assert vm.wait() == 0
    assert vm.console_text.replace("\r\n", "\n") == "hello, world\n"


def test_the_machine_s_tools_decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "tools.py"
    script.write_text(f"print({str(tmp_path)!r})\n")
    assert "kernel" not in pipeline.build(script).image.content
    script.write_text(f"print({str(tmp_path)!r}, 2)\n")
    build(script, "ready")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert pipeline.build(script).image.content["kernel"] == "console"
    with pytest.raises(NotFound, match="gcc is not installed") as e:
        build(script, "linked")
    assert "--ready" in e.value.hint


def test_an_elf_is_what_it_is(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    elf_file = build(REPO / "images" / "hello", "ready").path
    assert cli.run(["run", "--ready", str(elf_file)]) == 125
    assert f"--ready: {elf_file} is built already" in capfd.readouterr().err
    assert cli.run(["inspect", str(elf_file)]) == 0
    assert "on the ready kernel console" in capfd.readouterr().out
    assert cli.run(["build", "--linked", str(REPO / "images" / "hello"), "-o", str(tmp_path / "h.elf")]) == 0
    assert cli.run(["inspect", str(tmp_path / "h.elf")]) == 0
    assert ", sealed, linked" in capfd.readouterr().out


def test_what_is_appended_cannot_be_written(boot: Boot, tmp_path: Path) -> None:
    script = tmp_path / "write.py"
    script.write_text("import machine, sys\nprint('ready')\nmachine.mem8[int(sys.argv[1])] = 1\n")
    image = build(script, "ready")
    last = image.segments[-1]
    assert last.protection == "r--"
    assert all("w" not in s.protection or "x" not in s.protection for s in image.segments)
    for address in (last.address, last.address + last.memory_bytes - 1):
        vm = boot(image.path, deadline_s=30, args=[str(address)], switches=("floe.aslr=0",))
        assert vm.wait() == 120
        assert "forbidden write" in vm.console_text
    beyond = last.address + last.memory_bytes + 64 * PAGE  # free RAM
    vm = boot(image.path, deadline_s=30, args=[str(beyond)], switches=("floe.aslr=0",))
    assert vm.wait() == 0


def test_a_ready_image_is_not_much_larger_and_is_sealed(tmp_path: Path) -> None:
    for name in ("hello", "web", "microdot"):
        linked, ready = (build(REPO / "images" / name, how) for how in HOWS)
        assert ready.size <= 1.4 * linked.size, name
    damaged = bytearray(ready.path.read_bytes())
    damaged[damaged.index(b"M\x06")] ^= 1  # the first byte of a .mpy file
    file = tmp_path / "damaged.elf"
    file.write_bytes(damaged)
    with pytest.raises(ImageRefused, match="its bytes are not those that floe linked"):
        elf.read(file)
