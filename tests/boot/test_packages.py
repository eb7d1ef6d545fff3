# SPDX-License-Identifier: MIT
"""Packages of MicroPython's from PyPI, unedited, in one VM against real servers: Mosquitto, and Python's http.server."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from floe.testing import Boot
from tests.support.vms import until

APP = Path(__file__).parent / "packages"
BROKER = "/usr/sbin/mosquitto"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[int]:
    """The port of an MQTT broker on loopback."""
    if not Path(BROKER).exists():
        pytest.skip("SKIP: mosquitto is not installed")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = tmp_path / "mosquitto.conf"
    settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nuser nobody\n")
    with subprocess.Popen(
        [BROKER, "-c", str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            with socket.socket() as sock:
                until(lambda: sock.connect_ex(("127.0.0.1", port)) == 0, "the broker")
            yield port
        finally:
            server.terminate()
            server.wait(10)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[int]:
    """The port of an HTTP server on loopback that has data.json."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "data.json").write_text(json.dumps({"answer": [4, 2]}))

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args: object, **keywords: object) -> None:
            super().__init__(*args, directory=str(folder), **keywords)  # type: ignore[arg-type]  # as http.server has it

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def curl(port: int, path: str) -> str:
    argv = ["curl", "-sS", "-m", "10", f"http://127.0.0.1:{port}{path}"]
    return subprocess.run(argv, capture_output=True, text=True, timeout=20, check=True).stdout


def _listens(port: int) -> bool:
    """Whether a connection gets to the guest; one that it refuses QEMU takes, and ends."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return bool(sock.recv(1))
    except ConnectionError:
        return False


def test_what_people_start_with(boot: Boot, broker: int, web: int, tmp_path: Path) -> None:
    app = tmp_path / "packages"
    shutil.copytree(APP, app)
    vm = boot(app, dev=True, deadline_s=60, ports=[80], args=[str(broker), str(web)])
    vm.expect_exact("started 1")
    vm.expect_exact("mqtt (b'floe/one', b'1') b'floe/two' 300")
    vm.expect_exact("http 200 {'answer': [4, 2]}")
    vm.expect_exact("Running on http://0.0.0.0:80/")
    until(lambda: _listens(vm.ports[80]), "picoweb, which says so before it listens")
    assert curl(vm.ports[80], "/") == "hello from picoweb\n"
    assert curl(vm.ports[80], "/page") == "<b>ann</b>\n0,1,2,"
    assert "PANIC" not in vm.console_text
    lock = (app / "packages.lock").read_text()
    assert lock.count("\nfiles.") == 8
