# SPDX-License-Identifier: MIT
"""images/function: one request is one call of a handler: events, contexts, answers, errors, limits of time, turns; and
the ways to bring a handler, as its README has them."""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from floe.stream.keys import INTERRUPT
from floe.testing import Boot, Guest
from tests.boot.rawhttp import Answer, RawHttp
from tests.support.certs import HOST, Certificates
from tests.support.command import floe
from tests.support.vms import Vms, log, until

HERE = Path(__file__).parent
README = HERE.parents[1] / "images" / "function" / "README.md"
START_S = 30.0
TIMEOUT_S = 0.5  # of a call, in the guest
ENDLESS = ("/endless/items", "/async/endless")  # making the answer takes no end


class Function:
    """A running function whose handler is guest_function.py."""

    def __init__(self, vm: Guest) -> None:
        self.vm = vm
        self.port = vm.ports[8080]
        vm.expect_exact("info function: serving on port 8080", timeout=START_S)

    def call(self, path: str, *fields: str, body: bytes = b"", method: str = "POST") -> Answer:
        head = f"{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n"
        with RawHttp(self.port, 20) as client:
            client.send((head + "".join(f"{field}\r\n" for field in fields) + "\r\n").encode() + body)
            return client.answer(head_only=method == "HEAD")

    def value(self, path: str, *fields: str, body: bytes = b"") -> dict[str, object]:
        answer = self.call(path, *fields, body=body)
        assert (answer.status, answer.fields.get("content-type")) == (200, "application/json"), answer.body
        value = json.loads(answer.body)
        assert isinstance(value, dict)
        return value

    def error(self, path: str, status: int, kind: str, *fields: str, body: bytes = b"") -> dict[str, object]:
        answer = self.call(path, *fields, body=body)
        told = json.loads(answer.body)
        assert (answer.status, told["errorType"]) == (status, kind), told
        assert answer.fields["x-error-type"] == kind and answer.fields["x-request-id"] == told["requestId"]
        assert isinstance(told, dict)
        return told

    def page(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.vm.ports[9100]}/{path}", timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()

    def metric(self, name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (.*)$", self.page("metrics")[1], re.MULTILINE)
        return float(found[1]) if found else 0.0


def folder(tmp_path: Path, handler: str = "") -> Path:
    """An image on images/function. handler: its code; else guest_function.py."""
    there = tmp_path / "mine"
    there.mkdir()
    (there / "image.toml").write_text('name = "mine"\nversion = "3"\nbase = "function"\n')
    (there / "handler.py").write_text(handler or (HERE / "guest_function.py").read_text())
    return there


@pytest.fixture
def function(boot: Boot, tmp_path: Path) -> Function:
    env = {"TIMEOUT": str(TIMEOUT_S), "MAX_BODY": "1000", "CONCURRENCY": "3", "QUEUE": "2"}
    return Function(boot(folder(tmp_path), deadline_s=120, ports=[8080, 9100], env=env))


def test_calls(function: Function) -> None:
    _events(function)
    _contexts(function)
    _answers(function)
    _cloud_events(function)
    _errors(function)
    _limits_of_time(function)
    _turns(function)
    _hostile_clients(function)
    _health_and_end(function)


def _events(function: Function) -> None:
    first = function.value("/context")
    assert first["cold"] is True and first["starts"] == 1
    told = function.value("/event?a=1&b=x+y%20z&a=2&c", "X-Thing: a", "X-Thing: b", body="é".encode())
    assert (told["method"], told["path"], told["query"]) == ("POST", "/event", {"a": "2", "b": "x y z", "c": ""})
    assert told["headers"] == {"host": "test", "content-length": "2", "x-thing": "a, b"}
    assert (told["body"], told["text"]) == ([0xC3, 0xA9], "é")
    told = function.value("/event", body=b"\xff\0")
    assert (told["body"], told["text"]) == ([255, 0], None)
    told = function.value("/keys?q=%2F", "Cookie: a=1; b=2", "User-Agent: me", "X-Request-Id: r-1", body=b"\xff")
    assert (told["version"], told["rawPath"], told["rawQueryString"]) == ("2.0", "/keys", "q=%2F")
    assert (told["body"], told["isBase64Encoded"], told["cookies"]) == ("/w==", True, ["a=1", "b=2"])
    request = told["requestContext"]
    assert isinstance(request, dict) and request["requestId"] == "r-1"
    assert request["http"] == {"method": "POST", "path": "/keys", "protocol": "HTTP/1.1", "userAgent": "me"}
    assert abs(request["timeEpoch"] / 1000 - time.time()) < 60
    assert function.value("/keys", body=b"plain")["body"] == "plain"
    function.error("/event?%ff=1", 400, "BadRequest")
    assert function.call("/event", method="HEAD").status == 200


def _contexts(function: Function) -> None:
    told = function.value("/context", "X-Request-Id: 7f/a:b")
    assert (told["id"], told["aws"], told["name"], told["version"]) == ("7f/a:b", "7f/a:b", "mine", "3")
    assert told["memory"] == 32 and told["cold"] is False
    left, deadline = told["left"], told["deadline"]
    assert isinstance(left, int) and isinstance(deadline, int)
    assert 0 < left <= TIMEOUT_S * 1000 and abs(deadline / 1000 - time.time()) < 60
    for bad in ("a b", "x" * 129, "\xfc"):
        assert re.fullmatch(
            r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", str(function.value("/context", f"X-Request-Id: {bad}")["id"])
        )
    function.vm.expect_exact("info function: asked by 7f/a:b")


def _answers(function: Function) -> None:
    for path, status, kind, body in (
        ("/text", 200, "text/plain; charset=utf-8", "grüß dich".encode()),
        ("/bytes", 200, "application/octet-stream", b"\0\xff"),
        ("/none", 204, None, b""),
        ("/number", 200, "application/json", b"7\n"),
        ("/tuple", 201, "text/x-own", b"made"),
        ("/json-body", 200, "application/json", b'{"x": 1}\n'),
        ("/empty", 204, None, b""),
    ):
        answer = function.call(path)
        assert (answer.status, answer.fields.get("content-type"), answer.body) == (status, kind, body), path
        assert "x-request-id" in answer.fields
    assert json.loads(function.call("/list").body) == [1, "two", None, True, 2.5]
    with urllib.request.urlopen(f"http://127.0.0.1:{function.port}/lambda", timeout=20) as told:
        fields = told.headers  # some of them twice
        assert (told.status, told.read(), fields["Content-Type"]) == (202, b"\0\xff", "application/octet-stream")
        assert (fields.get_all("Content-Length"), fields["x-one"], fields.get_all("X-List")) == (["2"], "1", ["a", "b"])
        assert fields.get_all("Set-Cookie") == ["a=1", "b=2"] and fields["Connection"] in (None, "close")
    for name in (
        "status",
        "text",
        "header",
        "name",
        "headers",
        "base64",
        "json",
        "key",
        "nan",
        "circle",
        "tuple",
        "class",
        "socket",
    ):
        function.error(f"/bad/{name}", 500, "ReturnError")


def _cloud_events(function: Function) -> None:
    assert function.call("/cloud").status == 204  # none
    binary = ("ce-specversion: 1.0", "ce-id: 5", "ce-source: /a%20b", "ce-type: t", "Content-Type: application/json")
    told = function.value("/cloud", *binary, body=b'{"x": [1]}')
    assert (told["id"], told["source"], told["data"], told["datacontenttype"]) == (
        "5",
        "/a b",
        {"x": [1]},
        "application/json",
    )
    structured = "Content-Type: application/cloudevents+json; charset=utf-8"
    event = {"specversion": "1.0", "id": "6", "source": "/s", "type": "t", "data_base64": "AP8="}
    assert function.value("/cloud", structured, body=json.dumps(event).encode())["data"] == [0, 255]
    function.error("/cloud", 400, "BadRequest", *binary, body=b'{"x": [1]')
    function.error("/cloud", 400, "BadRequest", structured, body=b"[]")
    function.error("/cloud", 400, "BadRequest", structured, body=json.dumps({**event, "id": ""}).encode())
    function.error("/cloud", 400, "BadRequest", *binary[1:], "ce-specversion: 0.3", body=b"1")


def _errors(function: Function) -> None:
    told = function.error("/fail/own", 500, "Own", "X-Request-Id: er-1", body=b"x")
    assert told == {"errorType": "Own", "errorMessage": "of my own: x", "requestId": "er-1"}
    function.vm.expect_exact("error function: er-1: Traceback")
    function.vm.expect_exact("Own: of my own: x")
    for name, kind in (
        ("zero", "ZeroDivisionError"),
        ("exit", "SystemExit"),
        ("interrupt", "KeyboardInterrupt"),
        ("memory", "MemoryError"),
        ("deep", "RuntimeError"),
    ):
        function.error(f"/fail/{name}", 500, kind)
    function.error("/async/fail", 500, "ValueError")
    answer = function.call("/fail/name")  # the name of its class has a line of a header in it
    assert (answer.status, answer.fields["x-error-type"], "x-b" in answer.fields) == (500, "Error", False)
    assert json.loads(answer.body)["errorType"] == "A\r\nX-B: c"
    told = function.error("/fail/mute", 500, "Mute")
    assert told["errorMessage"] == "does not say what it is: TimedOut"
    for path in ("/yield/value", "/yield/bare"):
        assert "is a generator" in str(function.error(path, 500, "ReturnError")["errorMessage"])
    assert function.value("/seen")["closed"] == 2
    assert function.call("/async/gather").status == 204
    function.error("/json", 415, "BadRequest", body=b"{}")
    function.error("/json", 400, "BadRequest", "Content-Type: application/json", body=b"{")
    assert function.value("/json", "Content-Type: application/json", body=b"[1]") == {"got": [1]}
    assert function.call("/event", body=b"x" * 1001).status == 413


def _limits_of_time(function: Function) -> None:
    for path in ("/stay/loop", "/stay/sleep", "/stay/catch", "/async/loop", "/async/stay", *ENDLESS):
        start = time.monotonic()
        told = function.error(path, 504, "TimedOut")
        assert told["errorMessage"] == "the call did not end within 0.5 s"
        assert time.monotonic() - start >= TIMEOUT_S * 0.9
    assert "caught" not in function.value("/seen")
    assert function.metric('function_calls_total{result="timeout"}') == 7
    answer = function.call("/endless/values")  # a slow machine has no time to count so far
    assert (answer.status, json.loads(answer.body)["errorType"]) in ((500, "ReturnError"), (504, "TimedOut"))
    function.error("/async/stubborn", 504, "TimedOut")
    assert function.metric("function_running") == 1  # keeps its place until it ends
    until(lambda: function.metric("function_running") == 0, "the end of the stubborn one")


def _turns(function: Function) -> None:
    """Three at a time, two wait, the others are refused."""
    before = function.value("/seen")
    with ThreadPoolExecutor(9) as pool:
        answers = list(pool.map(lambda _: function.call("/async/short"), range(9)))
    statuses = [answer.status for answer in answers]
    assert set(statuses) <= {200, 429} and statuses.count(200) >= 5, statuses
    refused = [answer for answer in answers if answer.status == 429]
    assert all(answer.fields["retry-after"] == "1" for answer in refused)
    after = function.value("/seen")
    assert after["most"] <= 3 and after["together"] == 0 and after["ended"] == before["ended"] + statuses.count(200)
    assert function.metric('function_calls_total{result="busy"}') == len(refused)


def _hostile_clients(function: Function) -> None:
    with socket.create_connection(("127.0.0.1", function.port), timeout=10) as gone:
        gone.sendall(b"POST /async/short HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")  # and never reads
    with RawHttp(function.port) as client:
        client.send(b"POST /event HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert client.answer().status == 400
    with RawHttp(function.port) as client:  # a pipeline of calls is answered in its order
        client.send(
            b"".join(b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in (b"async/short", b"text", b"fail/zero"))
        )
        assert [client.answer().status for _ in range(3)] == [200, 200, 500]
    until(lambda: function.metric("function_running") == 0, "the end of all calls")


def _health_and_end(function: Function) -> None:
    assert function.page("ready") == (200, "ok\n") == function.page("health")
    function.error("/async/never", 504, "TimedOut")
    assert function.page("health") == (503, "calls: 1 go on after their time\n")
    function.value("/ill")
    assert function.page("health") == (503, "calls: 1 go on after their time\nhandler: ill since a call\n")
    for how, said in (("for+ever", "health() did not end within 1 s"), ("to+death", "SystemExit")):
        function.value(f"/ill?how={how}")
        assert function.page("health") == (503, f"calls: 1 go on after their time\nhandler: {said}\n")
    assert function.metric("function_cold_start_seconds") > 0 and function.metric("function_init_seconds") > 0
    with ThreadPoolExecutor(1) as pool:
        last = pool.submit(function.call, "/async/last")
        function.vm.expect_exact("waits /async/last")
        function.vm.send(INTERRUPT)
        assert last.result(timeout=20).status == 200
    assert function.vm.wait() == 0
    said = function.vm.console_text
    assert "PANIC" not in said and "requests, 0 cut" in said and len(said) < 10000


def test_an_end_while_a_handler_has_the_processor(boot: Boot, tmp_path: Path) -> None:
    vm = boot(folder(tmp_path), deadline_s=60, ports=[8080, 9100], env={"TIMEOUT": "30", "DEBUG": "1"})
    function = Function(vm)
    trace = function.error("/fail/zero", 500, "ZeroDivisionError")["stackTrace"]
    assert isinstance(trace, list) and trace[-1].startswith("ZeroDivisionError") and 'File "handler.py"' in str(trace)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(function.error, "/stay/catch", 503, "Stopping")
        vm.expect_exact("stays /stay/catch")
        vm.send(INTERRUPT)
        call.result(timeout=20)
    assert vm.wait() == 0
    assert "requests, 0 cut" in vm.console_text


def test_tls(boot: Boot, tmp_path: Path) -> None:
    """The README's way to HTTPS, for an image on this one."""
    there = folder(tmp_path)
    with (there / "image.toml").open("a") as toml:
        toml.write('[variant.tls]\nmain = "secure.py"\nports = ["8443:8443"]\nsecrets = ["cert", "key"]\n')
    certificates = Certificates(tmp_path)
    secrets = {"cert": certificates.pem("good"), "key": certificates.key("good")}
    vm = boot(there, variant="tls", deadline_s=60, secrets=secrets, ports=[8443])
    vm.expect_exact("info function: serving on port 8443", timeout=START_S)
    context = ssl.create_default_context(cafile=str(certificates.pem("ca")))
    context.set_alpn_protocols(["http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", vm.ports[8443]), timeout=20) as raw,
        context.wrap_socket(raw, server_hostname=HOST) as conn,
    ):
        assert conn.selected_alpn_protocol() == "http/1.1"
        conn.sendall(b"GET /text HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = conn.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith("\r\n\r\ngrüß dich".encode())
    vm.send(INTERRUPT)
    assert vm.wait() == 0
    assert "info function: 1 requests, 0 cut" in vm.console_text and "Traceback" not in vm.console_text


def test_what_catches_everything_ends_the_vm(boot: Boot, tmp_path: Path) -> None:
    handler = "def handle(event, context):\n    while True:\n        try:\n            while True:\n                pass\n        except:\n            pass\n"
    function = Function(boot(folder(tmp_path, handler), deadline_s=60, ports=[8080, 9100], env={"TIMEOUT": "0.2"}))
    with RawHttp(function.port, 30) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert function.vm.wait() == 120
    said = function.vm.console_text
    assert "PANIC: a call that goes on after 4 exceptions of its time limit" in said and 'File "handler.py"' in said


@pytest.mark.parametrize(
    ("handler", "env", "code", "said"),
    [
        ("def other(event, context):\n    pass\n", {}, 3, "no function handle(event, context); there is: other"),
        ("x = 1 // 0\n", {}, 3, "handler.py cannot be imported: ZeroDivisionError"),
        ("def handle(event, context): pass\n", {"TIMEOUT": "0"}, 2, "TIMEOUT: must be more than 0"),
    ],
)
def test_what_does_not_start(
    boot: Boot, tmp_path: Path, handler: str, env: dict[str, str], code: int, said: str
) -> None:
    vm = boot(folder(tmp_path, handler), deadline_s=60, env=env)
    assert vm.wait() == code
    assert f"error function: {said}" in vm.console_text or f"error function: handler.py has {said}" in vm.console_text


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)


def test_the_readme_s_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its two files make an image; in a dev one `floe swap` replaces the handler while it serves."""
    there = tmp_path / "greeter"
    there.mkdir()
    (there / "image.toml").write_text(blocks("toml")[0])
    (there / "handler.py").write_text(blocks("python")[0])
    with Vms(tmp_path, monkeypatch) as vms:
        told = vms.run("--dev", "-p", "0:8080", there)
        name, port = str(told["name"]), int(told["ports"][0]["host"])  # type: ignore[index]  # a list
        until(lambda: "serving on port 8080" in log(name), "the function")

        def hello() -> bytes:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/?name=Ann", timeout=20) as answer:
                return bytes(answer.read())

        assert json.loads(hello())["hello"] == "Ann"
        new = tmp_path / "new.py"
        new.write_text("def handle(event, context):\n    return 'new'\n")
        done = floe("swap", name, "handler", new)
        assert done.returncode == 0, done.stderr
        assert hello() == b"new"
        assert floe("stop", name).returncode == 0
        disk = tmp_path / "handlers.img"
        assert floe("disk", "create", disk, "--size", "1M").returncode == 0
        assert floe("disk", "cp", disk, new, ":/handler.py").returncode == 0
        told = vms.run("--dev", "-p", "0:8080", "--disk", disk, there)
        name, port = str(told["name"]), int(told["ports"][0]["host"])  # type: ignore[index]  # a list
        until(lambda: "serving on port 8080" in log(name), "the function with a disk")
        assert hello() == b"new"
