# SPDX-License-Identifier: MIT
"""Programs in pure Python, as bytecode, as native code and as viper's: in a VM, in the same MicroPython as a Linux
process, and in CPython. Native code and viper's are compiled where they run, in a VM with the profile dev."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from floe.bench import guests, perf, unixport
from floe.bench.experiment import Contender, Experiment, Figure, LeftOut, Options, Reading, Turn
from floe.bench.guests import LABELS, SCRIPTS
from floe.errors import FloeError, VmError

_LOOPS = SCRIPTS / "cpu_loops.py"
_PROCESS = "MicroPython, process"
_HEAP = "1M"
FIGURES = (Figure("ms", "time", "ms"), Figure("score", "upstream's score", "", more_is_better=True))
Answers = dict[str, object]  # by loop: what it came to, the first time


def prepare(options: Options) -> Experiment:
    """Raises what the builds do."""
    options.say("cpu: building the loops, and MicroPython's unix port where it is not built yet")
    answers: Answers = {}
    left_out = list(guests.accels_left_out(options.accels, "Floe, {}"))
    contenders = []
    try:
        unixport.build()
    except FloeError as e:
        left_out.append(LeftOut(_PROCESS, e.message))
    else:
        contenders.append(_process("", [str(unixport.BINARY), "-X", f"heapsize={_HEAP}"], answers))
        for kind in ("native", "viper"):
            contenders.append(_process(kind, [str(unixport.BINARY), "-X", f"heapsize={_HEAP}"], answers))
    for accel in options.accels:
        kinds: tuple[str, ...] = ("", "native", "viper")
        if options.quick and accel == "tcg":
            kinds = ("",)
            left_out.append(LeftOut("native and viper on TCG", "--quick has no time for them"))
        for kind in kinds:
            elf = _built(kind)
            measure = partial(_in_vm, elf, accel, answers)
            against = _named(_PROCESS, kind)
            contenders.append(Contender(_named(f"Floe, {LABELS[accel]}", kind), measure, against, limit_s=120))
    contenders += _upstreams(options, left_out)
    cpython = partial(_as_process, [sys.executable, "-I"], "", answers)
    contenders.append(Contender("CPython, process", cpython, _PROCESS, command=f"python3 {_LOOPS.name}", limit_s=60))
    return Experiment(
        "cpu",
        "Processor",
        "Milliseconds that loops take: arithmetic, calls, objects, containers, text, floats, and their sum.",
        FIGURES,
        tuple(contenders),
        rounds=options.of(6, 1),
        seconds=45 if options.quick else 3600,
        left_out=tuple(left_out),
        note="All must come to the same results. viper is for loops of machine words: here the arithmetic alone; it "
        "and native code need the profile dev in a VM.",
    )


def _upstreams(options: Options, left_out: list[LeftOut]) -> list[Contender]:
    """perf_bench, which takes a minute and more each."""
    name = "upstream's perf_bench"
    if options.quick:
        left_out.append(LeftOut(name, "--quick has no time for it"))
        return []
    if not perf.TESTS.is_dir() or not unixport.BINARY.exists():
        left_out.append(LeftOut(name, "it is run from a checkout of Floe, beside MicroPython's unix port"))
        return []
    with tempfile.TemporaryDirectory(prefix="floe-bench-") as scratch:
        script = Path(scratch) / "bench_device.py"
        script.write_text("")
        elf = guests.build(script, profile="dev")
    base = Contender(_named(_PROCESS, "perf_bench"), partial(perf.as_process, ()), limit_s=300)
    return [
        base,
        *(
            Contender(
                _named(f"Floe, {LABELS[accel]}", "perf_bench"),
                partial(perf.in_vm, elf, accel, ()),
                base.name,
                limit_s=300,
            )
            for accel in options.accels
        ),
    ]


def _named(name: str, kind: str) -> str:
    return f"{name}, {kind}" if kind else name


def source(kind: str) -> str:
    """The loops as bytecode "", or with upstream's decorators. viper: those alone that it can do, the arithmetic."""
    text = _LOOPS.read_text()
    if kind == "native":
        names = "|".join(("arithmetic", "calls", "objects", "containers", "text", "floats"))
        return re.sub(rf"^def ({names})\(", r"@micropython.native\ndef \1(", text, flags=re.MULTILINE)
    if kind == "viper":
        text = text.replace("def arithmetic():", "@micropython.viper\ndef arithmetic() -> int:")
        return re.sub(r"^LOOPS = .*$", "LOOPS = (arithmetic,)", text, flags=re.MULTILINE)
    return text


def _built(kind: str) -> Path:
    """Of native code the source is in the image: an image's own bytecode has none."""
    with tempfile.TemporaryDirectory(prefix="floe-bench-") as scratch:
        path = Path(scratch) / "bench_cpu.py"
        text = source(kind)
        path.write_text(f"exec({text!r})\n" if kind else text)
        return guests.build(path, profile="dev" if kind else None)


def _process(kind: str, argv: list[str], answers: Answers) -> Contender:
    measure = partial(_as_process, argv, kind, answers)
    against = _PROCESS if kind else ""
    return Contender(_named(_PROCESS, kind), measure, against, command=f"micropython {_LOOPS.name}", limit_s=60)


def _as_process(argv: list[str], kind: str, answers: Answers, turn: Turn) -> Iterator[Reading]:
    with tempfile.TemporaryDirectory(prefix="floe-bench-") as scratch:
        path = Path(scratch) / _LOOPS.name
        path.write_text(source(kind))
        try:
            done = subprocess.run([*argv, str(path)], capture_output=True, text=True, timeout=turn.left(), check=False)
        except subprocess.TimeoutExpired:
            raise VmError("the loops did not end within the round's time") from None
    yield from readings(done.stdout + done.stderr, answers)


def _in_vm(elf: Path, accel: str, answers: Answers, turn: Turn) -> Iterator[Reading]:
    with guests.booted(guests.spec(elf, accel=accel, cards=())) as vm:
        guests.expect(vm, "cpu: {", turn.left())
        guests.expect(vm, "]}", turn.left())
        yield from readings(vm.console_text, answers)


def readings(said: str, answers: Answers) -> Iterator[Reading]:
    """Of a line `cpu: {LOOP: [MICROSECONDS, RESULT]}`. Raises VmError without it, and for another result."""
    line = next((line for line in said.splitlines() if line.startswith("cpu: ")), None)
    if line is None:
        raise VmError("the loops printed no figures", evidence=said[-1000:])
    found: dict[str, tuple[int, object]] = json.loads(line.removeprefix("cpu: "))
    for loop, (_, answer) in found.items():
        if answers.setdefault(loop, answer) != answer:
            raise VmError(f"the loop {loop} came to {answer}, and elsewhere to {answers[loop]}")
    for loop, (us, _) in found.items():
        yield Reading({"ms": us / 1000}, loop)
    if len(found) > 1:
        yield Reading({"ms": sum(us for us, _ in found.values()) / 1000}, "all loops")
