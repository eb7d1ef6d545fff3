# SPDX-License-Identifier: MIT
"""docs/appliances.md: its script, and what the page says of settings, log, metrics, health and the end."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import time
from pathlib import Path

import pytest

from floe.stream.keys import INTERRUPT
from floe.testing import Boot, Guest
from tests.boot.rawhttp import Answer, RawHttp
from tests.support.certs import HOST, Certificates
from tests.support.fixtures import REPO

PAGE = (REPO / "docs" / "appliances.md").read_text()
ADMIN = 9100


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    script = re.search(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert script is not None
    (tmp_path / "main.py").write_text(script[1])
    (tmp_path / "image.toml").write_text('name = "counter"\n')
    return tmp_path


def get(guest: Guest, path: str) -> Answer:
    with RawHttp(guest.ports[ADMIN]) as client:
        return client.get(path)


def visit(guest: Guest) -> str:
    with socket.create_connection(("127.0.0.1", guest.ports[80]), timeout=10) as sock:
        return sock.makefile().read().strip()  # to the end: the script closes


def test_the_script(boot: Boot, folder: Path) -> None:
    """Counts, tells, is asked how it is, and ends when it is asked for that."""
    env = {"GREETING": "good day", "LOG_LEVEL": "debug"}
    vm = boot(folder, deadline_s=60, ports=[80, ADMIN], env=env)
    vm.expect_exact("info counter: serving on port 80\n")
    assert [visit(vm), visit(vm)] == ["good day 1", "good day 2"]
    vm.expect_exact("debug counter: visit 2\n")

    page = get(vm, "/metrics")
    assert (page.status, page.fields["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    lines = page.body.decode().splitlines()
    at = lines.index("# TYPE counter_visits_total counter")
    assert lines[at - 1 : at + 2] == [
        "# HELP counter_visits_total Connections answered.", "# TYPE counter_visits_total counter", "counter_visits_total 2",
    ]  # fmt: skip
    assert 'floe_info{name="counter",version="0"} 1' in lines
    found = dict(line.split() for line in lines if not line.startswith("#"))
    assert abs(float(found["process_start_time_seconds"]) - time.time()) < 60
    assert 0 < float(found["floe_gc_used_bytes"]) < float(found["floe_gc_total_bytes"]) < float(found["floe_ram_bytes"])

    assert (get(vm, "/health").status, get(vm, "/ready").body) == (200, b"ok\n")
    assert get(vm, "/other").status == 404
    with RawHttp(vm.ports[ADMIN]) as client:
        client.send(b"POST /metrics HTTP/1.1\r\n\r\n")
        assert client.answer().status == 405
        assert client.at_end()
    with RawHttp(vm.ports[ADMIN]) as client:
        client.send(b"GET " + b"x" * 3000)
        assert client.answer().status == 400

    vm.stop()
    assert vm.wait() == 0
    assert vm.console_text.endswith("info counter: stopping\ninfo counter: 2 visits\ninfo counter: stopped\n")


CHECKS = """
import asyncio

import appliance

app = appliance.App("checks", {"idle": appliance.Seconds(5), "rest": appliance.Seconds(7)}, limit=appliance.Size(65536), words=["a"],
                    loud=False, share=0.5, room=appliance.Size(4096))
took = app.histogram("checks_seconds", "How long.", labels=("kind",), buckets=(0.1, 1))
app.gauge("checks_level", "A level.", function=lambda: -1.5)


async def main():
    s = app.settings
    print("settings", int(s.rest), float(s.room), s.idle, s.limit, s.words, s.loud, s.share, sorted(s.tables), s.file)
    for seconds in (0.05, 0.1, 0.7, 3):
        took.labels('a "b"').observe(seconds)
    for number in range(700):
        app.log.info("line %d", number)
    print("said at once")
    problems = []
    app.check("disk", lambda: True)
    app.check("zone", lambda: problems[0] if problems else True)
    app.check("raises", lambda: 1 // len(problems) if problems == [] and 0 else True)
    await asyncio.sleep_ms(200)
    problems.append("damaged")
    print("damaged now")
    await asyncio.sleep(3600)


app.run(main())
"""


def test_settings_from_a_file_log_and_checks(boot: Boot, folder: Path) -> None:
    (folder / "main.py").write_text(CHECKS)
    (folder / "data").mkdir()
    (folder / "data" / "checks.toml").write_text(
        'idle = "200ms"\nlimit = "1M"\nwords = ["x", "y"]\nloud = true\nshare = 1\nmetrics_port = 9100\n[[zone]]\nname = "z"\n'
    )
    vm = boot(folder, deadline_s=60, ports=[ADMIN], env={"WORDS": "one, two"})
    vm.expect_exact("settings 7 4096.0 0.2 1048576 ['one', 'two'] True 1.0 ['zone'] /rom/checks.toml\nsaid at once\n")
    vm.expect_exact("info checks: line 499\nwarning checks: 200 lines were dropped\n")
    lines = get(vm, "/metrics").body.decode().splitlines()
    assert [line for line in lines if "checks_" in line and not line.startswith("#")] == [
        "checks_level -1.5",
        'checks_seconds_bucket{kind="a \\"b\\"",le="0.1"} 2',
        'checks_seconds_bucket{kind="a \\"b\\"",le="1"} 3',
        'checks_seconds_bucket{kind="a \\"b\\"",le="+Inf"} 4',
        'checks_seconds_sum{kind="a \\"b\\""} 3.85',
        'checks_seconds_count{kind="a \\"b\\""} 4',
    ]
    assert "floe_log_dropped_lines 200" in lines
    vm.expect_exact("damaged now")
    bad = get(vm, "/health")
    assert (bad.status, bad.body) == (503, b"zone: damaged\n")
    assert get(vm, "/ready").body == b"zone: damaged\nstarting\n"


@pytest.mark.any_accel
@pytest.mark.parametrize(
    ("file", "env", "said"),
    [
        ("", {"LIMIT": "12X"}, "LIMIT=12X: expected a size, as 64K or 16M"),
        ("", {"METRICS_PORT": "70000"}, "METRICS_PORT=70000: expected a port, 0 to 65535"),
        ("", {"METRICS_PORT": "-1"}, "METRICS_PORT=-1: expected a port, 0 to 65535"),
        ("metrics_port = 65536\n", {}, "/rom/checks.toml: metrics_port=65536: expected a port, 0 to 65535"),
        ("", {"LOG_LEVEL": "loud"}, "LOG_LEVEL=loud: one of debug, info, warning, error, off"),
        ("", {"CONFIG": "/rom/none.toml"}, "CONFIG=/rom/none.toml: no such file"),
        ("loud = 1\n", {}, "/rom/checks.toml: loud = 1: expected true or false"),
        ("a = 1\na = 2\n", {}, "/rom/checks.toml: Cannot overwrite a value (at line 2, column 6)"),
        ("colour = 1\n", {}, "/rom/checks.toml: colour is no setting; there are: idle, limit, log_level, loud, metrics_port, re"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be(boot: Boot, folder: Path, file: str, env: dict[str, str], said: str) -> None:
    (folder / "main.py").write_text(CHECKS)
    (folder / "data").mkdir()
    (folder / "data" / "checks.toml").write_text(file)
    vm = boot(folder, deadline_s=60, env=env)
    assert vm.wait() == 2
    assert vm.console_text.startswith(f"error checks: {said}")
    assert "Traceback" not in vm.console_text


def test_tls(boot: Boot, folder: Path) -> None:
    """As the page's line has it, with files of the image; a key of another's ends the VM."""
    certificates = Certificates(folder)
    data = folder / "data"
    data.mkdir()
    shutil.copy(certificates.pem("good"), data / "cert.pem")
    shutil.copy(certificates.key("good"), data / "key.pem")
    line = re.search(r"^server = await (.*443.*)$", PAGE, re.MULTILINE)
    assert line is not None
    files = 'cert="/rom/cert.pem", key=app.settings.key'
    said = line[1].replace('("http/1.1",)', '("http/1.1",), ' + files)
    script = (folder / "main.py").read_text().replace("port=appliance.Port(80)", 'port=443, key="/rom/key.pem"')
    script, count = re.subn(r"asyncio\.start_server\(.*\)", said, script)
    assert count == 1
    (folder / "main.py").write_text(script)
    vm = boot(folder, deadline_s=60, ports=[443, ADMIN])
    vm.expect_exact("info counter: serving on port 443\n")
    context = ssl.create_default_context(cafile=str(certificates.pem("ca")))
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", vm.ports[443]), timeout=20) as raw,
        context.wrap_socket(raw, server_hostname=HOST) as conn,
    ):
        assert conn.selected_alpn_protocol() == "http/1.1"
        assert conn.makefile().readline() == "hello 1\n"
    vm.stop()
    assert vm.wait() == 0
    for key in ("/rom/cert.pem", "/rom/none.pem"):
        vm = boot(folder, deadline_s=60, ports=[], env={"KEY": key})
        assert vm.wait() == 2
        assert "error counter: cert and key: " in vm.console_text and "Traceback" not in vm.console_text


def test_the_script_without_asyncio(boot: Boot, tmp_path: Path) -> None:
    """Its objects and the pages are called by one loop; a client of either that goes or is silent keeps nobody."""
    (tmp_path / "main.py").write_text(re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)[1])
    (tmp_path / "image.toml").write_text('name = "echo"\n')
    vm = boot(tmp_path, deadline_s=60, ports=[7, ADMIN])
    vm.expect_exact("info echo: serving on port 7 (IPv6, IPv4)\n")
    silent = [socket.create_connection(("127.0.0.1", vm.ports[ADMIN]), timeout=20) for _ in range(3)]
    with socket.create_connection(("127.0.0.1", vm.ports[7]), timeout=20) as sock:
        silent[0].sendall(b"GET /metrics HT")
        for _ in range(50):
            sock.sendall(b"hello")
            assert sock.recv(5) == b"hello"
        assert (get(vm, "/ready").status, get(vm, "/health").body) == (200, b"ok\n")
        assert b'floe_info{name="echo",version="0"} 1\n' in get(vm, "/metrics").body
        silent[1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        silent[1].close()  # by a reset
        silent[0].sendall(b"TP/1.1\r\n\r\n")
        assert silent[0].makefile("rb").read().startswith(b"HTTP/1.1 200 OK\r\n")
        assert silent[2].recv(1) == b"", "it has its time"
    with socket.create_connection(("127.0.0.1", vm.ports[7]), timeout=20) as sock:
        sock.sendall(b"again")
        assert sock.recv(5) == b"again"
    for each in silent:
        each.close()
    vm.send(INTERRUPT)
    assert vm.wait() == 0
    assert "Traceback" not in vm.console_text
