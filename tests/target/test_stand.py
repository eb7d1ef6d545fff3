# SPDX-License-Identifier: MIT
"""What a guest has printed before a long call in C is on the console; ended from outside, it says where it stood."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from floe.image.symbols import stood
from floe.store import vmfolder
from floe.testing import Boot
from tests.support.command import floe
from tests.support.vms import Vms, log, ps, until

SCRIPT = """
import sys, time
def work(n):
    return 3 ** n
def outer(n):
    while True:
        work(n)
for i in range(int(sys.argv[1])):
    print("line", i)
if sys.argv[2] == "busy":
    outer(3000000)
else:
    print("no line feed", end="")
    time.sleep(100)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "app.py"
    path.write_text(SCRIPT)
    return path


@pytest.fixture
def vms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vms]:
    with Vms(tmp_path, monkeypatch) as all_of_them:
        yield all_of_them


def test_the_last_words_are_there_during_the_call(boot: Boot, script: Path) -> None:
    vm = boot(script, args=["20", "busy"])
    vm.expect_exact("line 19\n", timeout=10)  # the call takes longer


def test_all_that_was_printed_is_there_at_the_end(boot: Boot, script: Path) -> None:
    vm = boot(script, args=["300", "busy"])
    assert vm.wait(deadline_s=2) == 124
    assert "line 299\n" in vm.console.text
    where = stood(vm.spec.elf, vm.panic_text)
    assert where.startswith("it stood in mpz_")
    frames = [line.split('"')[1:] for line in where.splitlines()[1:]]
    assert frames == [
        ["app.py", ", line 4, in work"],
        ["app.py", ", line 7, in outer"],
        ["app.py", ", line 11, in <module>"],
    ]


def test_the_command_tells_it(accel: str, script: Path) -> None:
    done = floe("run", "--accel", accel, "--timeout", "1.5", script, "--", "1", "idle")
    assert (done.returncode, done.stdout) == (124, "line 0\nno line feed")
    assert done.stderr == (
        "floe: the guest did not end within 1.5 s\n  it waited, in Python, innermost call first:\n"
        '    File "app.py", line 14, in <module>\n  try: a longer --timeout\n'
    )


def test_a_detached_vm_s_log_has_it(vms: Vms, accel: str, script: Path) -> None:
    vms.run("--name", "a", "--accel", accel, script, "--", "300", "busy")
    until(lambda: "line 20\n" in log("a"), "its words")
    done = floe("stop", "--timeout", "0.3", "a")
    assert (done.returncode, done.stderr) == (0, "floe: a ended (130, interrupt)\n")
    assert ps("a")["exit_code"] == 130
    assert "line 299\n" in log("a")
    said = floe("logs", "-n", "1", "a").stderr
    assert "PANIC: NMI" in said and 'File "app.py", line 4, in work' in said
    assert vmfolder.find("a").serial_log.exists()
