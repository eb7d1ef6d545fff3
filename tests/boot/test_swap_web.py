# SPDX-License-Identifier: MIT
"""tools/floe/device/swap.py: a page's code is replaced in images/web under load; no request fails, no connection ends."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boot.rawhttp import RawHttp
from tests.support.command import floe
from tests.support.vms import Vms, log, until

ROOT = Path(__file__).resolve().parents[2]
PAUSE_MS = 50.0  # for a module of 5 KB; KVM here needs a few
LOAD_S = 6


@pytest.fixture
def vms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vms]:
    with Vms(tmp_path, monkeypatch) as each:
        yield each


def serving(vms: Vms, *flags: str) -> tuple[str, int]:
    """Name and port of a web server that answers."""
    told = vms.run(*flags, "-p", "0:80", ROOT / "images" / "web")
    name = str(told["name"])
    until(lambda: "serving on port 80" in log(name), "the web server")
    (forward,) = told["ports"]
    return name, int(forward["host"])


def test_a_page_changes_under_load(vms: Vms, accel: str, tmp_path: Path) -> None:
    name, port = serving(vms, "--dev", "--accel", accel)
    source = (ROOT / "images" / "web" / "notes.py").read_text()
    assert source.count('"platform": sys.platform') == 1
    new, broken = tmp_path / "notes.py", tmp_path / "broken.py"
    new.write_text(source.replace('"platform": sys.platform', '"edition": 2, "platform": sys.platform'))
    broken.write_text("def f(:\n")
    url = f"http://127.0.0.1:{port}/"
    loads = [
        subprocess.Popen(["wrk", "-t1", "-c4", f"-d{LOAD_S}", url + path], stdout=subprocess.PIPE, text=True)
        for path in ("", "api/status")
    ]
    try:
        with RawHttp(port) as kept:
            before = json.loads(kept.get("/api/status").body)
            done = floe("swap", name, "notes", broken)
            assert done.returncode == 125
            assert "broken.py:1: SyntaxError: invalid syntax" in done.stderr
            pauses: list[float] = []
            while not pauses or (
                accel == "kvm" and min(pauses) >= PAUSE_MS and len(pauses) < 4
            ):  # other work only adds
                done = floe("swap", name, "notes", new)
                print(done.stderr)
                assert done.returncode == 0, done.stderr
                pause = re.search(r"notes replaced in \S+; the program paused for ([\d.]+) ms", done.stderr)
                assert pause is not None
                pauses.append(float(pause[1]))
            after = json.loads(kept.get("/api/status").body)  # on the same connection
        reports = [load.communicate(timeout=LOAD_S + 20)[0] for load in loads]
    finally:
        for load in loads:
            load.kill()
            load.wait()
    print("\n".join(reports))
    assert "edition" not in before and after["edition"] == 2
    assert after["uptime_ms"] >= before["uptime_ms"] > 0  # the instance that serves the page is the one that did before
    for report in reports:
        assert "Socket errors" not in report and "Non-2xx" not in report
    assert "assigns at its top level has started anew" in done.stderr
    assert accel == "tcg" or min(pauses) < PAUSE_MS, pauses


def test_what_cannot_be_replaced_says_why(vms: Vms, tmp_path: Path) -> None:
    name, _ = serving(vms, "--dev")
    new = tmp_path / "new.py"
    new.write_text("x = 1\n")
    done = floe("swap", name, "notess", new)
    assert done.returncode == 125
    assert "notess was not replaced: ValueError: no module 'notess' has been imported" in done.stderr
    assert "try: the main script is called __main__" in done.stderr
    new.write_text("1 / 0\n")
    done = floe("swap", name, "notes", new)
    assert "notes was not replaced: ZeroDivisionError: divide by zero" in done.stderr
    assert 'File "notes.py", line 1' in done.stderr
    assert floe("swap", name, "notes", tmp_path / "none.py").returncode == 127
    assert floe("swap", "nobody", "notes", new).returncode == 127


def test_what_a_module_names_is_kept(vms: Vms, accel: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import asyncio, m\n\nasync def main():\n    while True:\n"
        "        m.seen.append(1)\n        print('m', m.edition, len(m.seen) > 1, m.new, m.anew)\n"
        "        m.anew = 'old'\n        await asyncio.sleep_ms(100)\n\nasyncio.run(main())\n"
    )
    (tmp_path / "m.py").write_text("edition = 1\nseen = []\nnew = 0\nanew = 'start'\n")
    name = str(vms.run("--dev", "--accel", accel, tmp_path / "app.py")["name"])
    until(lambda: "m 1 True 0 old" in log(name), "the first edition")
    second = tmp_path / "second.py"
    keep = '__floe_keep__ = ("seen", "anew", "later")'
    second.write_text(f"{keep}\nedition = 2\nseen = []\nnew = 2\nanew = 'start'\nlater = 5\nnew += later\n")
    done = floe("swap", name, "m", second)
    assert done.returncode == 0, done.stderr
    until(lambda: "m 2 " in log(name), "the second edition")
    assert "m 2 True 7 old" in log(name) and "m 2 False" not in log(name) and "start" not in log(name).split("m 2 ")[1]
    second.write_text("__floe_keep__ = ('seen')\nedition = 3\n")
    done = floe("swap", name, "m", second)
    assert done.returncode == 125 and "m was not replaced: TypeError" in done.stderr
    assert "m 3 " not in log(name)


SERVICE = """
import asyncio
edition = {edition}
served = {served}
async def answer(reader, writer):
    writer.write(b"{edition}")
    await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(answer, "0.0.0.0", 80)
    print("serving", edition, served)
    try:
        await asyncio.sleep(1000)
    finally:
        server.close()
        await server.wait_closed()
        print("cleaned up", edition)
asyncio.run(main())
"""


def asked(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        return sock.recv(10)


def test_the_main_script_of_a_service(vms: Vms, accel: str, tmp_path: Path) -> None:
    """Twice; it cleans up, its port is free for the new one, which may be asked for its end as the first."""
    app, new = tmp_path / "app.py", tmp_path / "new.py"
    app.write_text(SERVICE.format(edition=1, served="'first'"))
    told = vms.run("--dev", "--accel", accel, "-p", "0:80", app)
    name, port = str(told["name"]), int(told["ports"][0]["host"])
    until(lambda: "serving 1 first" in log(name), "the first edition")
    assert asked(port) == b"1"
    for edition in (2, 3):
        new.write_text(SERVICE.format(edition=edition, served="served"))  # keeps its value
        done = floe("swap", name, "__main__", new)
        assert done.returncode == 0, done.stderr
        assert f"the main script of {name} has ended, and {new} runs in its place" in done.stderr
        until(lambda edition=edition: f"serving {edition} first" in log(name), "the next edition")
        assert f"cleaned up {edition - 1}\n" in log(name)
        assert asked(port) == b"%d" % edition
    new.write_text("def f(:\n")
    assert "SyntaxError" in floe("swap", name, "__main__", new).stderr
    assert asked(port) == b"3"
    assert floe("exec", name, "print(edition)").stdout == "3\n"
    assert floe("stop", name).returncode == 0
    assert log(name).endswith("cleaned up 3\n") and "Traceback" not in log(name)


def test_the_main_script_that_has_no_loop(vms: Vms, accel: str, tmp_path: Path) -> None:
    """One that runs gets Ctrl-C; one that has ended is followed at once; the code is the last one's."""
    app, new = tmp_path / "app.py", tmp_path / "new.py"
    app.write_text("import time\nprint('first')\nwhile True:\n    time.sleep(1)\n")
    name = str(vms.run("--dev", "--accel", accel, app)["name"])
    until(lambda: "first" in log(name), "the first edition")
    new.write_text("print('second')\n")
    done = floe("swap", name, "__main__", new)
    assert done.returncode == 0, done.stderr
    until(lambda: "second" in log(name), "the second edition")
    assert "KeyboardInterrupt" in log(name)
    new.write_text("import sys\nprint('third')\nsys.exit(7)\n")
    assert floe("swap", name, "__main__", new).returncode == 0
    until(lambda: "third" in log(name), "the third edition")
    assert floe("exec", name, "print(6 * 7)").stdout == "42\n"
    assert "(7, stopped)" in floe("stop", name).stderr


def test_a_sealed_image_refuses(vms: Vms, tmp_path: Path) -> None:
    name, _ = serving(vms)
    (tmp_path / "new.py").write_text("x = 1\n")
    done = floe("swap", name, "notes", tmp_path / "new.py")
    assert done.returncode == 125
    assert f"{name} has no REPL: its image is sealed" in done.stderr
    assert "floe run --detach --dev" in done.stderr
