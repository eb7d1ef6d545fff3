# SPDX-License-Identifier: MIT
"""mpremote from PyPI, unmodified and as a process of its own, on the pty and the TCP port of a detached VM."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import pty
import random
import re
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import serial

from floe.device import protocol_floe
from floe.errors import VmError
from floe.qemu.accel import check_kvm
from tests.support.command import FLOE, floe
from tests.support.vms import Vms, until

pytestmark = pytest.mark.any_accel
MPREMOTE = Path(sys.executable).with_name("mpremote")
SCRIPT = "print('the script has run')\n"


class Device:
    """One endpoint of one VM."""

    def __init__(self, vm: dict[str, str], kind: str, home: Path) -> None:
        self.name = vm["name"]
        self.url = vm[kind]
        # Unbuffered: mpremote's own lines and the guest's in order. floe sees to that itself.
        self._env = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home), "PYTHONUNBUFFERED": "1"}

    def run(self, *words: str | Path, code: int = 0, timeout_s: float = 60) -> str:
        """mpremote's standard output; it must end with this code."""
        done = subprocess.run(
            [str(MPREMOTE), "connect", self.url, *map(str, words)],
            capture_output=True, text=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL, env=self._env,
        )  # fmt: skip
        assert done.returncode == code, (done.stdout, done.stderr)
        return done.stdout + (done.stderr if code else "")


@pytest.fixture(scope="module", params=["kvm", "tcg"])
def vm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A dev VM on each accelerator, whose script has ended: a board at its REPL."""
    if request.param == "kvm":
        try:
            check_kvm()
        except VmError as e:
            pytest.skip(f"SKIP: {e.message}")
    folder = tmp_path_factory.mktemp("m")
    (folder / "board.py").write_text(SCRIPT)
    with pytest.MonkeyPatch.context() as patch, Vms(folder, patch) as vms:
        yield vms.run("--dev", "--accel", request.param, "--memory", "32M", "--console-port", "0", folder / "board.py")


@pytest.fixture(params=["pty", "socket"])
def device(vm: dict[str, str], request: pytest.FixtureRequest, tmp_path: Path) -> Device:
    return Device(vm, request.param, tmp_path)


def test_version() -> None:
    """The version that requirements.txt pins: the one that was measured."""
    out = subprocess.run([str(MPREMOTE), "--version"], capture_output=True, text=True, check=True).stdout
    assert re.search(r"1\.29\.0", out)


def test_exec_run_eval(device: Device, tmp_path: Path) -> None:
    assert device.run("exec", "print(6 * 7)") == "42\n"
    assert device.run("eval", "2 ** 70") == f"{2**70}\n"
    script = tmp_path / "s.py"
    script.write_text("for i in range(3):\n    print('line', i)\n")
    assert device.run("run", script) == "line 0\nline 1\nline 2\n"
    assert "ZeroDivisionError" in device.run("exec", "1/0", code=1)
    assert len(device.run("exec", "for i in range(3000): print('%030d' % i)")) == 31 * 3000


def test_files(device: Device, tmp_path: Path) -> None:
    source = tmp_path / "hello.py"
    source.write_text("print('ä hello')\n")
    device.run("mkdir", ":/d", "+", "mkdir", ":/d/e", "+", "cp", source, ":/d/e/")
    assert re.search(r"\d+ hello\.py", device.run("fs", "ls", ":/d/e"))
    assert device.run("fs", "cat", ":/d/e/hello.py") == "print('ä hello')\n"
    assert "hello.py" in device.run("tree", ":/d")
    assert re.search(r"/\n", device.run("df"))
    device.run("rm", ":/d/e/hello.py", "+", "rmdir", ":/d/e")
    assert "No such file" in device.run("fs", "cat", ":/d/e/hello.py", code=1)
    device.run("rm", "-r", ":/d")
    assert "d/" not in device.run("fs", "ls", ":/")


def test_a_file_there_and_back(device: Device, tmp_path: Path) -> None:
    content = random.Random(7).randbytes(20_000)
    (tmp_path / "there").write_bytes(content)
    device.run("cp", tmp_path / "there", ":/blob")
    digest = device.run("exec", "import hashlib; print(hashlib.sha256(open('/blob', 'rb').read()).digest().hex())")
    assert digest.strip() == hashlib.sha256(content).hexdigest()
    device.run("cp", ":/blob", tmp_path / "back", "+", "rm", ":/blob")
    assert (tmp_path / "back").read_bytes() == content


def test_mount_import_edit_import(device: Device, tmp_path: Path) -> None:
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "mod.py").write_text("value = 1\n")
    (folder / "data.txt").write_text("x" * 5000)
    look = "import mod; print(mod.value); print(len(open('/remote/data.txt').read()))"
    assert device.run("mount", folder, "exec", look).endswith("1\n5000\n")
    (folder / "mod.py").write_text("value = 'another'\n")
    assert device.run("mount", folder, "exec", look).endswith("another\n5000\n")
    device.run("mount", folder, "exec", "f = open('new', 'w'); f.write('by the guest'); f.close()")
    assert (folder / "new").read_text() == "by the guest"


class Index(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    """A package index on loopback: `greeting` 1.0, one module, as micropython-lib's has it."""
    root = tmp_path / "index"
    module = b"def greet():\n    return 'hello from the index'\n"
    name = hashlib.sha256(module).hexdigest()[:8]
    package = {"v": 1, "version": "1.0", "hashes": [["greeting.py", name]], "deps": []}
    for path, content in (
        (f"file/{name[:2]}/{name}", module),
        ("package/py/greeting/latest.json", json.dumps(package).encode()),
    ):
        (root / path).parent.mkdir(parents=True)
        (root / path).write_bytes(content)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Index, directory=str(root))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_mip_install(device: Device, index: str) -> None:
    device.run("mip", "install", "--index", index, "--no-mpy", "greeting")
    assert device.run("resume", "exec", "import greeting; print(greeting.greet())") == "hello from the index\n"
    assert "Package not found" in device.run("mip", "install", "--index", index, "--no-mpy", "nothing", code=1)
    device.run("rm", "-r", ":/lib")


def test_soft_reset(device: Device) -> None:
    device.run("exec", "x = 1")
    assert device.run("resume", "exec", "print(x)") == "1\n"
    device.run("soft-reset")
    assert device.run("resume", "exec", "print('x' in globals())") == "False\n"


def test_rtc(device: Device) -> None:
    told = tuple(int(n) for n in re.findall(r"\d+", device.run("rtc")))
    now = time.gmtime()
    assert len(told) == 8
    assert abs(time.mktime((*told[:3], *told[4:7], 0, 0, 0)) - time.mktime((*now[:6], 0, 0, 0))) < 60
    device.run("rtc", "--set")


# ---- the REPL on a terminal ------------------------------------------------------------------------------


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, argv: list[str]) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(argv[0], argv)
        self.seen = ""

    def expect(self, text: str) -> None:
        """Wait for text behind what was found before."""
        deadline = time.monotonic() + 20
        while text not in self.seen:
            assert select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))[0], self.seen
            try:
                self.seen += os.read(self.fd, 4096).decode(errors="replace")
            except OSError:
                raise AssertionError(f"it ended: {self.seen}") from None
        self.seen = self.seen.partition(text)[2]

    def settle(self) -> None:
        """Wait until keys are read one by one: what is typed before that is a line of the terminal's."""
        until(lambda: not termios.tcgetattr(self.fd)[3] & termios.ICANON, "raw mode")

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def leave(self) -> int:
        """Ctrl-], and the exit code."""
        self.type("\x1d")
        while True:
            try:
                if not os.read(self.fd, 4096):
                    break
            except OSError:
                break
        return self.close()

    def close(self) -> int:
        """The terminal goes away; the exit code."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._code


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    """Those that a test has opened; what is left of them is ended."""
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.close()


@pytest.mark.parametrize("program", ["mpremote", "floe"])
def test_repl(vm: dict[str, str], program: str, terminals: list[Terminal]) -> None:
    """Lines, history, a soft reset, Ctrl-C into a busy loop; the next one finds a prompt again."""
    argv = [str(MPREMOTE), "connect", vm["pty"], "repl"] if program == "mpremote" else [*FLOE, "repl", vm["name"]]
    for _ in range(2):
        terminal = Terminal(argv)
        terminals.append(terminal)
        terminal.expect("Use Ctrl-] or Ctrl-x to exit")
        terminal.settle()
        terminal.type("\r")
        terminal.expect(">>> ")
        terminal.type("print(3 * 5)\r")
        terminal.expect("\n15\r\n>>> ")
        terminal.type("\x1b[A\r")  # the line before
        terminal.expect("\n15\r\n>>> ")
        terminal.type("for n in (1, 2):\rprint('be' + 'gun', n)\rwhile n: pass\r\r\r\r")
        terminal.expect("begun 1")
        terminal.type("\x03")
        terminal.expect("KeyboardInterrupt")
        terminal.type("imp\t")
        terminal.expect("import ")
        terminal.type("sys\r")
        terminal.expect(">>> ")
        assert terminal.leave() == 0


# ---- other programs' ways of opening a port ----------------------------------------------------------------


def ask(port: serial.SerialBase) -> None:
    """Enter and leave the raw REPL, and evaluate something."""
    port.write(b"\r\x03\x03\r\x01")
    assert b"raw REPL; CTRL-B to exit\r\n>" in port.read_until(b"raw REPL; CTRL-B to exit\r\n>")
    port.write(b"print(1 + 1)\x04")
    assert port.read_until(b"\x04>") == b"OK2\r\n\x04\x04>"
    port.write(b"\r\x02")
    assert port.read_until(b">>> ").endswith(b">>> ")


def test_pyserial_s_way(vm: dict[str, str]) -> None:
    with serial.Serial(vm["pty"], 115200, timeout=10) as port:
        ask(port)
    with serial.serial_for_url(vm["socket"], timeout=10) as port:
        ask(port)


def test_an_ide_s_way(vm: dict[str, str]) -> None:
    """Made closed, lines set, opened exclusively, a timeout for writing; then lines, break and buffers touched."""
    for _ in range(2):
        port = serial.Serial(port=None, baudrate=115200, timeout=10, write_timeout=5, exclusive=True)
        port.dtr = True
        port.rts = True
        port.port = vm["pty"]
        port.open()
        port.reset_input_buffer()
        port.reset_output_buffer()
        ask(port)
        port.flush()
        assert port.in_waiting == 0
        port.close()


def test_floe_s_own_port(vm: dict[str, str]) -> None:
    """What a read of one byte took ahead counts as waiting, also for select(): a terminal would not show it else."""
    port = protocol_floe.Serial(f"floe://{vm['name']}", timeout=10)
    try:
        ask(port)
        rest = b"x" * 3000 + b"\r\n>>> "
        port.write(b"print('x' * 3000)\r")
        answer = port.read_until(b"\r\n")
        until(lambda: port.in_waiting >= len(rest), "the answer is there")
        for _ in range(port.in_waiting):
            assert select.select([port.fd], [], [], 0)[0]
            answer += port.read(1)
        assert answer.endswith(rest) and not select.select([port.fd], [], [], 0)[0]
    finally:
        port.close()


# ---- floe's own verbs, which are mpremote in-process -------------------------------------------------------


def test_floe_exec(vm: dict[str, str], tmp_path: Path) -> None:
    name = vm["name"]
    done = floe("exec", name, "y = 6 * 7\nprint(y)")
    assert (done.returncode, done.stdout) == (0, "42\n")
    assert floe("exec", name, "print(y + 1)").stdout == "43\n"
    done = floe("exec", "--timeout", "0.5", name, "print('goes')\nwhile True: pass")
    assert (done.returncode, done.stdout.splitlines()[0]) == (124, "goes") and "KeyboardInterrupt" in done.stdout
    assert "floe: the code did not end within 0.5 s, and was interrupted\n" in done.stderr
    with subprocess.Popen(
        [*FLOE, "exec", name, "print('up')\nwhile True: pass"], stdout=subprocess.PIPE, text=True
    ) as p:
        assert p.stdout is not None
        assert p.stdout.readline() == "up\n"
        p.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in p.stdout.read()
        assert p.wait(10) == 130
    assert floe("exec", name, "print(y + 2)").stdout == "44\n"
    done = floe("exec", name, "1/0")
    assert (done.returncode, "ZeroDivisionError" in done.stdout) == (1, True)
    (tmp_path / "s.py").write_text("print('from a file')\n")
    assert floe("exec", name, "-f", tmp_path / "s.py").stdout == "from a file\n"


INTERRUPTED = """
import os, signal, sys
from mpremote.transport_serial import SerialTransport
from floe.cli.main import main
when, name = sys.argv[1:3]
del sys.argv[1:3]
method = getattr(SerialTransport, name)
def interrupted(*args, **options):
    if when == "before":
        os.kill(os.getpid(), signal.SIGINT)
    result = method(*args, **options)
    if when == "after":
        os.kill(os.getpid(), signal.SIGINT)
    return result
setattr(SerialTransport, name, interrupted)
main()
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["enter_raw_repl", "exec_raw_no_follow", "raw_paste_write", "exit_raw_repl"])
def test_ctrl_c_at_any_moment_of_floe_exec(vm: dict[str, str], step: str, when: str) -> None:
    """Nothing runs on in the guest, which is at its friendly prompt."""
    ends = step == "exit_raw_repl"  # then the code has ended, and nothing is left to interrupt
    code = "print('runs')\n" + ("" if ends else "while True: pass")
    argv = [sys.executable, "-c", INTERRUPTED, when, step, "exec", vm["name"], code]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == (0 if ends else 130), done.stderr
    with serial.serial_for_url(vm["socket"], timeout=20) as port:
        port.write(b"\rprint('at the ' + 'prompt')\r")
        assert port.read_until(b"at the prompt\r\n>>> ").endswith(b"at the prompt\r\n>>> ")


def test_floe_cp(vm: dict[str, str], tmp_path: Path) -> None:
    """Every byte value, Ctrl-C and the escape among them, in sizes around a piece."""
    name = vm["name"]
    for size in (0, 32768, 300_001):
        content = (bytes(range(256)) * (size // 256 + 1))[:size]
        (tmp_path / "there").write_bytes(content)
        assert floe("cp", tmp_path / "there", f"{name}:/blob").returncode == 0
        assert floe("cp", f"{name}:/blob", tmp_path / "back").returncode == 0
        assert (tmp_path / "back").read_bytes() == content
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f.py").write_text("z = 1\n")
    assert floe("cp", "-r", tmp_path / "d", f"{name}:/").returncode == 0
    assert floe("exec", name, "print(open('/d/f.py').read())").stdout == "z = 1\n\n"
    floe("exec", name, "import os; os.remove('/d/f.py'); os.rmdir('/d'); os.remove('/blob')")


def test_floe_cp_to_a_full_file_system(vm: dict[str, str], tmp_path: Path) -> None:
    """What was on its way is not taken for commands."""
    name = vm["name"]
    (tmp_path / "big").write_bytes(os.urandom(3_000_000))
    done = floe("cp", tmp_path / "big", f"{name}:/big")
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert floe("exec", name, "import os; os.remove('/big'); print('fine')").stdout == "fine\n"
    done = floe("cp", f"{name}:/nothing", tmp_path / "back")
    assert (done.returncode, "No such file or directory" in done.stderr) == (1, True)


def test_floe_mount(vm: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "mounted.py").write_text("value = 'from the host'\n")
    done = floe("mount", vm["name"], tmp_path, "exec", "import mounted; print(mounted.value)")
    assert done.stdout.endswith("from the host\n")
