# SPDX-License-Identifier: MIT
"""`floe profile` on VMs that run: what is busy comes first, what waits is told apart, and the VM does not notice."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from floe.cli import profile as verb
from floe.detached import control, sampling
from floe.detached.requests import Request
from floe.detached.sampling import Sampler
from floe.detached.vmprocess import VmProcess
from floe.errors import FloeError, VmError
from floe.image.frames import Frame
from floe.store import vmfolder
from floe.store.vmfolder import Folder
from tests.support.command import failure, floe
from tests.support.vms import Vms, log, ps, until

# An eighth of the work is in `rare`.
BUSY = """
import time


def often(n):
    total = 0
    for i in range(n):
        total += i * i % 7
    return total


def rare(n):
    return often(n) + sum([1, 2])


def main():
    print("at it")
    while True:
        for _ in range(7):
            often(500)
        rare(500)


main()
"""
HOT = "busy.py:8 often"
WAIT_S = 60


def begin(vms: Vms, tmp_path: Path, script: str, name: str, accel: str) -> None:
    (tmp_path / f"{name}.py").write_text(script)
    vms.run(tmp_path / f"{name}.py", "--name", name, "--accel", accel)
    until(lambda: "at it" in log(name), "the script", WAIT_S)


def test_the_line_that_is_busy_comes_first(vms: Vms, tmp_path: Path, accel: str) -> None:
    begin(vms, tmp_path, BUSY, "busy", accel)
    before = ps("busy")
    graph = tmp_path / "busy.svg"
    done = floe("profile", "busy", "-s", "2", "-o", graph)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    head, titles, first, second, *_ = done.stdout.splitlines()
    assert head.startswith("busy: ") and " samples in " in head
    assert titles.split() == ["SELF", "TOTAL", "WHERE"]
    own, total, place = first.split(maxsplit=2)
    assert place == HOT
    assert float(own.rstrip("%")) > 50
    assert float(total.rstrip("%")) >= float(own.rstrip("%"))
    assert second.split()[1].startswith("mp_"), "a C function of the interpreter's"
    boxes = [title.text or "" for title in ElementTree.parse(graph).iter("{http://www.w3.org/2000/svg}title")]
    assert any(box.startswith("busy.py:24 <module>: ") for box in boxes)
    assert sum(box.startswith(f"{HOT}: ") for box in boxes) == 2, "below main, and below rare"
    found = json.loads(floe("profile", "busy", "-s", "2", "--json").stdout)
    assert found["name"] == "busy" and found["seconds"] >= 2
    assert found["samples"] == sum(stack["count"] for stack in found["stacks"]) > 0
    ways: Counter[tuple[str, ...]] = Counter()
    for stack in found["stacks"]:
        ways[tuple(frame["function"] for frame in stack["frames"])] += stack["count"]
    assert ways.most_common(1)[0][0] == ("<module>", "main", "often")
    assert found["stacks"][0]["frames"][0] == {"file": "busy.py", "line": 24, "function": "<module>"}
    after = ps("busy")
    assert {key: after[key] for key in ("state", "pid", "resets", "restarts")} == {
        key: before[key] for key in ("state", "pid", "resets", "restarts")
    }
    assert after["uptime"] > before["uptime"], "nothing has begun anew"


def test_a_vm_that_waits_is_idle(vms: Vms, tmp_path: Path, accel: str) -> None:
    begin(vms, tmp_path, "import time\nprint('at it')\nwhile True:\n    time.sleep(60)\n", "waits", accel)
    control.profile(vmfolder.find("waits"), 0.5, 20)  # what it does after its first line is over
    done = floe("profile", "waits", "-s", "0.5")
    assert done.returncode == 0, done.stderr
    assert "100 % idle" in done.stdout
    assert done.stdout.splitlines()[2].split() == ["100.0%", "100.0%", "waits.py:4", "<module>"]
    assert done.stdout.splitlines()[3].split() == ["100.0%", "idle"]


WAKES = """
import socket
import time

print("at it")
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    sock.sendto(b"x", ("10.0.2.2", 9))
    time.sleep_ms(1)
"""


def test_exits_are_counted_by_reason_and_told_of_the_lines_they_are_at(vms: Vms, tmp_path: Path, accel: str) -> None:
    begin(vms, tmp_path, WAKES, "wakes", accel)
    if accel != "kvm":
        cause, _, hint = failure("profile", "wakes", "--exits", code=125)
        assert (cause, hint) == (
            "only KVM counts exits, and this VM is emulated",
            "floe run --detach --accel kvm APP",
        )
        return
    done = floe("profile", "wakes", "-s", "2", "--rate", "500", "--exits")
    assert (done.returncode, done.stderr) == (0, "")
    head, total, *lines = done.stdout.splitlines()
    assert head.startswith("wakes: ") and " samples in " in head
    counted = {line.split()[2]: int(line.split()[0]) for line in lines if "/s  " in line}
    assert int(total.split()[0]) >= counted["halt_exits:"] > 0
    where = next(i for i, line in enumerate(lines) if " samples where exits come from" in line)
    assert any("wakes.py:" in line for line in lines[where + 1 :]), "it notifies its card at each turn"
    found = json.loads(floe("profile", "wakes", "-s", "0.5", "--exits", "--json").stdout)
    assert found["exits"]["exits"] >= found["exits"]["halt_exits"] > 0


@pytest.mark.parametrize(
    ("then", "told"),
    [
        ({"exits": 30, "halt_exits": 11}, {"exits": 20, "halt_exits": 10}),
        ({"exits": 3, "halt_exits": 1}, {}),
        (VmError("QEMU has ended"), {}),
    ],
    ids=["it goes on", "it was started anew", "it has ended"],
)
def test_exits_are_those_of_this_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: dict[str, int] | VmError, told: dict[str, int]
) -> None:
    """Without a VM."""
    answers: list[dict[str, int] | VmError] = [{"exits": 10, "halt_exits": 1}, then]

    async def exits() -> dict[str, int]:
        answer = answers.pop(0)
        if isinstance(answer, VmError):
            raise answer
        return answer

    async def nothing(*args: object) -> dict[str, Any]:
        return {"seconds": 1.0, "lost": 0, "idle": 0, "stacks": []}

    sampler = Sampler(cast(Folder, SimpleNamespace(name="busy", image=tmp_path / "none.elf")))
    monkeypatch.setattr(sampler, "_take", nothing)
    process = cast(VmProcess, SimpleNamespace(exits=exits))
    answer = asyncio.run(sampler.answer(process, Request(do="profile", exits=True), lambda: False))
    assert answer["exits"] == told


def test_a_vm_that_ends_meanwhile_is_told_as_far_as_it_came(vms: Vms, tmp_path: Path, accel: str) -> None:
    limited = "end = time.ticks_ms() + 12000\n    while time.ticks_ms() < end"
    script = BUSY.replace("while True", limited)
    begin(vms, tmp_path, script + "\nraise SystemExit(7)\n", "busy", accel)
    done = floe("profile", "busy", "-s", "60", "--rate", "500")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "floe: busy has ended\n"
    assert HOT in done.stdout
    until(lambda: ps("busy")["exit_code"] == 7, "its own end", WAIT_S)
    cause, _, hint = failure("profile", "busy", code=125)
    assert (cause, hint) == ("busy has ended", "floe start busy")


@pytest.mark.parametrize(
    "end", [KeyboardInterrupt(), FloeError("QEMU has ended"), None], ids=["ctrl-c", "reset", "end"]
)
def test_what_was_found_is_printed_however_it_ends(monkeypatch: pytest.MonkeyPatch, end: BaseException | None) -> None:
    """Without a VM: a keeper that answers once."""
    frames = [["busy.py", 24, "<module>"], ["busy.py", 8, "often"]]
    answers = [{"seconds": 1.0, "lost": 1, "idle": 0, "stacks": [{"frames": frames, "c": "mp_binary_op", "count": 9}]}]

    def answer(folder: Folder, seconds: float, rate: float, *, exits: bool) -> dict[str, Any] | None:
        if not answers and end is not None:
            raise end
        return answers.pop() if answers else None

    monkeypatch.setattr(control, "find", lambda name: (SimpleNamespace(name=name), None))
    monkeypatch.setattr(control, "status", lambda folder: SimpleNamespace(alive=True))
    monkeypatch.setattr(control, "profile", answer)
    done = CliRunner().invoke(verb.command, ["busy", "-s", "600"])
    assert done.exit_code == 0
    told = {FloeError: "floe: as far as it came: QEMU has ended\n", KeyboardInterrupt: ""}
    assert done.output == told.get(type(end), "floe: busy has ended\n") + (
        "busy: 9 samples in 1.0 s, 0 % idle; 1 could not be read\n"
        "  SELF   TOTAL  WHERE\n"
        "100.0%  100.0%  busy.py:8 often\n"
        "100.0%              mp_binary_op\n"
        "  0.0%  100.0%  busy.py:24 <module>\n"
    )


def test_two_at_once_would_disturb_each_other(tmp_path: Path) -> None:
    async def both() -> None:
        sampler = Sampler(cast(Folder, SimpleNamespace(name="busy", image=tmp_path / "none.elf")))
        process, request = cast(VmProcess, SimpleNamespace()), Request(do="profile", timeout=1.0)
        first = asyncio.create_task(sampler.answer(process, request, lambda: False))
        await asyncio.sleep(0)  # it reads the image
        second = await sampler.answer(process, request, lambda: False)
        assert second["error"] == "busy is being profiled already"
        for again in (first, sampler.answer(process, request, lambda: False)):  # what is over holds nobody up
            assert (await again)["error"] == "the image of busy does not say where its Python frames are"

    asyncio.run(both())


def test_a_c_function_is_told_only_of_functions_that_ran_before_and_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a VM: two samples, and other functions run after the second one."""
    work, other_line, rest = Frame("a.py", 4, "work"), Frame("a.py", 5, "work"), Frame("a.py", 9, "rest")
    stacks = [[work], [other_line], [work], [rest]]
    reader = SimpleNamespace(stack=lambda: stacks.pop(0), function_at=lambda rip: "idle")
    monkeypatch.setattr(sampling.frames, "program", lambda path: "a program")
    monkeypatch.setattr(sampling.vitals, "code", lambda path: (0, b""))
    monkeypatch.setattr(sampling, "Reader", lambda program, read: reader)

    async def nowhere() -> int:
        return 0

    memory = SimpleNamespace(read=None, close=lambda: None)
    process = cast(VmProcess, SimpleNamespace(instruction=nowhere, memory=lambda known: memory))
    sampler = Sampler(cast(Folder, SimpleNamespace(name="busy", image=tmp_path / "none.elf")))
    request = Request(do="profile", timeout=2.0, rate=1000.0)
    told = asyncio.run(sampler.answer(process, request, lambda: not stacks))
    assert told["stacks"] == [
        {"frames": (other_line,), "c": "idle", "count": 1},
        {"frames": (rest,), "c": "(not known)", "count": 1},
    ]
    assert (told["idle"], told["lost"]) == (2, 0)


def test_what_cannot_be_profiled_is_told(vms: Vms, tmp_path: Path) -> None:
    assert failure("profile", "nothere", code=127)[0] == "there is no VM nothere"
    begin(vms, tmp_path, BUSY, "busy", "tcg")
    cause, _, _ = failure("profile", "busy", "-s", "600", "-o", tmp_path / "none" / "x.svg", code=125)
    assert cause == f"cannot write {tmp_path}/none/x.svg: No such file or directory"
    folder = vmfolder.find("busy")
    folder.image.write_bytes(Path("/bin/true").read_bytes())
    cause, _, hint = failure("profile", "busy", code=125)
    assert cause == "the image of busy does not say where its Python frames are"
    assert hint == "build it again: this floe's images do"
