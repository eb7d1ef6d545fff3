# SPDX-License-Identifier: MIT
"""Xen guests in the lab, one and ten at once: from `xl create` to the first line on the console, and to the first byte
over HTTP. Seconds by the host's clock, in the order in which the lines reach it.

Ours: images/hello and images/web. Beside them: a guest of a few instructions (what Xen and xl cost), Debian's GRUB for PVH
(a C program in a guest's memory, as Mini-OS is), and Linux: Debian's cloud kernel, unpacked, with a busybox initramfs.
GRUB never sleeps: ten of it take the only processor from xl, so that there is no figure for ten.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from floe.bench import unixport
from floe.errors import VmError
from floe.lab import assets, deb, packages
from floe.lab.cpio import Archive
from floe.lab.tree import Tree
from floe.xenlab import dom0image, lab, machine
from tests.bench.common import GUESTS, ROOT, WEB, Options, Report, alternate, build, say, spread

FOLDER = unixport.BENCH / "xen"
_MEMORY = 2 << 30
_DEADLINE_S = 400.0
_MANY = 10

_LINUX_INIT = """#!/bin/busybox sh
echo "linux: a line"
b=/bin/busybox
$b mount -t proc proc /proc
$b insmod /xen-netfront.ko
until $b ip link set eth0 up 2>/dev/null; do $b usleep 10000; done
$b ip addr add $($b sed 's/.*ip=\\([^ ]*\\).*/\\1/' /proc/cmdline)/24 dev eth0
$b httpd -p 80 -h /www
echo "linux: serving"
while :; do $b sleep 1000000; done
"""

# Everything that is not `xl create` happens before "start" or after the first line.
_SCRIPT = r"""
ask() { printf 'GET /robots.txt HTTP/1.0\r\nHost: bench\r\n\r\n' | timeout 5 nc "$1" 80 2>/dev/null | head -c 1; }
one() {
    xl create -F -q "/bench/$1.cfg" 2>&1 </dev/null | while IFS= read -r line; do
        case $line in
        *"(domid "*") to die"*)
            id=${line#*(domid }
            tty=$(xenstore-read "/local/domain/${id%%)*}/console/tty")
            if [ "@LINE@" ]; then
                while IFS= read -r said; do
                    case $said in
                    *"@SERVING@"*)
                        # It may say so before its backend has joined it to the bridge.
                        until [ "$(ask "@NET@.$1")" = H ]; do :; done
                        echo "byte"
                        break
                        ;;
                    *"@LINE@"*) echo "line"; [ "@SERVING@" != none ] || break ;;
                    esac
                done <"$tty"
            else
                head -c 1 <"$tty" >/dev/null
                echo "line"
            fi
            ;;
        *fail* | *rror*) printf 'xl: %s\n' "$line" ;;
        esac
    done
}
echo start
for n in @NUMBERS@; do one "$n" & done
cat >/dev/null
for n in @NUMBERS@; do xl destroy "bench-$n"; done >/dev/null 2>&1
wait
"""


@dataclass(frozen=True)
class System:
    """A kind of guest. line, serving: what it says first, and when it answers; line "": whatever comes first."""

    name: str
    memory: int  # MiB
    line: str
    serving: str = "none"
    cmdline: str = ""
    ramdisk: bool = False
    counts: tuple[int, ...] = (1, _MANY)
    quick_counts: tuple[int, ...] = (1, _MANY)


def _systems() -> dict[System, dict[str, bytes]]:
    """What is compared, with the files of each."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    bare = FOLDER / "console_ring.elf"
    flags = ["-m32", "-O2", "-ffreestanding", "-fno-pic", "-no-pie", "-nostdlib", "-static", "-fno-stack-protector"]
    argv = [
        "gcc",
        *flags,
        "-Wl,-Ttext-segment=0x100000,--build-id=none",
        str(GUESTS / "console_ring.c"),
        "-o",
        str(bare),
    ]
    subprocess.run(argv, check=True, timeout=60)
    pins = packages.load(dom0image.RECIPE.pins)
    wanted = [*pins.of("bench"), *(p for p in pins.of() if p.name == "busybox-static")]
    *debs, busybox = assets.debs(dom0image.RECIPE, wanted, say)
    linux = Tree([*debs, busybox], "-", ("xen-netfront",))
    grub = deb.read(debs[-1], lambda path: path.endswith("/grub-i386-xen_pvh.bin"))[0]
    hello, web = build(ROOT / "images" / "hello"), build(WEB)
    return {
        System("bare", 32, "bare: a line"): {"kernel": bare.read_bytes()},
        System("hello", 32, "hello, world"): {"kernel": hello.read_bytes()},
        System("web", 32, "", "serving", "ip=@IP@/24,gw=10.0.2.2"): {"kernel": web.read_bytes()},
        System("grub", 32, "", counts=(1,), quick_counts=(1,)): {"kernel": next(iter(grub.values()))},
        System("linux", 96, "linux: a line", "linux: serving", "console=hvc0 quiet ip=@IP@", True, quick_counts=(1,)): {
            "kernel": linux.kernel(),
            "ramdisk": _initramfs(linux),
        },
    }


def _initramfs(linux: Tree) -> bytes:
    out = Archive()
    out.folder("proc")
    out.character_device("dev/console", 5, 1)
    out.file("bin/busybox", linux.one("bin/busybox"), 0o755)
    driver = linux.module("xen-netfront")
    assert driver is not None
    out.file("xen-netfront.ko", driver)
    out.file("www/robots.txt", b"User-agent: *\n")
    out.file("init", _LINUX_INIT.encode(), 0o755)
    return out.finish()


@contextmanager
def _own_lab() -> Iterator[None]:
    """A lab of this bench alone."""
    before = os.environ.get("XDG_STATE_HOME")
    with tempfile.TemporaryDirectory(prefix="floe-bench-") as folder:
        os.environ["XDG_STATE_HOME"] = folder
        try:
            machine.up(say, _MEMORY)
            yield
        finally:
            machine.down(say, 0)
            if before is None:
                del os.environ["XDG_STATE_HOME"]
            else:
                os.environ["XDG_STATE_HOME"] = before


def _bring(system: System, files: dict[str, bytes]) -> None:
    """Its files and a configuration for each guest, in dom0's memory. What was there goes."""
    lab.call("rm -rf /bench; mkdir /bench")
    for name, content in files.items():
        lab.call(f"cat >/bench/{name}", stdin=content, deadline_s=_DEADLINE_S)
    for n in range(lab.FIRST_GUEST, lab.FIRST_GUEST + _MANY):
        config = (
            f'name="bench-{n}"\ntype="pvh"\nkernel="/bench/kernel"\nmemory={system.memory}\ntsc_mode="native"\n'
            f'cmdline="{system.cmdline.replace("@IP@", f"10.0.2.{n}")}"\n'
            f'on_poweroff="preserve"\non_reboot="preserve"\non_crash="preserve"\n'
        )
        config += 'ramdisk="/bench/ramdisk"\n' if system.ramdisk else ""
        config += f'vif=["mac=00:16:3e:0a:02:{n:02x},bridge={lab.BRIDGE}"]\n' if system.serving != "none" else ""
        lab.call(f"cat >/bench/{n}.cfg", stdin=config.encode())


def _measure(system: System, files: dict[str, bytes], count: int) -> Report:
    """_run(), or what was in its way: one system's failure is not the others'."""
    try:
        result = _run(system, files, count)
        say(f"    {', '.join(f'{key} {value:.2f} s' for key, value in result.items())}")
        return result
    except VmError as e:
        say(f"    failed: {e.message}")
        return {"failed": e.message, "evidence": e.evidence}
    finally:
        gone = "n=0; while xl list | grep -q bench- && [ $((n += 1)) -lt 60 ]; do usleep 500000; done"
        lab.call(gone, deadline_s=_DEADLINE_S)


def _run(system: System, files: dict[str, bytes], count: int) -> Report:
    """Seconds until the last of `count` guests said its first line, and sent its first byte."""
    _bring(system, files)
    numbers = range(lab.FIRST_GUEST, lab.FIRST_GUEST + count)
    script = _SCRIPT.replace("@NUMBERS@", " ".join(map(str, numbers))).replace("@NET@", "10.0.2")
    script = script.replace("@LINE@", system.line or ("@" if system.serving != "none" else ""))
    script = script.replace("@SERVING@", system.serving)
    seen: dict[str, list[float]] = {"line": [], "byte": []}
    wanted = ["line"] * bool(system.line or system.serving == "none") + ["byte"] * (system.serving != "none")
    with lab.connect(script) as sock:
        ends = time.monotonic() + _DEADLINE_S
        buffer, said, start = b"", "", 0.0
        while min(len(seen[key]) for key in wanted) < count:
            sock.settimeout(max(0.01, ends - time.monotonic()))
            try:
                data = sock.recv(4096)
            except TimeoutError:
                data = b""
            now = time.monotonic()
            if not data:
                missing = {key: count - len(seen[key]) for key in wanted}
                raise VmError(
                    f"{system.name}: missing after {now - start:.0f} s: {missing}", evidence=said + lab.evidence()
                )
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                said += line.decode("utf-8", "replace") + "\n"
                if line == b"start":
                    start = now
                elif line == b"line":
                    seen["line"].append(now - start)
                elif line == b"byte":
                    seen["byte"].append(now - start)
                elif line.startswith(b"xl: ") and b"cannot" in line:
                    raise VmError(f"{system.name}: xl create failed", evidence=said + lab.evidence())
    return {key: max(seen[key]) for key in wanted}


def bench(options: Options) -> Report:
    """By system: seconds to the first line and the first byte, alone and the last of ten; ratios to ours."""
    rounds = 1 if options.quick else 3
    with ExitStack() as stack:
        systems = _systems()
        stack.enter_context(_own_lab())
        measures = {
            f"{system.name} x{count}": partial(_measure, system, files, count)
            for system, files in systems.items()
            for count in (system.quick_counts if options.quick else system.counts)
        }
        runs = alternate(rounds, measures)
    report: Report = {name: _summary(values) for name, values in runs.items()}
    for count in (1, _MANY):
        for ours, theirs, key in (
            ("bare", "hello", "line"),
            ("hello", "grub", "line"),
            ("hello", "linux", "line"),
            ("web", "linux", "byte"),
        ):
            pairs = zip(runs.get(f"{ours} x{count}", ()), runs.get(f"{theirs} x{count}", ()), strict=False)
            if values := [b[key] / a[key] for a, b in pairs if key in a and key in b]:
                report[f"{theirs} : {ours}, first {key}, x{count}"] = spread(values, 2)
    return report


def _summary(values: list[Report]) -> Report:
    good = [value for value in values if "failed" not in value]
    report: Report = {key: spread([value[key] for value in good], 2) for key in (good[0] if good else ())}
    if len(good) < len(values):
        report["failures"] = [value for value in values if "failed" in value]
    return report
