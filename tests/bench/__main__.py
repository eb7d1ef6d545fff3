# SPDX-License-Identifier: MIT
"""Measure Floe on this machine and print JSON: `make bench`, or `.venv/bin/python -m tests.bench [NAME ...]`.

Progress goes to standard error. Everything stays on loopback and in network namespaces of its own; every guest is ended
again, also on Ctrl-C and SIGTERM.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import time
from collections.abc import Callable

from floe.errors import FloeError
from tests.bench import (
    appliances,
    boots,
    bulk,
    connections,
    flows,
    fork,
    handoff,
    hosts,
    packet,
    place,
    proxy,
    serve,
    soak,
    swaps,
    xen,
)
from tests.bench.common import Options, Report, machine, say, usable_accels

BENCHES: dict[str, Callable[[Options], Report]] = {
    "place": place.bench,
    "fork": fork.bench,
    "handoff": handoff.bench,
    "serve": serve.bench,
    "proxy": proxy.bench,
    "appliances": appliances.bench,
    "connections": connections.bench,
    "bulk": bulk.bench,
    "flows": flows.bench,
    "packet": packet.bench,
    "xen": xen.bench,
    "hosts": hosts.bench,
}
LONG: dict[str, Callable[[Options], Report]] = {  # only where they are named
    "boots": boots.bench,
    "soak": soak.bench,
    "swaps": swaps.bench,
}


def main() -> int:
    known = BENCHES | LONG
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these: {', '.join(known)}")
    parser.add_argument("--quick", action="store_true", help="short runs, few rounds: to see that it works")
    parser.add_argument("--accel", choices=("kvm", "tcg"), help="only this accelerator")
    parser.add_argument("-n", type=int, default=1000, metavar="N", dest="boots", help="boots on each accelerator")
    parser.add_argument("--hours", type=float, default=2.0, help="length of the soak, and of swaps")
    args = parser.parse_args()
    unknown = [name for name in args.names if name not in known]
    if unknown:
        parser.error(f"no bench named {unknown[0]}; there are {', '.join(known)}")
    accels = [args.accel] if args.accel else usable_accels()
    options = Options(quick=args.quick, accels=accels, boots=args.boots, hours=args.hours)
    report: Report = {"command": "python -m tests.bench " + " ".join(sys.argv[1:]), "machine": machine()}
    failed = False
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        for name in args.names or BENCHES:
            say(name)
            start = time.monotonic()
            try:
                report[name] = known[name](options)
            except FloeError as exc:
                report[name] = {"failed": exc.message, "evidence": exc.evidence}
                say(f"{name} failed: {exc.message}")
            failed |= "failed" in report[name]  # also where the bench told the rest
            report[name]["took_s"] = round(time.monotonic() - start, 1)
    finally:  # what was measured before Ctrl-C, or before a fault in a bench, is worth its time
        # Lists of numbers on one line each.
        print(re.sub(r"\[[\s\d.,-]+\]", lambda m: re.sub(r"\s+", " ", m[0]), json.dumps(report, indent=1)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
