# SPDX-License-Identifier: MIT
"""`make test-fresh`: the README's two commands, and `make check`, on a fresh Debian 12 and 13, as root and as an
ordinary user whose packages are there, in a folder with a blank and an umlaut in its name. Hours; not in CI.

Prints a line a command and a table at the end; what the commands print is in build/fresh/*.log.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.fresh.root import USER, Root, fresh, needs

REPO = Path(__file__).resolve().parents[2]
SUITES = ("bookworm", "trixie")
COMMANDS = {"run": ["make", "run"], "check": ["make", "check"], "test": ["make", "test"]}
TIMEOUT_S = {"setup": 1800, "run": 1800, "check": 1800, "test": 7200}


def attempt(root: Root, user: str, verbs: list[str], logs: Path) -> list[tuple[str, int]]:
    """Clone and run the verbs in turn: name and exit code of each."""
    home = "/root" if user == "root" else f"/home/{user}"
    folder = f"{home}/my flöe"
    root.clone(REPO, folder, user)
    steps = [(verb, user, COMMANDS[verb]) for verb in verbs]
    if user != "root":  # its packages: what make says to type with sudo
        packages = ["env", "PYTHONPATH=tools", "python3", "-B", "-m", "floe.setup", "--tests", "--packages"]
        steps.insert(0, ("setup", "root", packages))
    results = []
    for verb, who, argv in steps:
        log = logs / f"{root.suite}-{user}-{verb}.log"
        started = time.monotonic()
        code = root.run(argv, user=who, cwd=folder, log=log, timeout_s=TIMEOUT_S[verb])
        name = f"{root.suite:<9} {user:<5} {verb:<6}"
        results.append((name, code))
        print(f"{name} exit {code}, {time.monotonic() - started:.0f} s, {log}", flush=True)
        if code:
            print("".join(f"    {line}\n" for line in log.read_text(errors="replace").splitlines()[-12:]), flush=True)
        if code and verb == "setup":
            break
    return results


def main() -> int:
    parser = argparse.ArgumentParser(prog="make test-fresh", description=__doc__)
    parser.add_argument("--suite", action="append", choices=SUITES, help="this release only")
    parser.add_argument("--user", action="append", choices=("root", USER), help="this user only")
    parser.add_argument("--verb", action="append", choices=tuple(COMMANDS), help="this command only")
    args = parser.parse_args()
    if lacking := needs():
        print(f"test-fresh needs {lacking}", file=sys.stderr)
        return 2
    logs = REPO / "build" / "fresh"
    logs.mkdir(parents=True, exist_ok=True)
    results: list[tuple[str, int]] = []
    for suite in args.suite or SUITES:
        root = fresh(suite, logs / suite)
        for user in args.user or ("root", USER):
            results += attempt(root, user, args.verb or list(COMMANDS), logs)
    failed = [name for name, code in results if code]
    print(f"\n{len(results) - len(failed)} passed, {len(failed)} failed")
    print("".join(f"failed: {name}\n" for name in failed), end="")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
