# SPDX-License-Identifier: MIT
"""The Xen lab for real: Debian's Xen and dom0 under emulation, started, used by many at once, killed, started again."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from floe.errors import FloeError, NotFound, VmError
from floe.lab import assets
from floe.lab import boot as machines
from floe.lab.connection import SCRIPT_MAX, Record
from floe.qemu.commandline import QEMU
from floe.xenlab import lab, machine

BOOT_S = 300  # of a test that may download, build and take a snapshot


def floe(*words: str, stdin: bytes = b"", timeout: float = BOOT_S) -> subprocess.CompletedProcess[bytes]:
    argv = [str(Path(sys.executable).with_name("floe")), *words]
    return subprocess.run(argv, input=stdin, capture_output=True, timeout=timeout, check=False)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A lab of these tests alone; the cache is the user's."""
    with pytest.MonkeyPatch.context() as patch:
        # Longer than the 107 bytes that the path of a socket may have.
        folder = tmp_path_factory.mktemp("state" * 20)
        patch.setenv("XDG_STATE_HOME", str(folder))
        try:
            yield folder
        finally:
            machine.down(print)


@pytest.fixture
def up(home: Path) -> Record:
    """The lab, started if need be."""
    return machine.up(print)


# ---- before there is one ------------------------------------------------------------------------


def test_without_a_lab(home: Path) -> None:
    machine.down(print)
    assert not lab.is_up()
    for ask in (lambda: lab.connect("true"), lab.take_address, lambda: lab.forward("127.0.0.1", 1, "10.0.2.16", 1)):
        with pytest.raises(NotFound, match="the Xen lab is not up") as e:
            ask()
        assert e.value.hint == "floe lab xen up"
    down = floe("lab", "xen", "status")
    assert (down.returncode, down.stdout) == (127, b"down\n")
    assert json.loads(floe("lab", "xen", "status", "--json").stdout) == {"state": "down"}
    ran = floe("lab", "xen", "run", "true")
    assert ran.returncode == 127
    assert b"floe: the Xen lab is not up\n  try: floe lab xen up" in ran.stderr
    assert floe("lab", "xen", "down").returncode == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--memory", "99G"), b"from 32M to 16G"),
        (("--memory", "16M"), b"less than 32M (from 32M to 16G)"),
        (("--memory", "much"), b"--memory much:"),
    ],
)
def test_bad_options(home: Path, options: tuple[str, ...], words: bytes) -> None:
    done = floe("lab", "xen", "up", *options)
    assert done.returncode == 125
    assert words in done.stderr
    assert b"try: --memory 512M" in done.stderr


def test_without_qemu(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.down(print)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotFound, match="qemu-system-x86_64 is not installed") as e:
        machine.up(print)
    assert "apt-get install qemu-system-x86" in e.value.hint


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'qemu: invalid accelerator tcg' >&2; exit 1", "QEMU"),
        ("exec sleep 60", "QEMU's monitor does not answer"),
    ],
    ids=["refuses", "hangs"],
)
def test_a_qemu_that_does_not_start(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    machine.down(print)
    assets.bring(machine.DESIGN.recipe, print)  # while the real apt is there
    qemu = tmp_path / QEMU
    qemu.write_text(f'#!/bin/sh\n[ "$1" != --version ] || {{ echo "QEMU of a test"; exit 0; }}\n{script}\n')
    qemu.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(machines, "_START_S", 1.0)
    with pytest.raises(VmError, match=words) as e:
        machine.up(print)
    if "invalid" in script:
        assert "qemu: qemu: invalid accelerator tcg" in e.value.evidence
    assert not lab.is_up()
    assert not (lab.folder() / "starting").exists() or machine.down(print) is False


# ---- up -----------------------------------------------------------------------------------------


def test_up_run_down_and_up_again(home: Path) -> None:
    machine.down(print)
    first = floe("lab", "xen", "up")
    assert first.returncode == 0, first.stderr.decode()
    assert b"floe: the Xen lab is up (" in first.stderr
    assert b"is up already" in floe("lab", "xen", "up").stderr
    facts = json.loads(floe("lab", "xen", "status", "--json").stdout)
    assert (facts["state"], facts["guests"], facts["memory"]) == ("up", [], 1 << 30)
    assert facts["versions"]["xen"].startswith("4.17")
    process = lab.running().process
    other_size = floe("lab", "xen", "up", "--memory", "64M")
    assert other_size.returncode == 125
    assert b"the Xen lab is up already\n  try: floe lab xen down" in other_size.stderr

    assert floe("lab", "xen", "run", "cat", "/proc/xen/capabilities").stdout == b"control_d\n"
    listed = floe("lab", "xen", "run", "xl", "list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == [b"Name", b"Domain-0"]
    assert b"Xen version 4.17" in floe("lab", "xen", "log").stdout

    assert floe("lab", "xen", "down").returncode == 0
    assert not process.alive
    began = time.monotonic()
    again = floe("lab", "xen", "up")
    assert again.returncode == 0
    assert b"booting" not in again.stderr
    assert time.monotonic() - began < 30  # from the snapshot: about a second on an idle machine


def test_run_relays(up: Record) -> None:
    assert floe("lab", "xen", "run", "echo one; exit 7").returncode == 7
    assert floe("lab", "xen", "run", "sh", "-c", 'echo "$0"', "a  b'c").stdout == b"a  b'c\n"
    assert floe("lab", "xen", "run", "echo to stderr >&2").stdout == b"to stderr\n"
    broken = floe("lab", "xen", "run", "echo 'x")
    assert broken.returncode == 2
    assert b"unterminated quoted string" in broken.stdout
    data = os.urandom(1 << 20)
    assert floe("lab", "xen", "run", "cat", stdin=data).stdout == data
    shell = floe("lab", "xen", "run", stdin=b"echo $((6 * 7))\nexit 3\n")
    assert b"42\n" in shell.stdout
    assert shell.returncode == 3


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_command(up: Record, number: int, code: int) -> None:
    argv = [str(Path(sys.executable).with_name("floe")), "lab", "xen", "run", "echo on; exec sleep 12345"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"on\n"
        process.send_signal(number)
        assert process.wait(30) == code
    assert lab.call("ps | grep -c '[s]leep 12345'").strip() == "0"


def test_the_time_in_dom0_is_right(up: Record) -> None:
    before = time.time()
    theirs = int(lab.call("date +%s"))
    assert before - 2 < theirs < time.time() + 1


# ---- scripts ------------------------------------------------------------------------------------


def read_all(sock: socket.socket) -> bytes:
    sock.settimeout(60)
    said = b""
    while data := sock.recv(1 << 16):
        said += data
    return said


def test_a_script_hears_the_end_of_its_input_and_speaks_on(up: Record) -> None:
    with lab.connect("n=$(wc -c); usleep 200000; echo $n; echo end") as sock:
        sock.sendall(bytes(300_000))
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b"300000\nend\n"


def test_a_script_cleans_up_after_its_connection_is_closed(up: Record) -> None:
    lab.connect("cat >/dev/null; echo lost; usleep 300000; echo lost; echo done >/tmp/cleaned").close()
    wait = "n=0; until [ -s /tmp/cleaned ] || [ $((n += 1)) -gt 100 ]; do usleep 100000; done; cat /tmp/cleaned"
    assert lab.call(wait) == "done\n"


def test_many_scripts_at_once(up: Record) -> None:
    said: dict[int, bytes] = {}

    def one(n: int) -> None:
        with lab.connect(f"read -r x; echo {n} $x", deadline_s=60) as sock:
            barrier.wait(120)  # all are connected
            sock.sendall(b"hello\n")
            said[n] = read_all(sock)

    barrier = threading.Barrier(32)
    threads = [threading.Thread(target=one, args=(n,)) for n in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(180)
    assert said == {n: b"%d hello\n" % n for n in range(32)}


def test_what_is_no_script(up: Record) -> None:
    for text in ("x" * (SCRIPT_MAX + 1), "echo \0"):
        with pytest.raises(FloeError, match="a script for dom0 has at most"):
            lab.connect(text)
    with lab.connect("exit 0 #" + "x" * (SCRIPT_MAX - 8)) as sock:
        assert read_all(sock) == b""


def test_nothing_runs_without_the_token(up: Record) -> None:
    record = lab.folder() / "lab.json"
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    for token in ("", "0" * 64, up.token[:-1], "*"):
        with socket.create_connection(("127.0.0.1", up.ports[0]), 10) as sock:
            script = b"echo ran; echo ran >/tmp/ran"
            sock.sendall(f"{token}\n{len(script)}\n".encode() + script)
            assert read_all(sock) == b""
    assert lab.call("[ -e /tmp/ran ] || echo none") == "none\n"


# ---- what is lent -------------------------------------------------------------------------------


def test_addresses_go_back_when_their_borrower_dies(up: Record) -> None:
    with lab.take_address() as a, lab.take_address() as b:
        assert a.text != b.text
        with pytest.raises(FloeError, match="is taken"):
            lab.take_address(int(a.text.rpartition(".")[2]))
        code = "from floe.xenlab import lab; x = lab.take_address(); print(x.text, flush=True); input()"
        with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            taken = int(other.stdout.readline().decode().strip().rpartition(".")[2])
            with pytest.raises(FloeError, match="is taken"):
                lab.take_address(taken)
            other.kill()
            other.wait()
        lab.take_address(taken).close()
    lab.take_address(int(a.text.rpartition(".")[2])).close()


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_forward(up: Record) -> None:
    ready = "until netstat -ltn | grep -q :7777; do usleep 50000; done; echo ready"
    with lab.connect(f"nc -l -p 7777 -e cat & {ready}; wait") as server:
        assert server.recv(10) == b"ready\n"
        port = free_port(socket.SOCK_STREAM)
        with lab.forward("127.0.0.1", port, lab.DOM0, 7777):
            with pytest.raises(FloeError, match=f"port {port} is forwarded to another"):
                lab.forward("127.0.0.1", port, lab.DOM0, 7778)
            with socket.create_connection(("127.0.0.1", port), 10) as sock:
                sock.sendall(b"through\n")
                sock.settimeout(10)
                assert sock.recv(100) == b"through\n"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 10)
    udp = free_port(socket.SOCK_DGRAM)
    with lab.forward("127.0.0.1", udp, lab.DOM0, 7777, "udp"):
        assert re_forwards("UDP", udp)
    assert not re_forwards("UDP", udp)


def re_forwards(kind: str, port: int) -> bool:
    return any(kind in line and f" {port} " in line for line in lab.monitor("info usernet").splitlines())


def test_what_is_sent_to_a_guest_that_is_gone_stays_in_the_lab(up: Record) -> None:
    """dom0 still has its Ethernet address. QEMU would take the frame, and talk to that address in the world outside."""
    assert "00:16:3e:00:00:99" in lab.call("arp -s 10.0.2.99 00:16:3e:00:00:99; arp -n")
    for address in (lab.GATEWAY, "10.0.2.99"):
        lab.call(f"timeout 2 nslookup floe.invalid {address}")
    talked = [line.split() for line in lab.monitor("info usernet").splitlines() if "UDP" in line]
    assert any(lab.GATEWAY in words for words in talked)
    assert not any("10.0.2.99" in words for words in talked)


def test_a_port_that_is_in_use(up: Record) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(FloeError, match="cannot forward port"):
            lab.forward("127.0.0.1", taken.getsockname()[1], lab.DOM0, 7777)


def test_a_forward_goes_when_its_borrower_dies(up: Record) -> None:
    port, other = free_port(socket.SOCK_STREAM), free_port(socket.SOCK_STREAM)
    code = f"from floe.xenlab import lab; import os; x = lab.forward('127.0.0.1', {port}, lab.DOM0, 80); os._exit(0)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert re_forwards("TCP", port)  # nobody has looked yet
    lab.forward("127.0.0.1", other, lab.DOM0, 80).close()
    assert not re_forwards("TCP", port)


# ---- ends ---------------------------------------------------------------------------------------


def test_a_lab_that_died_says_so_and_is_replaced(home: Path) -> None:
    record = machine.up(print)
    record.process.signal(signal.SIGKILL)
    wait_for_the_end(record)
    with pytest.raises(VmError, match="the Xen lab's QEMU has ended by itself") as e:
        lab.connect("true")
    assert "dom0: lab: up" in e.value.evidence
    status = floe("lab", "xen", "status")
    assert status.returncode == 126
    assert b"try: floe lab xen up" in status.stderr
    again = machine.up(print)
    assert again.process != record.process
    assert lab.call("echo fine") == "fine\n"


def wait_for_the_end(record: Record) -> None:
    deadline = time.monotonic() + 20
    while record.process.alive and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not record.process.alive


def test_a_dom0_that_does_not_answer_is_reported_with_the_log(up: Record) -> None:
    with lab.qmp() as monitor:
        monitor.execute("stop")
    try:
        with pytest.raises(VmError, match="does not take a script: no answer within 1 s") as e:
            lab.connect("true", deadline_s=1)
        assert "xen: (XEN)" in e.value.evidence
    finally:
        with lab.qmp() as monitor:
            monitor.execute("cont")
    assert lab.call("echo fine") == "fine\n"


def test_a_lab_of_another_version_is_ended(home: Path) -> None:
    old = machine.up(print)
    (lab.folder() / "lab.json").write_text(json.dumps({"process": msgspec.to_builtins(old.process), "other": 1}))
    assert not lab.is_up()
    assert machine.up(print).process != old.process
    assert not old.process.alive


def test_two_ups_at_once(home: Path) -> None:
    machine.down(print)
    argv = [str(Path(sys.executable).with_name("floe")), "lab", "xen", "up"]
    both = [subprocess.Popen(argv, stderr=subprocess.PIPE) for _ in range(2)]
    said = [process.communicate(timeout=BOOT_S)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum(b"starting Xen" in text for text in said) == 1
    assert floe("lab", "xen", "run", "echo", "one").stdout == b"one\n"


def test_a_snapshot_that_is_broken_is_taken_again(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.down(print)
    theirs = assets.bring(machine.DESIGN.recipe, print).folder
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    ours = tmp_path / "floe/lab" / theirs.name
    for path in theirs.rglob("*"):
        copy = ours / path.relative_to(theirs)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.name == "state":
            copy.write_bytes(path.read_bytes()[:5000])
        elif path.is_file():
            copy.hardlink_to(path)
    mended = floe("lab", "xen", "up")
    assert mended.returncode == 0, mended.stderr.decode()
    assert b"the snapshot does not start; taking another" in mended.stderr
    assert b"building" not in mended.stderr
    machine.down(print)
