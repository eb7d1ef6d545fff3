# SPDX-License-Identifier: MIT
"""`make test-wheel`: the wheel in a Debian 12 and 13 that have Python and QEMU, and no compiler, make and checkout: as an
ordinary user it is installed into a venv, hello and web are built and run, and web is asked for a page.

Prints a line a step; what they print is in build/fresh/*.log. Needs root and debootstrap; minutes, not in CI.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

from floe.cli import wheel
from tests.fresh.root import USER, Root, fresh, needs

REPO = Path(__file__).resolve().parents[2]
SUITES = ("bookworm", "trixie")
PACKAGES = ("ca-certificates", "python3", "python3-venv", "qemu-system-x86")
HOME = f"/home/{USER}"
FLOE = f"{HOME}/venv/bin/floe"
TIMEOUT_S = 300
ASK = f"""set -e
{FLOE} run -d --name web -p 8099:80 {HOME}/web
python3 -c 'import urllib.request as u; print(len(u.urlopen("http://127.0.0.1:8099/", timeout=20).read()), "bytes")'
{FLOE} stop web; {FLOE} rm web
"""
STEPS = {
    "no tools": ["sh", "-c", "! command -v gcc && ! command -v ld && ! command -v make"],
    "venv": ["python3", "-m", "venv", f"{HOME}/venv"],
    "install": ["sh", "-c", f"{HOME}/venv/bin/pip install -q {HOME}/floe-*.whl"],
    "hello": ["sh", "-c", f"{FLOE} run {HOME}/hello | grep -x 'hello, world'"],
    "inspect": ["sh", "-c", f"{FLOE} build {HOME}/hello -o {HOME}/h.elf && {FLOE} inspect {HOME}/h.elf | grep 'ready kernel'"],
    "web": ["sh", "-c", ASK],
    "doctor": [FLOE, "doctor"],
}  # fmt: skip


def attempt(root: Root, made: Path, logs: Path) -> int:
    """Steps that failed."""
    home = root.folder / HOME.lstrip("/")
    shutil.rmtree(home / "venv", ignore_errors=True)
    shutil.copy(made, home)
    for name in ("hello", "web"):
        shutil.copytree(REPO / "images" / name, home / name, dirs_exist_ok=True)
    root.own(HOME)
    failed = 0
    for name, argv in STEPS.items():
        log = logs / f"{root.suite}-wheel-{name.replace(' ', '-')}.log"
        started = time.monotonic()
        code = root.run(argv, user=USER, cwd=HOME, log=log, timeout_s=TIMEOUT_S)
        print(f"{root.suite:<9} {name:<9} exit {code}, {time.monotonic() - started:.1f} s", flush=True)
        if code:
            failed += 1
            print("".join(f"    {line}\n" for line in log.read_text(errors="replace").splitlines()[-8:]), flush=True)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(prog="make test-wheel", description=__doc__)
    parser.add_argument("--suite", action="append", choices=SUITES, help="this release only")
    args = parser.parse_args()
    if lacking := needs():
        print(f"test-wheel needs {lacking}", file=sys.stderr)
        return 2
    logs = REPO / "build" / "fresh"
    logs.mkdir(parents=True, exist_ok=True)
    made = wheel.make(logs)
    failed = sum(attempt(fresh(suite, logs / f"{suite}-wheel", PACKAGES), made, logs) for suite in args.suite or SUITES)
    print(f"{failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
