# SPDX-License-Identifier: MIT
"""A running guest is copied from one QEMU into another one under ordinary KVM, as fork() does it, and both go on."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from floe.kvmlab import nested
from floe.kvmlab.lab import LAB
from floe.spec.vmspec import VmSpec

TICKS = Path(__file__).with_name("guest_tick.py")
MORE = 10  # ticks after the copy
# Monitors are pipes: QEMU's own sandbox lets it open sockets, but start no program for a migration.
SCRIPT = """
cd $(mktemp -d)
mkfifo a.in a.out b.in b.out
trap 'kill -9 $pids; rm -rf $PWD' EXIT
cat a.out >a.said & pids=$!
cat b.out >b.said & pids="$pids $!"
await() {{ n=0; until "$@"; do n=$((n + 1)); [ $n -lt 300 ] || {{ tail -n 5 ?.text ?.said; exit 1; }}; usleep 100000; done; }}
ticks() {{ [ $(grep -c ^tick $1.text) -ge $2 ]; }}
arrived() {{ echo info status >b.in; grep -q 'VM status: paused[^(]*$' b.said; }}
{original} -monitor pipe:a >a.text 2>&1 & pids="$pids $!"
await ticks a 3
{copy} -monitor pipe:b -incoming unix:state >b.text 2>&1 & pids="$pids $!"
await [ -S state ]
printf 'stop\\nmigrate unix:state\\ncont\\n' >a.in
await arrived
echo cont >b.in
before=$(grep -c ^tick a.text)
await ticks a $((before + {more}))
await ticks b {more}
echo original $(grep ^tick a.text)
echo copy $(grep ^tick b.text)
""".strip()

pytestmark = pytest.mark.usefixtures("lab")


def test_a_guest_and_its_copy_go_on(build: Callable[..., Path]) -> None:
    with nested.settled(VmSpec(build(TICKS), cards=())) as spec:
        command = f"exec {shlex.join(nested.command(spec))}"
        script = SCRIPT.format(original=command, copy=command, more=MORE)
        said = LAB.call(f"sh -c {shlex.quote(script)} 2>&1", deadline_s=90)
    ticks = {}
    for who in ("original", "copy"):
        line = re.search(rf"^{who} (.*)$", said, re.MULTILINE)
        assert line is not None, said
        ticks[who] = [int(n) for n in re.findall(r"tick (\d+)", line[1])]
    original, copy = ticks["original"], ticks["copy"]
    assert original == list(range(len(original)))
    assert copy == list(range(copy[0], copy[0] + len(copy)))
    assert 3 <= copy[0] < len(original)  # from where the original was, which counts those ticks as well
    assert "PANIC" not in said
