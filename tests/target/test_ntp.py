# SPDX-License-Identifier: MIT
"""frozen/lib/ntptime.py against servers that tell the time, lie, refuse or are silent, and against chronyd."""

from __future__ import annotations

import os
import re
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from floe.testing import Boot

GUEST = Path(__file__).resolve().parent / "guests" / "guest_ntp.py"
EPOCH = 2208988800

Reply = Callable[[bytes], list[bytes]]


def stamp(seconds: float) -> int:
    return int((seconds + EPOCH) * 2**32) & (2**64 - 1)


def answer(query: bytes, **other: object) -> bytes:
    """A good reply, with what the test wants otherwise."""
    field = {
        "first": 0x24,
        "stratum": 2,
        "delay": 0,
        "dispersion": 0,
        "reference": b"\x7f\x00\x00\x01",
        "originate": query[40:48],
        "received": stamp(time.time()),
        "sent": stamp(time.time()),
    } | other
    return struct.pack(
        ">BBbbII4sQ8sQQ", field["first"], field["stratum"], 6, -20, field["delay"], field["dispersion"],
        field["reference"], stamp(time.time()), field["originate"], field["received"], field["sent"],
    )  # fmt: skip


FUTURE = 2**31 * 2 - EPOCH + 1000  # the second NTP era, from 2036-02-07 on
GOOD: dict[str, Reply] = {
    "good": lambda q: [answer(q)],
    "version3": lambda q: [answer(q, first=0x1C)],
    "extended": lambda q: [answer(q) + bytes(20)],
    "leap": lambda q: [answer(q, first=0x64)],
    "strangers": lambda q: [answer(q, originate=bytes(8), received=1, sent=1), q, b"", answer(q)[:47], answer(q)],
    "time": lambda q: [answer(q)],
    "era": lambda q: [answer(q, received=stamp(FUTURE), sent=stamp(FUTURE))],
}
BAD: dict[str, tuple[Reply, str]] = {
    "own": (lambda q: [answer(q, first=0x23)], "not a server's answer"),
    "broadcast": (lambda q: [answer(q, first=0x25)], "not a server's answer"),
    "version7": (lambda q: [answer(q, first=0x3C)], "not a server's answer"),
    "rate": (lambda q: [answer(q, stratum=0, reference=b"RATE")], "refused: RATE"),
    "deny": (lambda q: [answer(q, stratum=0, reference=b"D\x00N\xff")], "refused: D?N?"),
    "alarm": (lambda q: [answer(q, first=0xE4)], "the server has no time itself"),
    "stratum16": (lambda q: [answer(q, stratum=16)], "the server has no time itself"),
    "unset": (lambda q: [answer(q, sent=0)], "the server has no time itself"),
    "unreceived": (lambda q: [answer(q, received=0)], "the server has no time itself"),
    "dispersed": (lambda q: [answer(q, dispersion=17 << 16)], "the server's time is vague"),
    "delayed": (lambda q: [answer(q, delay=0xFFFFFFFF)], "the server's time is vague"),
    "backwards": (lambda q: [answer(q, sent=stamp(time.time() - 1))], "the server answered before it was asked"),
    "longer": (lambda q: [answer(q, received=stamp(time.time() - 90))], "the server answered before it was asked"),
}
SILENT: dict[str, Reply] = {
    "silent": lambda q: [],
    "forged": lambda q: [answer(q, originate=bytes(8))],
    "short": lambda q: [answer(q)[:40]],
}


@contextmanager
def server(reply: Reply, family: socket.AddressFamily = socket.AF_INET) -> Iterator[int]:
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))

        def serve() -> None:
            with suppress(OSError):
                while True:
                    query, sender = s.recvfrom(1024)
                    ours = len(query) == 48 and query[0] == 0x23 and query[1:40] == bytes(39) and any(query[40:])
                    for packet in reply(query) if ours else []:
                        s.sendto(packet, sender)

        threading.Thread(target=serve, daemon=True).start()
        yield s.getsockname()[1]


def run(boot: Boot, *args: str) -> dict[str, list[str]]:
    vm = boot(GUEST, deadline_s=90, args=args)
    assert vm.wait() == 0
    assert vm.console_text.endswith("the end\n")
    assert "PANIC" not in vm.console_text
    return {line.split()[0]: line.split(" ", 1)[1:] for line in vm.console_text.splitlines()}


def assert_right(said: list[str], before: float) -> None:
    match = re.fullmatch(r"set (\d+)", said[0])
    assert match, said
    assert before - 0.1 <= int(match[1]) / 1e6 <= time.time() + 0.1


def test_servers(boot: Boot) -> None:
    with ExitStack() as stack:
        args = []
        for name, reply in (GOOD | {name: reply for name, (reply, _) in BAD.items()} | SILENT).items():
            args.append(f"{name}=4{stack.enter_context(server(reply))}")
        try:
            args.append(f"six=6{stack.enter_context(server(GOOD['good'], socket.AF_INET6))}")
        except OSError:
            print("SKIP: this host has no ::1")
        before = time.time()
        said = run(boot, *args)
    for name in GOOD.keys() - {"time", "era"}:
        assert_right(said[name], before)
    if any(arg.startswith("six=") for arg in args):
        assert_right(said["six"], before)
    told, year = map(int, said["time"][0].split())
    assert before - 2 <= told <= time.time() + 2
    assert year == 2031  # time() sets nothing
    assert abs(int(said["era"][0].split()[1]) / 1e6 - FUTURE) < 60
    for name, (_, words) in BAD.items():
        assert said[name] == [f"NTPError {words} 2031"], name
    for name in SILENT:
        assert said[name] == ["OSError 110 2031"], name


@pytest.fixture(scope="module")
def chronyd(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Debian's chronyd; unpacked, not installed, where it is missing: its package would replace the host's own."""
    installed = shutil.which("chronyd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if installed is not None:
        return installed
    folder = tmp_path_factory.mktemp("chrony")
    script = "apt-get -q download chrony && dpkg-deb -x chrony_*.deb . && ./usr/sbin/chronyd -v"
    done = subprocess.run(script, shell=True, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        pytest.skip(f"SKIP: no chronyd: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    return str(folder / "usr/sbin/chronyd")


def test_chronyd(boot: Boot, chronyd: str, tmp_path: Path) -> None:
    """A real server, on a port that needs no rights, with the host's own clock as its source."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = tmp_path / "chrony.conf"
    config.write_text(
        f"port {port}\nbindaddress 127.0.0.1\ncmdport 0\nlocal stratum 5\nallow 127.0.0.1\n"
        f"pidfile {tmp_path}/pid\nbindcmdaddress /\n"
    )
    argv = [chronyd, "-d", "-x", "-U", "-u", "root", "-f", str(config)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as daemon:
        before = time.time()
        try:
            said = run(boot, *(f"chrony{n}=4{port}" for n in range(3)))
        finally:
            daemon.terminate()
            print(daemon.stderr.read() if daemon.stderr else "")
    for n in range(3):
        assert_right(said[f"chrony{n}"], before)
