# SPDX-License-Identifier: MIT
"""What goes wrong on a host while a VM serves: its process is stopped, a clock jumps, a link, a card's backend and a disk
fail, room and memory run out. Requests that need none of it go on, and what was acknowledged stays."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from littlefs import LittleFS

from floe.qemu import commandline
from floe.qemu import words as qemu_words
from floe.testing import Boot, Guest
from tests.support.fixtures import SmallDisk
from tests.support.spaces import spaces

GUEST = Path(__file__).resolve().parent / "guests" / "guest_faults.py"
DEADLINE_S = 60
STOPPED_S = 5.0
LINK_DOWN_S = 1.5
EIO = 5  # virtio-blk knows no other (VIRTIO_BLK_S_IOERR)
FILES = 60
LIMIT = 64 << 20  # the guest has the half of it
BLOCK = 16384  # of littlefs on a disk of 4 MiB (docs/disks.md)


class Client:
    """One connection, which stays."""

    def __init__(self, vm: Guest, port: int = 80) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", vm.ports[port], timeout=DEADLINE_S)

    def __call__(self, path: str) -> str:
        self._connection.request("GET", path)
        return self._connection.getresponse().read().decode()

    def clocks(self) -> tuple[int, int]:
        """Milliseconds: since some time, and of the wall clock."""
        _, ticks, wall = self("/clocks").split()
        return int(ticks), int(wall)


def serving(boot: Boot, **options: object) -> Guest:
    vm = boot(GUEST, deadline_s=DEADLINE_S, ports=[80], **options)  # type: ignore[arg-type]  # each is boot()'s own
    vm.expect_exact("serving")
    return vm


@contextmanager
def load(vm: Guest, seconds: int) -> Iterator[None]:
    """Requests all the while, of which none may fail or wait for longer than a fault here lasts."""
    url = f"http://127.0.0.1:{vm.ports[80]}/page"
    argv = ["wrk", "-t2", "-c4", f"-d{seconds}s", "--timeout", "20s", "--latency", url]
    wrk = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield
        said, _ = wrk.communicate(timeout=seconds + 30)
    finally:
        wrk.kill()
        wrk.wait()
    print(said)
    assert "requests in" in said
    assert "Socket errors" not in said and "Non-2xx" not in said


def well(vm: Guest) -> None:
    """It ends in order, and has said nothing else."""
    vm.stop()
    assert vm.outcome is not None
    assert vm.console_text.replace("\r\n", "\n").startswith("serving\n")
    assert "PANIC" not in vm.console_text and "OSError" not in vm.console_text


def started_by(words: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell runs these words before it becomes QEMU."""
    qemu = folder / commandline.QEMU
    qemu.write_text(f'#!/bin/sh\n{words}\nexec {commandline.find_qemu()} "$@"\n')
    qemu.chmod(0o755)
    monkeypatch.setenv(commandline.CHOICE, str(qemu))


# ---- time ---------------------------------------------------------------------------------------------


def test_the_process_is_stopped_under_load(boot: Boot) -> None:
    vm = serving(boot)
    kept = Client(vm)
    first, begin = kept.clocks(), time.monotonic()
    with load(vm, 7):
        time.sleep(1)
        os.kill(vm.pid, signal.SIGSTOP)
        try:
            time.sleep(STOPPED_S)
        finally:
            os.kill(vm.pid, signal.SIGCONT)
        resumed = time.monotonic()
        second = kept.clocks()
        assert time.monotonic() - resumed < 5
    passed = (time.monotonic() - begin) * 1000
    assert STOPPED_S * 1000 <= second[0] - first[0] <= passed + 100
    assert abs(second[1] - time.time() * 1000) < 3000
    assert Client(vm)("/page") == "ok"
    well(vm)


SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long jumped(void) { return access(getenv("FLOE_TEST_JUMP"), F_OK) == 0 ? JUMP : 0; }

int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (real == NULL) {
        real = dlsym(RTLD_NEXT, "clock_gettime");
    }
    int result = real(id, now);
    if (id == CLOCK_REALTIME) {
        now->tv_sec += jumped();
    }
    return result;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec precise;
    (void)zone;
    int result = clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return result;
}

time_t time(time_t *now) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (now != NULL) {
        *now = precise.tv_sec;
    }
    return precise.tv_sec;
}
"""


@pytest.mark.parametrize("jump_s", [3600, -3600])
def test_the_host_s_clock_jumps(boot: Boot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump_s: int) -> None:
    """Of the hypervisor's process alone, by a library before libc. The guest took its wall clock at its start, and counts: what
    happens to the host's afterwards reaches neither its clocks nor a wait (ntptime is for that)."""
    source, library, flag = tmp_path / "shim.c", tmp_path / "shim.so", tmp_path / "jump"
    source.write_text(SHIM)
    subprocess.run(
        ["gcc", "-shared", "-fPIC", f"-DJUMP={jump_s}", "-o", library, source, "-ldl"], check=True, timeout=60
    )
    started_by(f"export FLOE_TEST_JUMP={flag} LD_PRELOAD={library}", tmp_path, monkeypatch)
    vm = serving(boot)
    ask = Client(vm)
    begin, first = time.monotonic(), ask.clocks()
    with load(vm, 1):
        flag.touch()
    assert str(library) in Path(f"/proc/{vm.pid}/maps").read_text()
    second, passed = ask.clocks(), (time.monotonic() - begin) * 1000
    assert 1000 <= second[0] - first[0] <= passed + 100
    assert abs((second[1] - first[1]) - (second[0] - first[0])) < 100
    well(vm)


# ---- the network --------------------------------------------------------------------------------------


def set_link(vm: Guest, *, up: bool) -> None:
    """Pull or plug the cable of the first card, by QMP."""
    commands = vm._hypervisor._copying.commands  # type: ignore[attr-defined]  # QEMU's, here
    vm.loop.run_until_complete(commands.ask("set_link", {"name": "net0", "up": up}))


@pytest.mark.any_accel
def test_a_link_goes_down_under_load(boot: Boot) -> None:
    """Requests wait for it to be up again, on the connections that they had."""
    vm = serving(boot)
    kept = Client(vm)
    assert kept("/page") == "ok"
    with load(vm, 4):
        time.sleep(0.5)
        set_link(vm, up=False)
        time.sleep(LINK_DOWN_S)
        set_link(vm, up=True)
    assert kept("/page") == "ok"
    well(vm)


@pytest.mark.any_accel
def test_a_tap_is_removed(boot: Boot) -> None:
    """A card without a backend: the VM serves by its other one."""
    with spaces("gone") as (space,):
        vm = serving(boot, net=["user", f"tap:{space.tap},ip=10.9.0.2/24"])
        space.join("10.9.0.1/24")
        page = "http://10.9.0.2/page"
        assert space.run("curl", "-sS", "-m", "10", page) == "ok"
        with load(vm, 2):
            space.ip("link", "del", space.tap)
        assert Client(vm)("/page") == "ok"
        well(vm)


# ---- the disk -----------------------------------------------------------------------------------------


def failing(kind: str, errno: int, first: int, count: int) -> Callable[[object, int], str]:
    """A disk of which the accesses of a kind fail, from the first-th on and so many: blkdebug counts them by its states,
    whose events are told by the raw format above it."""
    event = f"{kind}_aio"

    def blockdev(disk: object, index: int) -> str:
        states = [{"event": event, "state": n, "new_state": n + 1} for n in range(1, first + count)]
        rule = {"event": event, "iotype": kind, "errno": errno, "once": True, "immediately": True}
        rules = [rule | {"state": n} for n in range(first, first + count)]
        file = {"driver": "file", "filename": str(disk.path)}  # type: ignore[attr-defined]  # a Disk
        debug = {"driver": "blkdebug", "image": file, "set-state": states, "inject-error": rules}
        return json.dumps({"driver": "raw", "node-name": f"disk{index}", "file": debug})

    return blockdev


@pytest.mark.any_accel
@pytest.mark.parametrize(("kind", "errno", "first"), [("write", 5, 60), ("write", 28, 60), ("read", 5, 200)])
def test_a_disk_fails_for_a_while_under_load(
    boot: Boot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, errno: int, first: int
) -> None:
    """An access that fails is an error of the one request that needed it. What was written before and afterwards is there."""
    monkeypatch.setattr(qemu_words, "blockdev", failing(kind, errno, first, 4))
    image = tmp_path / "disk"
    vm = serving(boot, disks=[f"{image}:size=4M"])
    ask = Client(vm)
    with load(vm, 1):
        wrote = [ask(f"/write/{n}") for n in range(FILES)]
    kept = [n for n, answer in enumerate(wrote) if answer == "ok"]
    read = [ask(f"/read/{n}") for n in kept]
    print(wrote, read)
    assert set(wrote) == {"ok", str(EIO)} and len(kept) >= FILES - 4
    assert set(read) == {"ok"}
    well(vm)
    holds(image, kept)


def holds(image: Path, kept: list[int]) -> None:
    """The host finds what the guest said it had written."""
    fs = LittleFS(block_size=BLOCK, block_count=image.stat().st_size // BLOCK, mount=False)
    fs.context.buffer = bytearray(image.read_bytes())
    fs.mount()
    for n in kept:
        with fs.open(f"r-{n}", "rb") as f:
            assert f.read().startswith(b"record %d record" % n)


@pytest.mark.any_accel
def test_the_host_s_disk_is_full(boot: Boot, small_disk: SmallDisk) -> None:
    """Files of the guest's disk take room where they are written. Without room a write fails, and no more; with room
    it does no longer."""
    with small_disk("2M") as folder:
        filler, image = folder / "filler", folder / "disk"
        filler.write_bytes(bytes(1 << 20))
        vm = serving(boot, disks=[f"{image}:size=4M"])
        ask = Client(vm)
        kept = [n for n in range(10) if ask(f"/write/{n}") == "ok"]
        assert len(kept) == 10
        with load(vm, 1):
            filled = [ask(f"/fill/{n}") for n in range(24)]
            assert filled[0] == "ok" and filled[-1] == str(EIO) and set(filled) == {"ok", str(EIO)}
            assert {ask(f"/read/{n}") for n in kept} == {"ok"}
            filler.unlink()
            assert ask("/write/10") == "ok"
        well(vm)
        holds(image, [*kept, 10])


# ---- memory -------------------------------------------------------------------------------------------


@contextmanager
def memory_group(limit: int) -> Iterator[Path]:
    """A control group whose processes may have so many bytes, page cache included: cgroup v1, as v2 counts otherwise."""
    group = Path("/sys/fs/cgroup/memory") / f"floe-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as e:
        pytest.skip(f"SKIP: no control group for memory: {e.strerror}")
    try:
        (group / "memory.limit_in_bytes").write_text(str(limit))
        yield group
    finally:
        end = time.monotonic() + 10
        while (group / "cgroup.procs").read_text() and time.monotonic() < end:  # of a VM that is still ending
            time.sleep(0.05)
        group.rmdir()


@contextmanager
def member(group: Path) -> Iterator[None]:
    """What is started is of this group: QEMU, confined, cannot join one."""
    own = next(
        line.split(":", 2)[2] for line in Path("/proc/self/cgroup").read_text().splitlines() if ":memory:" in line
    )
    join(group)
    try:
        yield
    finally:
        join(group.parent / own.lstrip("/"))


def join(group: Path) -> None:
    (group / "cgroup.procs").write_text(str(os.getpid()))


@pytest.mark.any_accel
def test_the_host_has_no_memory_to_spare(boot: Boot, tmp_path: Path) -> None:
    """What QEMU shares a limit with takes all that is not held fast, for as long as requests come."""
    with memory_group(LIMIT) as group:
        with member(group):
            vm = serving(boot)
        hog = f"echo $$ > {group}/cgroup.procs; exec dd if=/dev/zero of={tmp_path}/hog bs=1M count={2 * LIMIT >> 20}"
        with load(vm, 2):
            subprocess.run(["sh", "-c", hog], check=True, timeout=60, capture_output=True)
        assert int((group / "memory.failcnt").read_text()) > 0
        assert str(vm.pid) in (group / "cgroup.procs").read_text().split()
        assert Client(vm)("/page") == "ok"
        well(vm)
