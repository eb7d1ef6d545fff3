# SPDX-License-Identifier: MIT
"""port/dev: repl.c, rawpaste.c, dupterm.c: a dev image on the desk is a board, to a person and to mpremote."""

from __future__ import annotations

from pathlib import Path
from statistics import mode

import pytest

from floe.stream.keys import INTERRUPT
from floe.stream.streams import Matched
from floe.testing import Boot
from tests.support.command import floe
from tests.support.mpremote_device import Device
from tests.support.screen import last_line

DEADLINE_S = 60.0
SEE_S = 10.0
SCRIPT = """
import gc
print("script runs")
x = 6
"""
PROMPT = "\r\n>>> "
# how the script waits when Ctrl-C comes: source
WAITS = {
    "busy": "while True: pass",
    "sleep": "time.sleep(1000)",
    "sleep_us": "time.sleep_us(1000000000)",
    "select": "poll = select.poll(); poll.register(sys.stdin, select.POLLIN); poll.poll(1000000000)",
    "stdin": "sys.stdin.read(1)",
    "accept": "s = socket.socket(); s.bind(('0.0.0.0', 99)); s.listen(1); s.accept()",
    "recv": "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', 99)); s.recvfrom(1)",
}


def script(folder: Path, source: str) -> Path:
    path = folder / "app.py"
    path.write_text(source)
    return path


@pytest.fixture
def device(boot: Boot, tmp_path: Path) -> Device:
    d = Device(boot(script(tmp_path, SCRIPT), deadline_s=DEADLINE_S, dev=True))
    d.type("", "script runs\n")
    d.type("", 'Type "help()" for more information.' + PROMPT)
    return d


def test_the_friendly_repl_edits_remembers_and_completes(device: Device) -> None:
    device.type("x * 7\r", "42" + PROMPT)  # the script's own names
    device.type("1 +\x08\x08\x08print('a')\r", "a" + PROMPT)
    device.type("\x1b[A\r", "print('a')\r\na" + PROMPT)  # up: the line before
    device.type("\x1b[A\x1b[A\r", "x * 7\r\n42" + PROMPT)
    device.type("import mic\t\r", "import micropython" + PROMPT)
    device.type("def f(y):\rreturn y + 1\r\r\r\r", "\r\n>>> ")
    device.type("f(4)\r", "\r\n5" + PROMPT)
    device.type("1/0\r", "ZeroDivisionError: divide by zero" + PROMPT)
    device.type("\x05", "paste mode; Ctrl-C to cancel, Ctrl-D to finish\r\n=== ")
    device.type("for i in range(2):\r    print('p', i)\r\x04", "p 0\r\np 1" + PROMPT)
    device.type("for n in (1, 2):\rprint('be' + 'gun', n)\rwhile n: pass\r\r\r\r", "begun 1\r\n")
    device.type(INTERRUPT, "KeyboardInterrupt: " + PROMPT)


def test_a_person_types_characters_beyond_ascii(device: Device) -> None:
    left, right, home, delete = "\x1b[D", "\x1b[C", "\x1b[H", "\x1b[3~"

    def see(keys: str, line: str, column: int) -> None:
        """Type byte by byte, as over a slow line, until the terminal shows this line and cursor."""
        for byte in keys.encode():
            device.vm.send(bytes([byte]))
        shows = device.vm.pump(lambda: last_line(device.vm.console_text) == (line, column), SEE_S)
        assert shows is Matched, last_line(device.vm.console_text)

    see("s = 'äö€z'", ">>> s = 'äö€z'", 14)
    see(left * 3, ">>> s = 'äö€z'", 11)  # behind ö
    see("ü", ">>> s = 'äöü€z'", 12)
    see("😀語", ">>> s = 'äöü😀語€z'", 16)
    see(left + "\x7f" + delete, ">>> s = 'äöü€z'", 12)
    see(right + "é" + home, ">>> s = 'äöü€éz'", 4)
    device.type("\r", PROMPT)
    device.type("print(s, len(s))\r", "äöü€éz 6" + PROMPT)
    see("\x1b[A\x1b[A", ">>> s = 'äöü€éz'", 16)
    see("\x1b[B", ">>> print(s, len(s))", 20)
    device.type("\x15#" + "é" * 1200 + "\x01", "\x1b[1201D")
    device.type("\x03", PROMPT)
    device.type("n = input()\r", "n = input()\r\n")
    device.type("Bjö\x7f\x7förn\r", PROMPT)
    device.type("print(n, len(n))\r", "Börn 4" + PROMPT)
    device.type("\x05", "=== ")
    device.type("print('p', 'ä😀'[1])\r\x04", "p 😀" + PROMPT)
    device.type(b"[ord(c) for c in 'a\xc3z\xffzzzz\xfft'] if 0 else 3\r", "3" + PROMPT)
    device.type(b"b = '\xe9\xff\xc3'.encode(); [hex(x) for x in b]\r", "['0xe9', '0xff', '0xc3']" + PROMPT)
    device.type(b"input()\rno \xe9 here\r", "UnicodeError: " + PROMPT)
    device.type("\x01", "raw REPL; CTRL-B to exit\r\n>")
    device.type("print('ä', len('€😀'))\x04", "OKä 2\r\n\x04\x04>")
    device.type("\x05A\x01print('é', len('€😀'))\x04", "é 2\r\n\x04\x04>")


PIPED = """print(len("é"), "😀")
for i in range(2):
    print("ü", i)

n = input()
Jürgen
print("is", n, len(n), [hex(x) for x in "LATIN".encode()])
\x05print("päste")
\x04input()"""


def test_a_pipe_into_the_repl_arrives_whole(accel: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_bytes(PIPED.encode().replace(b"LATIN", b"\xe9\xff\xff"))
    with keys.open() as stdin:
        done = floe("run", "--dev", "--accel", accel, script(tmp_path, SCRIPT), stdin=stdin, errors="replace")
    said = ["1 😀", "ü 0", "ü 1", "is Jürgen 6 ['0xe9', '0xff', '0xff']", "päste", "EOFError: "]
    assert [line for line in done.stdout.splitlines() if line in said] == said, done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize("dev", [False, True])
def test_input_takes_the_lines_of_a_file(accel: str, tmp_path: Path, dev: bool) -> None:
    words = ["--dev"] * dev
    path = script(tmp_path, "print([(n, len(n)) for n in (input('? ') for _ in range(3))])\n")
    lines = "Ünal\nAnn\r\n😀 x\n"
    done = floe("run", *words, "--accel", accel, path, input=lines, encoding="utf-8")
    assert "[('\\xdcnal', 4), ('Ann', 3), ('\\U0001f600 x', 3)]" in done.stdout
    assert done.returncode == 0


def test_the_raw_repl_answers_as_upstreams(device: Device) -> None:
    device.type("\r\x01", "raw REPL; CTRL-B to exit\r\n>")
    device.type("print(x)\x04", "OK6\r\n\x04\x04>")
    device.type("1/0\x04", 'OK\x04Traceback (most recent call last):\r\n  File "<stdin>", line 1, in <module>\r\n')
    device.type("", "ZeroDivisionError: divide by zero\r\n\x04>")
    device.type("junk\x03print(2)\x04", "OK2\r\n\x04\x04>")
    device.type("print('go')\nwhile 1: pass\x04", "OKgo\r\n")
    device.type(INTERRUPT, "KeyboardInterrupt: \r\n\x04>")
    device.type("\x04", "OK\r\nMPY: soft reboot\r\nraw REPL; CTRL-B to exit\r\n>")
    device.type("print('x' in globals())\x04", "OKFalse\r\n\x04\x04>")  # boot.py ran, the script did not
    assert device.vm.console_text.count("script runs") == 1
    device.type("\x02", 'Type "help()" for more information.' + PROMPT)
    device.type("\x04", "MPY: soft reboot\r\nscript runs\n")
    device.type("", PROMPT)
    device.type("import machine\rmachine.soft_reset()\r", "MPY: soft reboot\r\nscript runs\n")


def test_raw_paste_has_windows_and_takes_any_program(device: Device) -> None:
    device.type("\x01", "raw REPL; CTRL-B to exit\r\n>")
    device.type("\x05A\x01", "R\x01\x00")  # and the window, 0x8000
    at = len(device.vm.console.data)
    program = b"t = '''" + b"0123456789abcde\n" * 12000 + b"'''\nprint(len(t))"
    device.type(program + b"\x04", "192000\r\n\x04\x04>")
    assert device.vm.console.data[at:].count(b"\x01") == len(program) // 0x8000  # a mark for each window taken
    device.type("\x05A\x01print(\x04", "SyntaxError: invalid syntax\r\n\x04>")
    device.type("\x05A\x01print('go')\nwhile 1: pass\x04", "go\r\n")
    device.type(INTERRUPT, "KeyboardInterrupt: \r\n\x04>")
    device.type("\x05A\x01print(1)\x03", "KeyboardInterrupt: \r\n\x04>")
    device.type("\x05B\x01", "R\x00>")
    device.type("\x05A\x01raise SystemExit\x04", "MPY: soft reboot\r\nraw REPL; CTRL-B to exit\r\n>")


@pytest.mark.parametrize("how", WAITS)
def test_ctrl_c_ends_every_wait(boot: Boot, tmp_path: Path, how: str) -> None:
    source = f"import micropython, select, socket, sys, time\nprint('now')\n{WAITS[how]}\n"
    d = Device(boot(script(tmp_path, source), deadline_s=DEADLINE_S, dev=True))
    d.type("", "now\n")
    d.type(INTERRUPT, "KeyboardInterrupt:")
    d.type("1 + 1\r", "\r\n2" + PROMPT)


def test_ctrl_c_is_heard_behind_what_a_busy_script_does_not_read(boot: Boot, tmp_path: Path) -> None:
    d = Device(boot(script(tmp_path, "print('now')\nwhile True: pass\n"), deadline_s=DEADLINE_S, dev=True))
    d.type("", "now\n")
    d.type(b"# unread\r" * 6000 + INTERRUPT, "KeyboardInterrupt:")


BINARY = """
import micropython, sys
micropython.kbd_intr(-1)
print("ready")
print(sys.stdin.buffer.read(256) == bytes(range(256)))
micropython.kbd_intr(3)
print("heard again")
while True: pass
"""


def test_a_script_that_takes_binary_input_gets_every_byte(boot: Boot, tmp_path: Path) -> None:
    d = Device(boot(script(tmp_path, BINARY), deadline_s=DEADLINE_S, dev=True))
    d.type("", "ready\n")
    d.type(bytes(range(256)), "True\nheard again\n")
    d.type(INTERRUPT, "KeyboardInterrupt:")


LEAVES = """
import floe, gc, socket, vfs, machine, micropython
class Fs:
    def mount(self, readonly, mkfs): pass
    def umount(self): pass
vfs.mount(Fs(), "/mnt")
a = socket.socket(); a.bind(("0.0.0.0", 99)); a.listen(3)
b = [socket.socket() for _ in range(20)]
junk = bytearray(1000000)
@micropython.native
def f(x): return x + 1
f(1)
gc.collect()
m = floe.mem_info()
print("used", m["ram_free"], m["c_used"])
machine.Timer(period=5, callback=lambda t: f(1))
machine.soft_reset()
"""


def test_two_hundred_soft_resets_leave_nothing_behind(boot: Boot, tmp_path: Path) -> None:
    vm = boot(script(tmp_path, LEAVES), deadline_s=DEADLINE_S, dev=True)
    for _ in range(200):
        vm.expect_exact("used ")
    lines = [
        line.split()[1:] for line in vm.console_text.splitlines() if line.startswith("used ") and line.count(" ") == 2
    ]
    first, last = ([(int(free), int(used)) for free, used in part] for part in (lines[2:60], lines[140:200]))
    # Both vary a little with time: in one of some hundred resets more memory is free, which says nothing of the others.
    assert mode(free for free, _ in last) >= mode(free for free, _ in first), lines
    assert min(used for _, used in last) <= min(used for _, used in first) + 256, lines
    assert "Error" not in vm.console_text


DUPTERM = """
import io, os
class Term(io.IOBase):
    def __init__(self): self.out = b""; self.keys = [b"print('typed', 5)\\r"]
    def write(self, data): self.out += bytes(data); return len(data)
    def readinto(self, buf):
        if not self.keys: return None
        k = self.keys[0]; buf[0] = k[0]
        self.keys[0] = k[1:]
        if not self.keys[0]: self.keys.pop()
        return 1
    def ioctl(self, op, arg): return 0
term = Term()
print(os.dupterm(term))
print("copied")
"""


def test_dupterm_types_and_listens(boot: Boot, tmp_path: Path) -> None:
    d = Device(boot(script(tmp_path, DUPTERM), deadline_s=DEADLINE_S, dev=True))
    d.type("", "None\n")
    d.type("", "typed 5" + PROMPT)
    d.type("os.dupterm(None) is term\r", "True" + PROMPT)
    d.type("term.out\r", "b'None\\ncopied\\n")


def test_mpremote_works_as_on_a_board(device: Device) -> None:
    assert device.mpremote("exec", "print(2 * 21)")[:2] == (0, "42\n")
    assert device.mpremote("resume", "eval", "x")[:2][0] == 1  # mpremote's first command reset what the script had made
    code, text, _ = device.mpremote("exec", "raise ValueError('no')")
    assert code == 1 and "ValueError: no" in text
    assert device.mpremote("soft-reset")[0] == 0


def test_mpremote_mounts_a_folder_of_the_host(device: Device, tmp_path: Path) -> None:
    folder = tmp_path / "host"
    folder.mkdir()
    (folder / "there.py").write_text("value = 'from the host'\n")
    code, text, _ = device.mpremote("mount", str(folder), "exec", "import there; print(there.value)")
    assert code == 0 and "from the host" in text
    write = "f = open('/remote/out.bin', 'wb'); f.write(bytes(range(256)) * 40); f.close()"
    assert device.mpremote("mount", str(folder), "exec", write)[0] == 0
    assert (folder / "out.bin").read_bytes() == bytes(range(256)) * 40
