# SPDX-License-Identifier: MIT
"""Sizes of the images, and the least RAM with which each does its work."""

from __future__ import annotations

from floe.errors import FloeError
from tests.bench import http
from tests.bench.common import ROOT, Options, Report, build, floe_vm, say

_STEPS_KIB = (2048, 2304, 2560, 3072, 3584, 4096, 5120, 6144, 7168, 8192)


def elf(options: Options) -> Report:
    """Bytes of each image's ELF."""
    return {name: build(ROOT / "images" / name).stat().st_size for name in ("hello", "web", "microdot")}


def _hello(accel: str, memory: str) -> bool:
    try:
        with floe_vm(build(ROOT / "images" / "hello"), accel=accel, memory=memory) as vm:
            return vm.wait(deadline_s=15) == 0 and "hello, world" in vm.console_text
    except FloeError:
        return False


def _web(accel: str, memory: str) -> bool:
    """32 kept-alive connections for a while, without an error."""
    try:
        return bool(http.run_floe(http.WEB, accel, memory=memory, seconds=3)["errors"] == 0)
    except FloeError:
        return False


def ram(options: Options) -> Report:
    """Least -m, in steps, and whether the promised sizes do. Every size tried, in KiB, with its outcome."""
    report: Report = {}
    for name, works, promised in (("hello", _hello, 4096), ("web, 32 connections", _web, 8192)):
        accel = options.accels[0]
        tried = {}
        for kib in _STEPS_KIB:
            say(f"ram: {name} with {kib} KiB")
            tried[kib] = works(accel, f"{kib}K")
            if tried[kib]:
                break
        if promised not in tried:
            tried[promised] = works(accel, f"{promised}K")
        least = min((kib for kib, ok in tried.items() if ok), default=None)
        report[name] = {
            "accel": accel,
            "least_kib": least,
            f"works_in_{promised}_kib": tried[promised],
            "tried_kib": tried,
        }
    return report
