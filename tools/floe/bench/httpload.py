# SPDX-License-Identifier: MIT
"""HTTP at a constant rate or as fast as it is answered: httpload.c, and what it has counted. Its times are from when a
request was due, so that a server that stands still is late for all that were due meanwhile."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from floe.bench.compiled import compiled
from floe.errors import VmError

_GRACE_S = 30.0


@dataclass(frozen=True)
class Load:
    """rate: requests a second, 0 for as many as are answered. each: a connection for each request. vary: no request is
    like another. timeout_s: without an answer for so long, a request is an error."""

    seconds: float
    rate: float = 0.0
    connections: int = 32
    each: bool = False
    vary: bool = False
    paths: tuple[str, ...] = ("/",)
    timeout_s: float = 5.0


@dataclass(frozen=True)
class Counted:
    """requests: those that were due. errors: of them, by kind in `kinds`. per_s: answered a second. late_ms: how late
    the load itself was at worst: times that are not much longer say nothing of the server."""

    requests: int
    answered: int
    errors: int
    kinds: dict[str, int]
    per_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    late_ms: float


def program() -> Path:
    """httpload.c, compiled. Raises NotFound, BuildError."""
    return compiled(Path(__file__).with_name("httpload.c"))


def argv(load: Load, targets: Sequence[tuple[str, int]]) -> list[str]:
    """Its command line, for servers at these addresses. Raises NotFound, BuildError."""
    words = [str(program()), "-r", f"{load.rate:g}", "-c", str(load.connections)]
    words += ["-d", f"{load.seconds:g}", "-t", f"{load.timeout_s:g}"]
    words += ["-x"] * load.each + ["-v"] * load.vary
    words += [word for path in load.paths for word in ("-p", path)]
    return words + [f"{address}:{port}" for address, port in targets]


def put(load: Load, targets: Sequence[tuple[str, int]], prefix: Sequence[str] = ()) -> Counted:
    """Put it on them. prefix: words before the command, as "ip netns exec NAME".

    Raises VmError, NotFound, BuildError."""
    words = [*prefix, *argv(load, targets)]
    limit_s = load.seconds + load.timeout_s + _GRACE_S + 0.1 * load.connections
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        raise VmError(f"the load did not end within {limit_s:.0f} s") from None
    if done.returncode:
        raise VmError("the load measured nothing", evidence=done.stderr.strip()[-1000:])
    said = json.loads(done.stdout)
    kinds = {kind: said.pop(kind) for kind in ("connect", "read", "status", "timeout", "unsent")}
    times = {f"{name}_ms": said[f"{name}_ms"] for name in ("p50", "p90", "p99", "p999", "max")}
    return Counted(
        said["requests"], said["answered"], said["errors"], kinds, said["per_s"], **times, late_ms=said["load_late_ms"]
    )
