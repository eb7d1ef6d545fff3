# SPDX-License-Identifier: MIT
"""VMs that are updated one after the other, behind a proxy, while clients ask: no request fails, whatever becomes of the
update."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from floe.compose import rolling, stackfile, steps
from floe.compose import up as bringing
from floe.compose.rolling import UpdateHalted
from floe.compose.steps import Step
from floe.detached import control
from floe.errors import ConfigError, FloeError, Interrupted
from floe.store import stackfolder, vmfolder
from floe.store.stackfolder import Stack
from floe.store.vmfolder import Process
from tests.boot.rawhttp import RawHttp
from tests.support.command import FLOE
from tests.support.fixtures import REPO
from tests.support.stacks import Stacks, left
from tests.support.vms import until

WEB = """
import asyncio, os

async def serve(reader, writer):
    try:
        while await reader.readline():
            while (await reader.readline()).strip():
                pass
            await asyncio.sleep_ms(5)
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n" + os.getenv("WHO").encode())
            await writer.drain()
    except OSError:
        pass
    writer.close()
    await writer.wait_closed()

async def main():
    await asyncio.start_server(serve, "0.0.0.0", 80)
    await asyncio.Event().wait()

if os.getenv("WHO") == "no":
    raise SystemExit(3)
asyncio.run(main())
"""
FILE = """
[vm.web]
app = "web.py"
replicas = 2
env = {{ WHO = "{who}" }}
ready = {{ port = 80, within = 30 }}
drain = {drain}
[vm.front]
app = "{front}"
ports = ["0:80"]
env = {{ UPSTREAMS = "web:80" }}
after = ["web"]
ready = {{ port = 80 }}
"""


@pytest.fixture
def stacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stacks]:
    with Stacks(tmp_path, monkeypatch) as all_of_them:
        all_of_them.folder = tmp_path / "a shop"
        all_of_them.folder.mkdir()
        yield all_of_them


class Clients:
    """Ask until told to end, on one connection or on one for each request; each answer must be there."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.ending = threading.Event()
        self.seen: list[str] = []

    def ask(self, *, again: bool) -> None:
        client = RawHttp(self.port, timeout_s=30)
        while not self.ending.wait(0.04):
            if again:
                client.sock.close()
                client = RawHttp(self.port, timeout_s=30)
            answer = client.get("/")
            assert answer.status == 200, answer
            self.seen.append(answer.body.decode())
        client.sock.close()

    def now(self) -> set[str]:
        """Who answers from now on."""
        first = len(self.seen)
        until(lambda: len(self.seen) > first + 15 or self.ending.is_set(), "answers", 30)
        return set(self.seen[first:])


def write(stacks: Stacks, who: str, drain: float = 10) -> None:
    stacks.write(FILE.format(who=who, drain=drain, front=REPO / "images" / "web"), web=WEB)


def record() -> Stack:
    (folder,) = stackfolder.everything()
    stack = folder.read()
    assert stack is not None
    return stack


def processes(stacks: Stacks) -> dict[str, Process | None]:
    """Of all VMs of the stack, by label."""
    found = {name: vmfolder.find(name) for name in record().vms}
    for folder in found.values():
        stacks.note(folder)
    return {name.partition(".")[2]: folder.vm for name, folder in found.items()}


def up(stacks: Stacks) -> list[str]:
    """As `floe compose up -d`, and as quick as can be: what is said."""
    said: list[str] = []
    file = stackfile.load(stacks.folder, {})
    folder = stackfolder.provide(file.file, file.name, file.default_name)
    bringing.Up(file, folder, said.append).start()
    return said


def test_no_request_fails(stacks: Stacks) -> None:
    write(stacks, "v1")
    up(stacks)
    (name,) = [name for name in record().vms if name.endswith(".front")]
    clients = Clients(control.status(vmfolder.find(name)).spec.forwards[0].host_port)
    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(clients.ask, again=again) for again in (False, True)]
        try:
            while_requests_flow(stacks, clients, asking)
        finally:
            clients.ending.set()
        for each in asking:
            each.result(60)
    stacks.compose("down", "--timeout", "0")
    assert left() == []


def while_requests_flow(stacks: Stacks, clients: Clients, asking: list[Future[None]]) -> None:
    assert clients.now() == {"v1"}
    first = processes(stacks)

    # All goes well.
    write(stacks, "v2")
    planned = steps.plan(stackfile.load(stacks.folder, {}), record(), (), lambda text: None)
    assert [(step.action, step.label, step.reason) for step in planned] == [
        ("start", "web.3", "for the time of the update"),
        ("update", "web.1", "env changed"), ("update", "web.2", "env changed"), ("keep", "front", ""),
    ]  # fmt: skip
    assert up(stacks) == [
        "web.3 is started: for the time of the update",
        "web.1 is updated: env changed", "web.2 is updated: env changed",
        "web.3 is removed: the update is done",
    ]  # fmt: skip
    assert clients.now() == {"v2"}
    second = processes(stacks)
    assert set(second) == {"web.1", "web.2", "front"}
    assert second["front"] == first["front"]
    assert not {second["web.1"], second["web.2"]} & set(first.values())

    # The new one does not start: the old ones are untouched, also where the logs are shown.
    write(stacks, "no", 0.5)
    done = stacks.compose("up", code=125)
    assert "floe: the update of web is halted: web.3 has ended before it was ready: 3, exit" in done.stderr
    assert "as before the update: web.1, web.2" in done.stderr
    assert {label: process for label, process in processes(stacks).items() if label != "web.3"} == second
    assert clients.now() == {"v2"}

    # An update that is killed in the middle, and one that is interrupted; another goes on. There is less time than the
    # proxy takes to hear of it.
    write(stacks, "v3", 0.5)
    for number, line_of in ((signal.SIGKILL, "web.3 is started"), (signal.SIGINT, "web.1 is ")):
        argv = [*FLOE, "compose", "up", "-d", str(stacks.folder)]
        process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, start_new_session=True)
        assert process.stderr is not None
        assert any(line.startswith(f"floe: {line_of}") for line in process.stderr)
        time.sleep(0.3)  # into what comes next
        process.send_signal(number)
        process.communicate(timeout=60)
        assert process.returncode == (130 if number == signal.SIGINT else -number)
        assert clients.now() <= {"v2", "v3"}
        processes(stacks)
    up(stacks)
    assert clients.now() == {"v3"}
    third = processes(stacks)
    assert set(third) == {"web.1", "web.2", "front"}
    assert third["front"] == first["front"]
    assert [vm.apart for vm in record().vms.values()] == [False] * 3
    assert [each for each in asking if each.done()] == []


class Hands:
    """Writes down what an update does. fails: the step that cannot be begun."""

    def __init__(self, fails: str = "", off_after: int = 99) -> None:
        self.called_off = threading.Event()
        self.done: list[str] = []
        self._fails = fails
        self._off_after = off_after

    def begin(self, step: Step) -> None:
        if step.label == self._fails:
            raise FloeError("it did not start", hint="look")
        self._note(f"begin {step.label}")

    def admit(self, name: str, *, serving: bool) -> None:
        self._note(f"{'in' if serving else 'out'} {name}")

    def end(self, name: str) -> None:
        self._note(f"end {name}")

    def tell(self, text: str) -> None:
        pass

    def _note(self, what: str) -> None:
        self.done.append(what)
        if len(self.done) == self._off_after:
            self.called_off.set()


UPDATES = [Step("update", name, name) for name in ("1", "2")]
SPARE = Step("start", "3", "3", spare=True)
ALL = ["begin 3", "in 3", "out 1", "end 1", "begin 1", "in 1", "out 2", "end 2", "begin 2", "in 2", "out 3", "end 3"]


def roll(hands: Hands) -> None:
    with rolling.halting("vm.web", UPDATES) as updates:
        rolling.roll(hands, SPARE, updates, 0)


def test_the_order_of_an_update() -> None:
    hands = Hands()
    roll(hands)
    assert hands.done == ALL


@pytest.mark.parametrize(("fails", "done", "old"), [("3", [], "1, 2"), ("1", ALL[:4], "2"), ("2", ALL[:8], "")])
def test_the_first_failure_halts(fails: str, done: list[str], old: str) -> None:
    hands = Hands(fails)
    with pytest.raises(UpdateHalted, match="the update of web is halted: it did not start") as halted:
        roll(hands)
    assert hands.done == done
    assert halted.value.evidence == (f"as before the update: {old}" if old else "")
    assert halted.value.hint == "look\nfloe compose up goes on"


@pytest.mark.parametrize("after", range(1, len(ALL)))
def test_called_off_at_any_point(after: int) -> None:
    """At no point do fewer than two serve, and who is taken out serves again if it is not ended."""
    hands = Hands(off_after=after)
    with contextlib.suppress(Interrupted):
        roll(hands)
    serving, running = {"1", "2"}, {"1", "2"}
    for what, name in (step.split() for step in hands.done):
        if what == "begin":
            running.add(name)
        elif what == "in":
            serving.add(name)
        else:
            serving.discard(name)
            running -= {name} if what == "end" else set()
        assert len(serving) >= 2
    assert serving <= running


def load(folder: Path, words: str) -> stackfile.Vm:
    (folder / "compose.toml").write_text(f'[vm.a]\napp = "a.py"\n{words}')
    return stackfile.load(folder, {}).vms["a"]


def test_what_is_updated_how(tmp_path: Path) -> None:
    assert not load(tmp_path, "").rolls
    assert not load(tmp_path, "replicas = 1").rolls
    assert load(tmp_path, "replicas = 2").rolls
    assert load(tmp_path, 'replicas = 1\nupdate = "rolling"').rolls
    assert not load(tmp_path, 'replicas = 2\nupdate = "replace"').rolls
    assert not load(tmp_path, "replicas = 2\nready = { exit = 0 }").rolls


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ('update = "slowly"', "vm.a.update: 'slowly' is none"),
        ('update = "rolling"', "vm.a.update: a VM without replicas has no other beside it"),
        ('replicas = 1\nupdate = "rolling"\nready = { exit = 0 }', "vm.a.update: a VM with ready.exit"),
        ('replicas = 1\nupdate = "rolling"\nports = ["80:80"]', "the old one and the new one cannot share the port"),
        ('replicas = 1\nupdate = "rolling"\ndisks = ["d.img"]', "the old one and the new one cannot write to one disk"),
        ('replicas = 1\nupdate = "rolling"\nnetworks = { x = "10.9.0.7" }\n[network.x]\nsubnet = "10.9.0.0/24"',
         "the old one and the new one cannot share the address 10.9.0.7"),
        ("drain = -1", "vm.a.drain: -1 is no number of seconds from 0 to 3600"),
    ],
)  # fmt: skip
def test_what_makes_no_sense(tmp_path: Path, words: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load(tmp_path, words)
