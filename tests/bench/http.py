# SPDX-License-Identifier: MIT
"""HTTP requests per second over 32 kept-alive connections, ours and the Linux microVM's, with the same script.

Every guest has one CPU and sits behind QEMU's user network; wrk runs beside it on the same host. Ratios are
round by round, of TCG guests: on the same machine type, and of our default machine type to Linux's.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from floe.errors import VmError
from tests.bench.common import (
    GUESTS,
    HERE,
    Options,
    Report,
    alternate,
    build,
    expect,
    floe_vm,
    median,
    ratios,
    spread,
)
from tests.bench.common import (
    WEB as WEB_FOLDER,
)
from tests.bench.linux import MACHINE, LinuxVm

_CONNECTIONS = 32


@dataclass(frozen=True)
class Script:
    """A server that runs on both. ready: what it prints when it listens."""

    name: str
    main: Path
    ready: str
    path: str = "/"


WEB = Script("web", WEB_FOLDER / "main.py", "serving on port")
POLL = Script("poll", GUESTS / "guest_poll_http.py", "serving on port")


def command(port: int, seconds: int, path: str) -> list[str]:
    """16 threads of 2 connections: see wrk.lua."""
    argv = ["wrk", "-t16", f"-c{_CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", "-s", str(HERE / "wrk.lua")]
    return [*argv, f"http://127.0.0.1:{port}{path}"]


def measure(port: int, seconds: int, path: str, requests: str = "") -> Report:
    """Raises VmError. requests: "differing" for what wrk.lua makes of that."""
    url = f"http://127.0.0.1:{port}{path}"
    subprocess.run(["curl", "-sSf", "-m", "10", "-o", "/dev/null", url], check=True, timeout=20)
    done = subprocess.run(
        command(port, seconds, path), capture_output=True, text=True, timeout=seconds + 60, check=False,
        env=os.environ | {"BENCH_REQUESTS": requests},
    )  # fmt: skip
    line = next((text for text in done.stdout.splitlines() if text.startswith("JSON ")), None)
    if line is None:
        raise VmError("wrk measured nothing", evidence=(done.stdout + done.stderr)[-1000:])
    report: Report = json.loads(line.removeprefix("JSON "))
    report["per_s"] = round(report["requests"] / report["seconds"], 1)
    return report


def run_floe(script: Script, accel: str, *, memory: str = "32M", machine: str = "microvm", seconds: int) -> Report:
    with floe_vm(build(script.main), accel=accel, machine=machine, memory=memory, ports=[80]) as vm:
        expect(vm, script.ready)
        return measure(vm.ports[80], seconds, script.path)


def run_linux(script: Script, *, seconds: int) -> Report:
    with LinuxVm(script.main, (80,), {}) as vm:
        vm.wait_for(script.ready)
        return measure(vm.ports[80], seconds, script.path)


def summary(runs: list[Report]) -> Report:
    return {
        "per_s": spread([run["per_s"] for run in runs], 1),
        "p50_ms": median([run["p50_us"] / 1000 for run in runs]),
        "p99_ms": median([run["p99_us"] / 1000 for run in runs]),
        "max_ms": round(max(run["max_us"] for run in runs) / 1000, 1),
        "errors": sum(run["errors"] for run in runs),
        "error_kinds": {
            kind: sum(run[kind] for run in runs) for kind in ("connect", "read", "write", "status", "timeout")
        },
        "requests": sum(run["requests"] for run in runs),
        "seconds": runs[0]["seconds"],
    }


def bench(options: Options) -> Report:
    """images/web for 30 s and a bare poll() loop for 5 s, on each accelerator, and on Linux under TCG."""
    report: Report = {"command": " ".join(command(80, options.seconds(30), "/"))}
    for script, full in ((WEB, 30), (POLL, 5)):
        seconds = options.seconds(full)
        systems: dict[str, Callable[[], Any]] = {
            f"floe {accel} microvm": partial(run_floe, script, accel, seconds=seconds) for accel in options.accels
        }
        systems[f"floe tcg {MACHINE}"] = partial(run_floe, script, "tcg", machine=MACHINE, seconds=seconds)
        systems[f"linux tcg {MACHINE}"] = partial(run_linux, script, seconds=seconds)
        runs = alternate(options.rounds, systems)
        result = {name: summary(values) for name, values in runs.items()}
        result["ratios"] = ratios(runs, "per_s")
        report[script.name] = result
    return report
