# SPDX-License-Identifier: MIT
"""tools/floe/fleet/tunnel.py, by real sshds: bytes go both ways between the loopbacks of two hosts, nothing is left
behind, and a host that forwards nothing says so."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from floe.errors import HostError
from floe.fleet import tunnel
from floe.hosts.table import LibvirtHost, SshHost
from tests.support import sshhosts
from tests.support.libvirthosts import EAST, WEST, LibvirtHosts
from tests.support.sshhosts import Hosts

WAIT_S = 30.0
SERVER = """
import socket
with socket.create_server(("127.0.0.1", {port})) as door:
    print("listens", flush=True)
    with door.accept()[0] as sock:
        while data := sock.recv(65536):
            sock.sendall(data.swapcase())
"""
CLIENT = """
import socket
with socket.create_connection(("127.0.0.1", {port}), 20) as sock:
    sock.sendall(b"x" * 300000)
    sock.shutdown(socket.SHUT_WR)
    print(sum(map(len, iter(lambda: sock.recv(65536), b""))))
"""


def place(name: str) -> LibvirtHost:
    return LibvirtHost(name, "qemu", "system", ssh=SshHost(name, name))


@pytest.fixture
def near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    """Hosts that are this machine."""
    with sshhosts.by_proxy(tmp_path / "hosts") as hosts:
        for name, value in hosts.environment.items():
            monkeypatch.setenv(name, value)
        yield hosts


def refused() -> HostError:
    with pytest.raises(HostError) as e, tunnel.through_here(place(EAST), place(WEST)):
        pass
    return e.value


def test_bytes_go_there_and_back(known: LibvirtHosts) -> None:
    def there(name: str, script: str) -> subprocess.Popen[str]:
        argv = ["ip", "netns", "exec", known.spaces[name], sys.executable, "-c", script.format(port=way.port)]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    with tunnel.through_here(place(EAST), place(WEST)) as way:
        assert way.problem() == ""
        with there(EAST, CLIENT) as client:  # nobody listens there yet
            said, _ = client.communicate(timeout=WAIT_S)
        assert not said.startswith("300000")
        end = time.monotonic() + WAIT_S
        while "Connection refused" not in way.problem():
            assert time.monotonic() < end, way.problem()
            time.sleep(0.02)
        with there(WEST, SERVER) as server:
            assert server.stdout is not None and server.stdout.readline() == "listens\n"
            with there(EAST, CLIENT) as client:
                said, err = client.communicate(timeout=WAIT_S)
            assert said == "300000\n", err
            assert server.wait(WAIT_S) == 0
    end = time.monotonic() + WAIT_S
    while True:  # sshd closes the port once it has seen the end
        with there(EAST, CLIENT) as client:
            _, err = client.communicate(timeout=WAIT_S)
        if "ConnectionRefusedError" in err:
            break
        assert time.monotonic() < end, err


def test_a_host_that_forwards_nothing(near: Hosts) -> None:
    near.add(EAST)
    near.add(WEST)
    with (near.folder / f"{EAST}.sshd").open("a") as config:
        config.write("AllowTcpForwarding no\n")
    error = refused()
    assert error.message.startswith("east: its ssh forwards nothing: ")
    assert "remote port forwarding failed" in error.message and "AllowTcpForwarding yes" in error.hint


def test_a_host_that_lets_nobody_in(near: Hosts) -> None:
    near.add(EAST)
    near.add(WEST, key="wrong")
    error = refused()
    assert error.message.startswith("west: its ssh forwards nothing: ") and "Permission denied" in error.message


def test_a_host_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOE_SSH", "sh -c 'exec sleep 60'")
    monkeypatch.setattr(tunnel, "_OPEN_S", 0.3)
    assert refused().message == "east does not answer within 0.3 s"
