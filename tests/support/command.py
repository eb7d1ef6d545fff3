# SPDX-License-Identifier: MIT
"""The command `floe` as a process of its own, with the interpreter that runs the tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

FLOE = [sys.executable, "-c", "from floe.cli.main import main; main()"]
# The same, but a guest that is asked to end has longer for it than any test waits: what ends sooner was ended otherwise.
PATIENT = [
    sys.executable,
    "-c",
    "from floe.cli.main import main; from floe.vm import session; session.STOP_GRACE_S = 600.0; main()",
]


def floe(*argv: str | Path, timeout_s: float = 120, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run to the end. Standard input is empty unless `input` or `stdin` says otherwise."""
    if "input" not in options:
        options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run(
        [*FLOE, *map(str, argv)], capture_output=True, text=True, timeout=timeout_s, check=False, **options
    )


def failure(*argv: str | Path, code: int, **options: Any) -> tuple[str, str, str]:
    """Cause, evidence and hint of a floe that fails with this exit code and prints nothing else."""
    done = floe(*argv, **options)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    said, _, hint = done.stderr.partition("\n  try: ")
    cause, _, evidence = said.partition("\n")
    assert cause.startswith("floe: ")
    return cause.removeprefix("floe: ").strip(), evidence.rstrip(), hint.strip()
