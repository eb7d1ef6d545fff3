# SPDX-License-Identifier: MIT
"""`floe run` as its users meet it: a process with streams, a terminal, signals and an exit code; real images."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.support.command import FLOE, PATIENT, floe

DEADLINE_S = 30.0

ECHO = """
import sys
print("ready")
while True:
    try:
        line = sys.stdin.readline()
    except KeyboardInterrupt:
        print("asked to end")
        sys.exit(7)
    if line.startswith("quit"):
        sys.exit(5)
    print("got", repr(line))
"""
STUBBORN = """
print("ready")
while True:
    try:
        while True:
            pass
    except KeyboardInterrupt:
        print("no")
"""

Script = Callable[..., Path]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """script(text) -> path of app.py with that text."""

    def write(text: str, name: str = "app.py") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


class Process:
    """A running floe whose standard output is read with a deadline; on a terminal of its own if asked to."""

    def __init__(
        self,
        *argv: str | Path,
        terminal: bool = False,
        ignored: signal.Signals | None = None,
        program: Sequence[str] = FLOE,
    ) -> None:
        command = [*program, *map(str, argv)]
        self.seen = b""
        if terminal:
            self.pid, self.fd = pty.fork()
            if self.pid == 0:
                os.execv(command[0], command)
        else:
            ignore = ["env", f"--ignore-signal={ignored.name}"] if ignored else []
            self._popen = subprocess.Popen([*ignore, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            assert self._popen.stdout is not None
            self.pid, self.fd = self._popen.pid, self._popen.stdout.fileno()

    def until(self, text: bytes) -> None:
        """Read until the text has come; fail at the deadline or the end."""
        deadline = time.monotonic() + DEADLINE_S
        while text not in self.seen:
            ready, _, _ = select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no {text!r} within {DEADLINE_S} s; came: {self.seen!r}"
            data = self._read()
            assert data, f"it ended without {text!r}; came: {self.seen!r}"
            self.seen += data

    def _read(self) -> bytes:
        try:
            return os.read(self.fd, 65536)
        except OSError:
            return b""  # how a pseudo-terminal says that the last process is gone

    def code(self) -> int:
        """Wait for the end and return the exit code."""
        pidfd = os.pidfd_open(self.pid)
        deadline = time.monotonic() + DEADLINE_S
        while not select.select([pidfd], [], [], 0)[0]:
            ready = select.select([pidfd, self.fd], [], [], max(0.0, deadline - time.monotonic()))[0]
            assert ready, f"it did not end; came: {self.seen!r}"
            if self.fd in ready:
                self.seen += self._read()
        os.close(pidfd)
        with contextlib.suppress(OSError):
            while data := os.read(self.fd, 65536):
                self.seen += data
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


# ---- text and codes ----------------------------------------------------------------------------------


def test_hello() -> None:
    done = floe("run", "images/hello")
    assert (done.stdout, done.stderr, done.returncode) == ("hello, world\n", "", 0)


@pytest.mark.parametrize("accel", ["tcg", "auto"])
@pytest.mark.parametrize("machine", ["microvm", "q35", "pc"])
def test_hello_everywhere(machine: str, accel: str) -> None:
    done = floe("run", "images/hello", "--machine", machine, "--accel", accel)
    assert (done.stdout, done.returncode) == ("hello, world\n", 0)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("pass", 0),
        ("import sys; sys.exit()", 0),
        ("import sys; sys.exit(1)", 1),
        ("import sys; sys.exit(119)", 119),
        ("raise SystemExit(3)", 3),
        ("1/0", 1),
        ("bytearray(1 << 30)", 121),
    ],
)
def test_exit_codes(script: Script, text: str, code: int) -> None:
    done = floe("run", script(text))
    assert done.returncode == code
    if code == 1 and "1/0" in text:
        assert "ZeroDivisionError" in done.stdout
        assert 'File "app.py", line 1' in done.stdout
    if code == 121:
        assert "MemoryError" in done.stdout
        assert "ran out of memory; it has 32 MiB" in done.stderr


def test_an_elf_runs_without_its_sources(script: Script, tmp_path: Path) -> None:
    elf = tmp_path / "app.elf"
    assert floe("build", script("print('from an ELF')"), "-o", elf).returncode == 0
    (tmp_path / "app.py").unlink()
    done = floe("run", elf)
    assert (done.stdout, done.stderr, done.returncode) == ("from an ELF\n", "", 0)


def test_arguments_and_environment(script: Script, tmp_path: Path) -> None:
    app = script(
        "import sys, os, json\nprint(json.dumps([sys.argv[1:], os.getenv('A'), os.getenv('B'), os.getenv('C')]))"
    )
    args = ["two words", "", "--dry-run", "virtio_mmio.device=1@2:3", "100%", 'a"b', "tab\tline\n", "ümläut", "--"]
    env = {**os.environ, "B": "from the shell"}
    done = floe("run", app, "--env", "A=x = 'y' %41 ", "--env", "B", "--", *args, env=env)
    assert json.loads(done.stdout) == [args, "x = 'y' %41 ", "from the shell", None]


def test_image_toml_s_settings_and_what_overrides_them(script: Script, tmp_path: Path) -> None:
    script(
        "import sys, os, floe\nprint(sys.argv[1:], os.getenv('A'), os.getenv('B'), floe.mem_info()['ram'] >> 20)",
        "main.py",
    )
    (tmp_path / "image.toml").write_text('name = "t"\nmemory = "16M"\nargs = ["one"]\nenv = { A = "a", B = "b" }\n')
    assert re.fullmatch(r"\['one'\] a b 1[56]\n", floe("run", tmp_path).stdout)
    done = floe("run", tmp_path, "--memory", "24M", "--env", "B=new", "--", "two")
    assert re.fullmatch(r"\['two'\] a new 2[34]\n", done.stdout)


# ---- the console -------------------------------------------------------------------------------------


def test_input_from_a_pipe(script: Script) -> None:
    done = floe("run", script(ECHO), input="one\ntwo\nquit\n")
    assert done.stdout == "ready\ngot 'one\\n'\ngot 'two\\n'\n"
    assert done.returncode == 5


def test_output_is_the_guest_s_byte_for_byte(script: Script) -> None:
    """More than every buffer on the way holds, through a pipe, with all byte values."""
    app = script(
        "import sys, hashlib\nh = hashlib.sha256()\n"
        "for i in range(2048):\n    b = bytes((i * 7 + j) & 255 for j in range(1024))\n"
        "    sys.stdout.buffer.write(b)\n    h.update(b)\n"
    )
    done = subprocess.run(
        [*FLOE, "run", str(app)], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True
    )
    expected = b"".join(bytes((i * 7 + j) & 255 for j in range(1024)) for i in range(2048))
    assert hashlib.sha256(done.stdout).hexdigest() == hashlib.sha256(expected).hexdigest()


@pytest.mark.parametrize("accel", ["tcg", "auto"])
def test_a_slow_reader_loses_nothing(script: Script, accel: str) -> None:
    """Slower than the guest by far, and behind by more than the sockets and rings between them hold."""
    app = script("for i in range(250000):\n    print(i)\nprint('end')\n")
    command = [*FLOE, "run", "--accel", accel, str(app)]
    received = b""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while data := os.read(process.stdout.fileno(), 16384):
            received += data
            time.sleep(0.005)
        assert process.wait(DEADLINE_S) == 0
    assert received == b"".join(b"%d\n" % i for i in range(250000)) + b"end\n"


def test_a_reader_that_leaves_ends_the_vm(script: Script) -> None:
    app = script("i = 0\nwhile True:\n    print(i)\n    i += 1\n")
    with subprocess.Popen([*FLOE, "run", str(app)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"0\n"
        process.stdout.close()
        assert process.wait(timeout=DEADLINE_S) == 125


def test_end_of_input_does_not_end_the_vm(script: Script) -> None:
    done = floe("run", script("import time\ntime.sleep(0.5)\nprint('still here')"), input="")
    assert (done.stdout, done.returncode) == ("still here\n", 0)


@pytest.mark.parametrize(("typed", "said"), [
    ("", []),
    ("print(6 * 7)\n", ["42"]),
    ("print(6 * 7)", ["42"]),  # python -i runs that, too
    ("def f():\n    return 40\n\nprint(f() + 2)\n", ["42"]),
    ("for i in range(2):\n    print('line', i)", ["line 0", "line 1"]),
    ("print((6,\n", []),
    ("1/0\nprint('then')\n", ["ZeroDivisionError: divide by zero", "then"]),
    ("import time; time.sleep(0.5)\r\nprint('slept')\r\n", ["slept"]),
])  # fmt: skip
def test_a_dev_image_s_input_ends_it_at_its_prompt(script: Script, typed: str, said: list[str]) -> None:
    """As `python -i` with a file: when the script is over and all of it was read; the code is the script's."""
    done = floe("run", "--dev", "--timeout", "20", script("import sys\nprint('ready')\nsys.exit(3)\n"), input=typed)
    assert done.returncode == 3, (done.stdout, done.stderr)
    lines = done.stdout.split("\n")
    assert lines[0].strip() == "ready"
    assert not [line for line in said if line not in lines], done.stdout
    assert "\xff" not in done.stdout and "raw REPL" not in done.stdout


def test_an_image_may_be_a_dev_one_without_the_option(tmp_path: Path) -> None:
    """By its image.toml, or as an ELF: its REPL is as with --dev."""
    app, made = tmp_path / "app", tmp_path / "app.elf"
    app.mkdir()
    (app / "main.py").write_text("import sys\nprint('ready')\nsys.exit(3)\n")
    (app / "image.toml").write_text('profile = "dev"\n')
    assert floe("build", app, "-o", made).returncode == 0
    for image in (app, made):
        done = floe("run", "--timeout", "20", image, input="print(6 * 7)\n")
        assert done.returncode == 3, (done.stdout, done.stderr)
        assert "\n42\n" in done.stdout


def test_the_end_of_input_ends_no_script(script: Script) -> None:
    """It has read all of it and runs on; a service with a REPL beside it does; the prompt of either ends the VM."""
    echo = "import sys, time\nprint(sys.stdin.readline())\ntime.sleep(0.5)\nprint('still here')\n"
    done = floe("run", "--dev", "--timeout", "20", script(echo), input="one\nprint('typed')\n")
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert done.stdout.startswith("one\n") and "still here\n" in done.stdout and "typed\n" in done.stdout
    service = (
        "import asyncio\nasync def main():\n    await asyncio.sleep(1.5)\n    print('served')\nasyncio.run(main())\n"
    )
    done = floe("run", "--dev", "--timeout", "20", script(service), input="print('typed')\n")
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert done.stdout.index("\ntyped\n") < done.stdout.index("served")


# ---- ends --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_asks_the_guest_to_end(script: Script, number: signal.Signals) -> None:
    process = Process("run", script(ECHO))
    process.until(b"ready")
    (qemu,) = children(process.pid)
    os.kill(process.pid, number)
    assert process.code() == 7
    assert process.seen.endswith(b"asked to end\n")
    assert not Path(f"/proc/{qemu}").exists()


@pytest.mark.parametrize(("end", "code"), [("sys.exit(0)", 0), ("sys.exit(9)", 9), ("raise", 1), ("pass", 0)])
def test_the_code_of_a_script_that_was_asked_is_the_command_s(script: Script, end: str, code: int) -> None:
    text = (
        "import sys, time\ntry:\n    print('up')\n    while True:\n        time.sleep(0.1)\nexcept KeyboardInterrupt:\n"
    )
    process = Process("run", script(f"{text}    print('clean')\n    {end}\n"))
    process.until(b"up")
    os.kill(process.pid, signal.SIGTERM)
    assert process.code() == code
    assert b"clean" in process.seen


SERVICE = """
import asyncio
async def main():
    print("up")
    try:
        await asyncio.sleep(1000)
    finally:
        print("ending")
asyncio.run(main())
"""


def test_a_dev_image_that_is_asked_to_end_says_no_more_than_its_script(script: Script) -> None:
    process = Process("run", "--dev", script(SERVICE))
    process.until(b"up")
    os.kill(process.pid, signal.SIGTERM)
    process.code()
    assert process.seen.split(b"up", 1)[1].replace(b"\r", b"") == b"\nending\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_the_command_was_told_to_ignore(script: Script, number: signal.Signals) -> None:
    """As nohup does with SIGHUP, and a shell with SIGINT for what it runs in the background."""
    process = Process("run", script(ECHO), ignored=number)
    process.until(b"ready")
    os.kill(process.pid, number)
    assert process._popen.stdin is not None
    process._popen.stdin.write(b"quit\n")
    process._popen.stdin.flush()
    assert process.code() == 5
    assert b"asked to end" not in process.seen


def test_a_second_signal_ends_it(script: Script) -> None:
    process = Process("run", script(STUBBORN), program=PATIENT)
    process.until(b"ready")
    os.kill(process.pid, signal.SIGINT)
    process.until(b"no")
    os.kill(process.pid, signal.SIGINT)
    assert process.code() == 130  # and not after the grace that the first one gives


def test_one_signal_is_enough_in_the_end(script: Script) -> None:
    process = Process("run", script(STUBBORN))
    process.until(b"ready")
    os.kill(process.pid, signal.SIGTERM)
    assert process.code() == 130


def test_sigkill_leaves_no_qemu(script: Script) -> None:
    process = Process("run", script(STUBBORN))
    process.until(b"ready")
    (qemu,) = children(process.pid)
    pidfd = os.pidfd_open(qemu)
    os.kill(process.pid, signal.SIGKILL)
    assert process.code() == -signal.SIGKILL
    assert select.select([pidfd], [], [], 10)[0]
    os.close(pidfd)


def test_timeout(script: Script) -> None:
    done = floe("run", "--timeout", "1.5", script(STUBBORN), timeout_s=DEADLINE_S)
    assert done.returncode == 124
    assert done.stdout == "ready\n"
    assert "floe: the guest did not end within 1.5 s" in done.stderr


def test_reset_boots_again(script: Script) -> None:
    app = script("import sys, machine\nprint('boot')\nif sys.stdin.readline() == 'again\\n':\n    machine.reset()\n")
    process = Process("run", app)
    for _ in range(3):
        process.seen = b""
        process.until(b"boot\n")
        assert process._popen.stdin is not None
        process._popen.stdin.write(b"again\n")
        process._popen.stdin.flush()
    process.seen = b""
    process.until(b"boot\n")
    process._popen.stdin.write(b"enough\n")
    process._popen.stdin.flush()
    assert process.code() == 0


# ---- on a terminal -----------------------------------------------------------------------------------


def test_terminal_gets_its_modes_back(script: Script) -> None:
    process = Process("run", script(ECHO), terminal=True)
    before = termios.tcgetattr(process.fd)
    process.until(b"ready\r\n")  # the terminal's own end of line
    assert not termios.tcgetattr(process.fd)[3] & termios.ICANON
    os.write(process.fd, b"quit\n")
    assert process.code() == 5
    assert termios.tcgetattr(process.fd) == before


def test_ctrl_c_on_a_terminal_asks_the_guest(script: Script) -> None:
    process = Process("run", script(ECHO), terminal=True)
    process.until(b"ready")
    os.write(process.fd, b"\x03")
    process.until(b"asked to end")
    assert process.code() == 7


def test_ctrl_c_twice_and_escape_end_the_vm(script: Script) -> None:
    for keys in (b"\x03\x03", b"\x1d"):
        process = Process("run", script(STUBBORN), terminal=True, program=PATIENT)
        process.until(b"ready")
        os.write(process.fd, keys)
        assert process.code() == 130


# ---- what floe prints --------------------------------------------------------------------------------


def test_dry_run_prints_a_command_that_works() -> None:
    same = ("--uuid", "00000000-0000-4000-8000-000000000001")  # else each has one of its own
    done = floe("run", "--dry-run", *same, "images/hello")
    assert done.returncode == 0
    argv = shlex.split(done.stdout)
    assert json.loads(floe("run", "--dry-run", "--json", *same, "images/hello").stdout) == argv
    pasted = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert pasted.stdout == "hello, world\n"
    assert pasted.returncode == 3  # (0 + 1) << 1 | 1


def test_json_report(script: Script) -> None:
    done = floe("run", "--json", "--stamps", "--accel", "tcg", script("import sys; sys.exit(9)"))
    report = json.loads(done.stderr.splitlines()[-1])
    assert done.stdout == ""
    assert done.returncode == report["exit_code"] == 9
    assert (report["cause"], report["accel"], report["machine"]) == ("exit", "tcg", "microvm")
    stamps = report["stamps_ms"]
    assert stamps["vmm_start"] == 0
    assert 0 < stamps["kernel_entry"] < stamps["first_python_line"]
    assert stamps["first_byte"] is None


def test_json_report_of_a_failure() -> None:
    done = floe("run", "--json", "--timeout", "0.3", "images/web", "-p", "0:80")
    assert done.returncode == 124
    report = next(json.loads(line) for line in done.stderr.splitlines() if line.startswith("{"))
    assert (report["exit_code"], report["cause"]) == (124, "timeout")
    assert report["ports"][0]["guest_port"] == 80


def test_stamps_are_not_the_guest_s_output() -> None:
    done = floe("run", "--stamps", "images/hello")
    assert done.stdout == "hello, world\n"
    assert re.fullmatch(
        r"floe: boot, ms since QEMU was started: kernel entry [\d.]+, first Python line [\d.]+\n", done.stderr
    )


def test_verbose_says_accelerator_and_command() -> None:
    done = floe("run", "-v", "--accel", "tcg", "images/hello")
    assert "floe: using tcg\n" in done.stderr
    assert "qemu-system-x86_64 -nodefaults" in done.stderr
