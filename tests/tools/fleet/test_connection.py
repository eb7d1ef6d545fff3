# SPDX-License-Identifier: MIT
"""tools/floe/fleet/connection.py: libvirts of this machine's are reached by ssh and by a socket, what cannot be reached
says why in one sentence, and nothing hangs. The libvirts are real ones (tests/support/libvirthosts.py)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from floe.errors import HostError, NotFound
from floe.fleet import binding, connection, why
from floe.hosts.table import LibvirtHost, SshHost
from tests.support import libvirthosts, sshhosts
from tests.support.libvirthosts import EAST, WEST, LibvirtHosts
from tests.support.nobody import error_for_nobody

GONE_S = 7.0  # 5, and a busy machine


def refused(name: str, *, deadline_s: float = connection.OPEN_S) -> HostError:
    with pytest.raises(HostError) as e:
        connection.open(name, deadline_s=deadline_s)
    return e.value


def test_asked_at_once(known: LibvirtHosts, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = dict(connection.ask_all((EAST, WEST), lambda h: h.ask(lambda c: c.getHostname())))
    assert found == {EAST: EAST, WEST: WEST}
    with connection.open(EAST) as host:
        with monkeypatch.context() as patch, pytest.raises(HostError, match="no domain with matching name") as e:
            patch.setattr(subprocess.Popen, "wait", lambda *words: pytest.fail("ssh is asked, and the line is there"))
            host.ask(lambda c: c.lookupByName("nobody"))
        assert e.value.code == 42  # VIR_ERR_NO_DOMAIN
        assert host.ask(lambda c: c.isAlive())
    assert capfd.readouterr() == ("", "")


@pytest.mark.alone
def test_a_call_that_hangs(known: LibvirtHosts) -> None:
    with connection.open(EAST) as host:
        pid = int(known.run(EAST, "cat", "/run/libvirtd.pid"))
        known.run(EAST, "kill", "-STOP", str(pid))
        try:
            began = time.monotonic()
            with pytest.raises(HostError, match=r"east does not answer within 0\.3 s") as e:
                host.ask(lambda c: c.getHostname(), deadline_s=0.3)
            assert time.monotonic() - began < 1
            assert e.value.hint.endswith(f"-- {EAST} true")
            with pytest.raises(HostError):
                host.ask(lambda c: c.getHostname(), deadline_s=1)
            assert refused(EAST, deadline_s=1).message == "east does not answer within 1 s"
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
            with pytest.raises(KeyboardInterrupt):
                connection.open(EAST)
        finally:
            known.run(EAST, "kill", "-CONT", str(pid))
    connection.open(EAST).close()


def test_what_ssh_says(known: LibvirtHosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is one sentence, with the next step."""
    config = (known.folder / "ssh_config").read_text()
    changed = tmp_path / "ssh_config"
    monkeypatch.setenv("FLOE_SSH", f"ssh -F {changed}")

    def now(old: str, new: str) -> HostError:
        assert old in config
        changed.write_text(config.replace(old, new))
        return refused(EAST)

    e = now(f"IdentityFile {known.folder / 'id'}\n", f"IdentityFile {known.folder / 'wrong'}\n")
    assert e.message.startswith("east does not let us in: ") and "ssh-copy-id" in e.hint
    e = now(f"UserKnownHostsFile {known.folder / 'known'}", "UserKnownHostsFile none")
    assert e.message == "east is not trusted: ssh does not know its key"
    wrong = tmp_path / "known"
    wrong.write_text(f"{EAST} {(known.folder / 'wrong.pub').read_text()}")
    e = now(f"UserKnownHostsFile {known.folder / 'known'}", f"UserKnownHostsFile {wrong}")
    assert e.message == "east is not trusted: its key has changed"
    e = now(f"HostName {known.addresses[EAST]}", f"HostName {known.addresses[EAST].rpartition('.')[0]}.77")
    assert e.message.startswith("east is not reached: ") or e.message == "east does not answer within 10 s"
    monkeypatch.setenv("FLOE_SSH", "no-such-command")
    assert refused(EAST).message == "east: cannot start no-such-command: No such file or directory"
    monkeypatch.setenv("FLOE_SSH", "'")
    assert refused(EAST).message == "FLOE_SSH: No closing quotation"


def test_no_libvirtd_there(known: LibvirtHosts) -> None:
    known.run(WEST, "mv", "/run/libvirt/libvirt-sock", "/run/libvirt/away")
    try:
        e = refused(WEST)
        assert e.message.startswith("west: no libvirtd is running: ")
        assert "on west: sudo systemctl start libvirtd\n" in e.hint
    finally:
        known.run(WEST, "mv", "/run/libvirt/away", "/run/libvirt/libvirt-sock")


def test_no_libvirt_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    libvirthosts.need()
    with sshhosts.by_proxy(tmp_path / "hosts", LibvirtHosts) as plain:
        plain.add("bare", PATH="/nowhere")
        for name, value in plain.environment.items():
            monkeypatch.setenv(name, value)
        e = refused("bare")
    assert e.message == "bare has no libvirt" and "libvirt-daemon-system" in e.hint


def test_too_old(known: LibvirtHosts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "OLDEST", 99_001_002)
    e = refused(EAST)
    assert e.message.startswith("east has libvirt ") and e.message.endswith(", floe needs 99.1.2")


def test_a_host_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with libvirthosts.in_namespaces(tmp_path / "hosts", ("a", "b", "c")) as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        with connection.open("a") as a, connection.open("b") as b:
            made.kill("a")
            with pytest.raises(HostError, match=r"^a is (gone|not reached)"):
                a.ask(lambda c: c.getHostname())
            made.cut_off("b")
            began = time.monotonic()
            with ThreadPoolExecutor(1) as pool:
                asking = pool.submit(list, connection.ask_all(("a", "b", "c"), lambda h: h.name))
                with pytest.raises(HostError, match=r"^b is gone: .*keepalive"):
                    b.ask(lambda c: c.getHostname())
                assert time.monotonic() - began < GONE_S
                found = dict(asking.result())
            assert time.monotonic() - began < GONE_S
        assert found["c"] == "c"
        assert isinstance(found["a"], HostError) and isinstance(found["b"], HostError)


def test_a_user_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with libvirthosts.of_a_user() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

        def call() -> None:
            binding._ready.cache_clear()  # what turns its events stays in the parent
            with connection.open("here") as host:
                assert host.ask(lambda c: c.getURI()) == "qemu:///session"

        assert error_for_nobody(call) == (0, "")


def test_no_socket_here(tmp_path: Path) -> None:
    libvirthosts.need()
    with pytest.raises(HostError, match="x: no libvirtd is running: ") as e:
        connection.connect(LibvirtHost("x", "qemu", "system", socket=str(tmp_path / "libvirt-sock")))
    assert e.value.hint.startswith("sudo systemctl start libvirtd")


class Error:
    """An error of libvirt's."""

    def __init__(self, code: int, message: str) -> None:
        self._code, self._message = code, message

    def get_error_code(self) -> int:
        return self._code

    def get_error_message(self) -> str:
        return self._message


def test_who_is_not_let_in() -> None:
    place = LibvirtHost("x", "qemu", "system", ssh=SshHost("x", "east.example"))
    e = why.refused(place, Error(79, "no polkit agent"), (None, ""))
    assert e.message == "x: libvirt does not let us in: no polkit agent"
    assert e.hint == "on east.example: sudo usermod -aG libvirt $USER, and log in again"
    socket = "error: Failed to connect socket to '/var/run/libvirt/libvirt-sock': Permission denied"
    e = why.refused(place, Error(38, "End of file while reading data"), (1, f"{socket}\n"))
    assert e.message.startswith("x: libvirt does not let us in: Failed to connect socket")


def test_no_binding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    libvirthosts.need()
    monkeypatch.setattr(binding, "DEBIAN", str(tmp_path))
    for name in ("libvirt", "libvirtmod"):
        monkeypatch.setitem(sys.modules, name, None)
    binding._ready.cache_clear()
    try:
        with pytest.raises(NotFound, match="is not installed") as e:
            binding.binding()
        assert e.value.hint.endswith("python3-libvirt")
        (tmp_path / "libvirt.py").write_text("")
        with pytest.raises(NotFound, match="is not installed") as e:
            binding.binding()
        assert "is for another Python than this" in e.value.hint
    finally:
        binding._ready.cache_clear()
