# SPDX-License-Identifier: MIT
"""tools/floe/fleet/vms.py and store.py, by `floe run --host -d`, ps, logs, stop and rm: VMs of real libvirts, with KVM
where there is any and without; what others have there stays as it is, and what fails leaves nothing behind."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from floe.cli import main
from floe.fleet import connection, console, domain, mark, store
from floe.fleet.binding import binding
from floe.fleet.mark import Mark
from floe.fleet.vms import Order, Vms
from floe.spec.vmspec import VmSpec
from tests.support import hostedvms, libvirthosts
from tests.support.hostedvms import LOOP, Build, Hosted
from tests.support.libvirthosts import EAST, WEST, LibvirtHosts
from tests.support.nobody import error_for_nobody

FOREIGN = """<domain type='qemu'><name>foreign</name><memory unit='MiB'>16</memory><os><type arch='x86_64'
machine='q35'>hvm</type></os></domain>"""


@pytest.fixture
def floe(known: LibvirtHosts, capsys: pytest.CaptureFixture[str]) -> Iterator[Hosted]:
    yield from hostedvms.hosted(known, capsys)


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory, build: Build) -> Path:
    script = tmp_path_factory.mktemp("app") / "loop.py"
    script.write_text(LOOP)
    return build(script)


def until_it_says(floe: Hosted, host: str, name: str, text: str) -> str:
    end = time.monotonic() + 20
    while text not in (said := floe("logs", "--host", host, name)):
        assert time.monotonic() < end, said
        time.sleep(0.1)
    return said


def test_a_life(floe: Hosted, loop: Path, accel: str, tmp_path: Path) -> None:
    words = ("-e", "COLOUR=green", "--accel", accel, loop, "--", "a b")
    assert floe("run", "--host", EAST, "-d", "--name", "one", *words) == "one\n"
    assert "host    east" in floe.said
    assert until_it_says(floe, EAST, "one", "up") == "up ['a b'] green\n"
    (vm,) = floe.ps(EAST, WEST)
    assert (vm["name"], vm["host"], vm["state"], vm["accel"]) == ("one", EAST, "running", accel)
    assert not [name for name in floe.files(EAST) if ".handed" in name]  # QEMU has read it
    floe("rm", "--host", EAST, "one", code=125)
    assert f"one is running on {EAST}" in floe.said and f"floe stop --host {EAST} one" in floe.said
    assert floe("stop", "--host", EAST, "one") == "one\n"
    assert floe.said == "floe: one ended (7, exit)\n"
    assert floe("logs", "--host", EAST, "one").endswith("bye\n")
    assert floe.ps(EAST, everything=False) == []
    (vm,) = floe.ps(EAST)
    assert (vm["state"], vm["exit_code"], vm["cause"]) == ("ended", 7, "exit")
    floe("run", "--host", EAST, "-d", "--name", "one", loop, code=125)
    assert floe.said.startswith(f"floe: --name one: there is a VM that has ended of that name on {EAST}\n")
    floe("start", "--host", EAST, "one", code=125)  # with variables
    assert floe.said.startswith("floe: one was handed variables or secrets, which east does not keep\n")
    assert floe("rm", "--host", EAST, "one") == "one\n"
    assert floe.ps(EAST) == [] and floe.files(EAST) == []
    floe("logs", "--host", EAST, "one", code=127)


def test_who_does_not_end(floe: Hosted, tmp_path: Path, build: Build) -> None:
    script = tmp_path / "stubborn.py"
    script.write_text(
        "import micropython, time\nmicropython.kbd_intr(-1)\nprint('up')\nwhile True:\n    time.sleep(1)\n"
    )
    floe("run", "--host", WEST, "-d", build(script))
    until_it_says(floe, WEST, "stubborn", "up")
    floe("stop", "--host", WEST, "--timeout", "0.5", "stubborn")
    assert floe.said == "floe: stubborn ended (130, interrupt)\n"
    assert floe("start", "--host", WEST, "stubborn") == "stubborn\n"
    assert floe.ps(WEST)[0]["state"] == "running"
    until_it_says(floe, WEST, "stubborn", "up\nup\n")


@pytest.mark.alone
def test_several_on_both(floe: Hosted, loop: Path) -> None:
    for host in (EAST, WEST):
        assert [floe("run", "--host", host, "-d", loop) for _ in range(2)] == ["loop\n", "loop-2\n"]
    both = ["loop", "loop-2"]
    began = time.monotonic()
    found = floe.ps(EAST, WEST)
    assert time.monotonic() - began < 2  # of two ssh's; docs/hosts.md has the time
    assert [(vm["host"], vm["name"]) for vm in found] == [(host, name) for host in (EAST, WEST) for name in both]
    digest = hashlib.sha256(loop.read_bytes()).hexdigest()
    images = floe.hosts.run(EAST, "bash", "-c", "cd /var/lib/libvirt/floe && sha256sum *.elf").splitlines()
    assert [line.split()[1] for line in images if line.startswith(digest)] == [f"{digest}.elf"]  # brought there once


def test_by_the_environment(floe: Hosted, loop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOE_HOST", WEST)
    assert floe("run", "-d", loop) == "loop\n"
    assert "west" in floe("ps")
    floe("mount", "loop", ".", "exec", "1", code=125)
    assert floe.said.startswith("floe: FLOE_HOST=west: floe mount is for VMs of this machine\n")
    floe("rm", "-f", "loop")


def test_another_s_domain(floe: Hosted, loop: Path) -> None:
    with connection.open(EAST) as host:
        host.ask(lambda c: c.defineXML(FOREIGN))
        try:
            assert floe.ps(EAST) == []
            for words in (["stop"], ["rm", "--force"], ["logs"], ["exec"]):
                more = ["1"] if words == ["exec"] else []
                floe(*words, "--host", EAST, "foreign", *more, code=125)
                assert "foreign is a domain on east that floe has not made, and does not touch" in floe.said
            floe("run", "--host", EAST, "-d", "--name", "foreign", loop, code=125)
            assert "foreign is a domain on east that floe has not made" in floe.said
            assert host.ask(lambda c: c.lookupByName("foreign").UUIDString())
        finally:
            host.ask(lambda c: c.lookupByName("foreign").undefine())


def test_half_an_upload_is_not_booted(floe: Hosted, loop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with connection.open(WEST) as host:
        vms = Vms(host)
        path, digest = vms.store.bring(loop.read_bytes())
        host.ask(lambda c: vms.store.forget(c, [f"{digest}.whole"]))
        floe.hosts.run(WEST, "truncate", "--size", "1000", path)
        floe.hosts.run(WEST, "touch", "--date", "1 minute ago", path)
        assert vms.store.bring(loop.read_bytes()) == (path, digest)
        assert floe.hosts.run(WEST, "sha256sum", path).split()[0] == digest
        host.ask(lambda c: vms.store.forget(c, [f"{digest}.elf"]))
        assert vms.store.bring(loop.read_bytes()) == (path, digest)
        monkeypatch.setattr(store, "_upload", lambda *words: pytest.fail("it is there"))
        assert vms.store.bring(loop.read_bytes()) == (path, digest)


def test_what_does_not_start_leaves_nothing(floe: Hosted, tmp_path: Path, build: Build) -> None:
    script = tmp_path / "served.py"
    script.write_text("import socket\nsocket.socket()\nprint('up')\n")
    app = build(script)
    floe.hosts.run(
        EAST,
        "bash",
        "-c",
        "python3 -m http.server --bind 127.0.0.1 8099 >/dev/null 2>&1 & echo $! >/run/taken; sleep 1",
    )
    floe("run", "--host", EAST, "-d", "-p", "8099:80", app, code=126)
    assert floe.said.startswith("floe: -p 8099:80: the port is in use on east, or")
    assert floe.ps(EAST) == [] and floe.files(EAST) == []
    floe.hosts.run(EAST, "bash", "-c", "kill $(cat /run/taken)")
    floe("run", "--host", EAST, "-d", "--name", "a", "--net", "bridge:nobridge", app, code=126)
    assert "nobridge" in floe.said
    assert floe.ps(EAST) == [] and floe.files(EAST) == []


def test_a_full_disk(
    tmp_path: Path, loop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with libvirthosts.in_namespaces(tmp_path, ("small",), "200k") as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        floe = Hosted(made, capsys)
        floe("run", "--host", "small", "-d", loop, code=126)
        assert floe.said.startswith("floe: the disk of small is full")
        assert floe.ps("small") == [] and floe.files("small") == []
        assert "elf" not in made.run("small", "ls", "/var/lib/libvirt/floe")
        disk = tmp_path / "disk"
        disk.write_bytes(os.urandom(1 << 20))
        floe("host", "disk", "push", "small", disk, code=126)
        assert floe.said.startswith("floe: the disk of small is full") and floe.files("small") == []


def test_a_host_without_qemu(
    tmp_path: Path, loop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with libvirthosts.in_namespaces(tmp_path, ("bare",)) as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        qemu = made.run("bare", "readlink", "-f", "/usr/bin/qemu-system-x86_64").strip()
        made.run("bare", "mount", "--bind", "/dev/null", qemu)
        floe = Hosted(made, capsys)
        floe("run", "--host", "bare", "-d", loop, code=126)
        assert floe.said.startswith("floe: bare: libvirt finds no QEMU there: "), floe.said
        assert "install" in floe.said and "restart libvirtd" in floe.said
        assert floe.ps("bare") == [] and floe.files("bare") == []


@pytest.mark.parametrize(("words", "message"), [
    (["--console-port", "0", "-d"], "--console-port: not on another host"),
    (["--restart", "always", "-d"], "--restart always: nobody restarts it on another host"),
    (["--stamps"], "--stamps: not on another host yet"),
    (["--hypervisor", "xen"], "--hypervisor xen: not on another host yet"),
    (["--timeout", "1", "-d"], "--timeout: a detached VM is ended by"),
    (["--name", "x"], "--name is for a detached VM"),
    (["--machine", "pc"], "--machine pc: not on another host yet"),
])  # fmt: skip
def test_no_option_is_ignored(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["run", "--host", EAST, *words, "x.py"]) == 125
    assert capsys.readouterr().err.startswith(f"floe: {message}")


def test_two_bring_one_image_at_once(floe: Hosted, tmp_path: Path) -> None:
    content = os.urandom(3 << 20)
    with connection.open(WEST) as one, connection.open(WEST) as two, ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda host: Vms(host).store.bring(content), (one, two)))
    assert found[0] == found[1]
    assert floe.hosts.run(WEST, "sha256sum", found[0][0]).split()[0] == found[0][1]
    assert [name for name in floe.files(WEST) if name.endswith(".now")] == []


def test_two_make_the_pool_at_once(floe: Hosted) -> None:
    """Neither meets what the other one has not finished."""
    gone = "virsh pool-destroy floe; virsh pool-undefine floe; rm -rf /var/lib/libvirt/floe"
    with connection.open(WEST) as one, connection.open(WEST) as two, ThreadPoolExecutor(2) as pool:
        for _ in range(6):
            floe.hosts.run(WEST, "bash", "-c", gone)
            found = list(pool.map(lambda host: host.ask(Vms(host).store.folder), (one, two)))
            assert found == ["/var/lib/libvirt/floe"] * 2


def test_what_nobody_needs_is_removed(floe: Hosted, loop: Path) -> None:
    floe("run", "--host", EAST, "-d", "--name", "one", loop)
    folder = "/var/lib/libvirt/floe"
    left, fresh = "0c2e7a34-27b1-4b5c-9d10-000000000001", "0c2e7a34-27b1-4b5c-9d10-000000000002"
    made = " ".join((*("0" * 64 + end for end in (".elf", ".whole")), "1" * 64 + ".elf", "2" * 64 + ".elf"))
    floe.hosts.run(
        EAST, "bash", "-c", f"cd {folder}; for f in {made} {left}.console {fresh}.console mine; do echo > $f; done"
    )
    lives = floe.ps(EAST)[0]["uuid"]
    floe.hosts.run(EAST, "bash", "-c", f"cd {folder}; touch {lives}.state {lives}.handed0 {fresh}.state")
    states = (f"{lives}.state", f"{lives}.handed0")
    old = ("1" * 64 + ".elf", f"{left}.console", "mine", *states)
    floe.hosts.run(EAST, "bash", "-c", f"cd {folder}; touch -d '1 hour ago' {' '.join(old)}")
    assert floe("host", "gc", EAST) == "east\n"
    names = floe.hosts.run(EAST, "ls", folder).split()
    assert len([name for name in names if name.endswith(".whole")]) == 1
    assert [name for name in names if name.startswith(("0" * 64, "1" * 64, left))] == []
    assert [name for name in states if name in names] == []
    assert {"2" * 64 + ".elf", f"{fresh}.console", f"{fresh}.state", f"{lives}.console", "mine"} <= set(names)
    assert floe.ps(EAST)[0]["state"] == "running"
    floe("rm", "-f", "--host", EAST, "one")
    floe("host", "gc", EAST)
    assert [name for name in floe.hosts.run(EAST, "ls", folder).split() if name.endswith(".whole")] == []
    floe.hosts.run(EAST, "bash", "-c", f"cd {folder}; rm -f {fresh}.* mine {'2' * 64}.elf")


def test_what_ends_while_libvirt_starts_it_has_run(floe: Hosted, build: Build, tmp_path: Path) -> None:
    """libvirt ends a QEMU whose guest has, and on a busy host it does while it waits for that QEMU."""
    script = tmp_path / "seven.py"
    script.write_text("import sys\nprint('up')\nsys.exit(7)\n")
    image = build(script).read_bytes()
    spec = VmSpec(script, name="quick", uuid=str(uuid.uuid4()), cards=())

    def told_that_it_failed(connected: Any, dom: Any) -> None:
        dom.create()
        while dom.isActive():
            time.sleep(0.05)
        raise binding().libvirtError("qemu-system-x86_64: terminating on signal 15 from pid 20 (libvirtd)")

    order = Order(spec, image, Mark(app="quick", profile="sealed", image="", memory=0), begin=told_that_it_failed)
    with connection.open(EAST, deadline_s=20) as host:
        there = Vms(host).start(order)
    assert (there.code, there.cause) == (7, "exit")
    assert floe("logs", "--host", EAST, "quick") == "up\n"


def test_as_an_ordinary_user(build: Build, tmp_path: Path) -> None:
    """By the user's own libvirt."""
    script = tmp_path / "seven.py"
    script.write_text("import sys\nprint('up', sys.argv[1])\nsys.exit(7)\n")
    image = build(script).read_bytes()
    mark.digest_of(str(uuid.uuid4()), "", {"a": b""})  # what is loaded late may lie where nobody cannot read

    def life() -> None:
        with connection.open("here", deadline_s=20) as host:
            vms = Vms(host)
            spec = VmSpec(script, name="a", uuid=str(uuid.uuid4()), cards=(), args=("there",))
            vms.start(Order(spec, image, Mark(app="a", profile="sealed", image="", memory=0)))
            assert vms.wait("a", 60).code == 7
            assert host.ask(console.Log(vms.store, spec.uuid + domain.CONSOLE).news) == b"up there\n"
            vms.remove("a", force=False)
            assert vms.collect() > len(image) - 1

    with libvirthosts.of_a_user() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setenv("PATH", f"{os.environ['PATH']}:{libvirthosts.SBIN}")
        patch.delenv("LD_PRELOAD", raising=False)
        assert error_for_nobody(life) == (0, "")
