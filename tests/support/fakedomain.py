# SPDX-License-Identifier: MIT
"""The proxy process of a Xen domain against an xl of a few lines, whose domain is a pty."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tty
from pathlib import Path

from floe.spec.handover import Blob

# Domain 7 lives until a line comes to the FIFO `end`: what xl says then. It is created, or restored from `state`, which
# is what was saved of domain 5.
XL = """#!/bin/sh
echo "$*" >>"$FAKE/calls"
live() {
    echo "got a tsc mode string" >&2
    : >"$FAKE/alive"
    echo "Waiting for domain x (domid 7) to die [pid 1]" >&2
    read -r said <"$FAKE/end"
    rm "$FAKE/alive"
    echo "$said" >&2
}
case $1 in
create)
    cat "$(eval echo \\${$#})" >"$FAKE/config"
    if [ -e "$FAKE/refuse" ]; then cat "$FAKE/refuse" >&2; exit 3; fi
    live
    ;;
restore)
    cat "$4" >"$FAKE/config"
    if [ -e "$FAKE/refuse" ]; then cat "$FAKE/refuse" >&2; exit 3; fi
    if [ -e "$FAKE/slow" ]; then read -r go <"$FAKE/slow"; fi
    cat "$5" >"$FAKE/state"
    live
    ;;
save)
    exec 9>"$4"
    echo "Saving to a pipe" >&2
    if [ -e "$FAKE/unsaved" ]; then cat "$FAKE/unsaved" >&2; exit 1; fi
    n=0
    until [ $n = 20000 ]; do echo "page $n of domain $3" >&9; n=$((n + 1)); done
    : >"$FAKE/saved"
    ;;
list) cat "$FAKE/list" ;;
destroy) [ ! -e "$FAKE/alive" ] || echo "Domain 7 has been destroyed." >"$FAKE/end" ;;
esac
"""
READ = '#!/bin/sh\ncat "$FAKE/store$1" 2>/dev/null\n'
WRITE = (
    '#!/bin/sh\nwhile [ $# -gt 1 ]; do mkdir -p "$FAKE/store${1%/*}"; printf %s "$2" >"$FAKE/store$1"; shift 2; done\n'
)
WATCH = """#!/bin/sh
case $* in
@releaseDomain) while sleep 0.05; do echo "$*"; done ;;
*) exec sleep 0.05 ;;
esac
"""
MKTEMP = f'#!/bin/sh\nmkdir -p "$FAKE/run" && exec {shutil.which("mktemp")} "$1" "$FAKE$2"\n'  # /run is root's
# The family's line: a guest that sends everything back. As the real one it goes on when its input has ended.
PROXY = """#!/bin/sh
echo "$$ $*" >"$FAKE/proxy"
cat
read -r never <"$FAKE/never"
"""
HOME = "local/domain/7"


class Fake:
    """A dom0 of shell scripts, and one domain process in it."""

    def __init__(self, folder: Path, *more: str, blobs: tuple[Blob, ...] = (), listening: bool = False,
                 family: bool = False, proxy: bool = True) -> None:  # fmt: skip
        """family: it has a line to its family, for which dom0 has the program if proxy."""
        self.folder = folder
        self._wires = 4 if family else 3
        (folder / "bin").mkdir()
        for name, text in (("xl", XL), ("xenstore-read", READ), ("xenstore-write", WRITE), ("mktemp", MKTEMP),
                           ("xenstore-watch", WATCH), *((("vchan-socket-proxy", PROXY),) if proxy else ())):  # fmt: skip
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)
        os.mkfifo(folder / "end")
        os.mkfifo(folder / "never")
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        self.store("console/tty", os.ttyname(self.slave))
        (folder / "elf").write_bytes(b"\x7fELF" * 50_000)
        self._more, self._blobs, self._listening = more, blobs, listening
        self.inherited: list[int] = []
        self.refusal = folder / "refuse"

    def start(self, *, connect: bool = True) -> None:
        pairs = [socket.socketpair() for _ in range(self._wires)]
        if self._listening:
            for index, (ours, theirs) in enumerate(pairs):
                ours.close()
                theirs.close()
                listener = socket.socket(socket.AF_UNIX)
                listener.bind(str(self.folder / f"wire{index}"))
                listener.listen(1)
                pairs[index] = (socket.socket(socket.AF_UNIX), listener)
        self._take([pair[0] for pair in pairs])
        fds = [pair[1].fileno() for pair in pairs]
        blobs = [os.memfd_create("blob") for _ in self._blobs]
        for fd, blob in zip(blobs, self._blobs, strict=True):
            os.write(fd, blob.content)
        argv = [sys.executable, "-P", "-m", "floe.xen.domain", "--place", "dom0", "--elf", str(self.folder / "elf")]
        argv += ["--config", 'name="x"\n', "--console", str(fds[0]), "--serial", str(fds[1]), "--events", str(fds[2])]
        argv += ["--family", str(fds[3])] if self._wires > 3 else []
        for fd, blob in zip(blobs, self._blobs, strict=True):
            argv += ["--blob", f"{blob.name}={fd}"]
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        self.process = subprocess.Popen(
            [*argv, *self._more],
            pass_fds=[*fds, *blobs, *self.inherited],
            env={**os.environ, "PATH": path, "FAKE": str(self.folder)},
            stderr=subprocess.PIPE,
        )
        for fd in blobs:
            os.close(fd)
        for pair in pairs:
            pair[1].close()
            pair[0].settimeout(20)
        if self._listening and connect:
            self.connect()

    def connect(self) -> None:
        """As an owner that comes, to sockets that listen."""
        sockets = [socket.socket(socket.AF_UNIX) for _ in range(self._wires)]
        self._take(sockets)
        for index, s in enumerate(sockets):
            s.settimeout(20)
            s.connect(str(self.folder / f"wire{index}"))

    def _take(self, sockets: list[socket.socket]) -> None:
        self.console, self.serial, self.events, *family = sockets
        if family:
            (self.family,) = family

    def proxy(self) -> tuple[int, str]:
        """Number and arguments of the program of the family's line."""
        number, _, words = (self.folder / "proxy").read_text().strip().partition(" ")
        return int(number), words

    def store(self, key: str, value: str) -> None:
        path = self.folder / "store" / HOME / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value)

    def event(self) -> dict[str, object]:
        line = b""
        while not line.endswith(b"\n"):
            line += self.events.recv(1)
        event: dict[str, object] = json.loads(line)
        return event

    def ends(self, reason: int, said: str | None) -> None:
        """The guest writes its exit code and shuts down."""
        if said is not None:
            self.store("data/floe-exit", said)
        (self.folder / "end").write_text(f"Domain 7 has shut down, reason code {reason} 0x{reason:x}\n")

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []

    def close(self) -> None:
        if hasattr(self, "process"):
            self.process.kill()
            self.process.wait()
            assert self.process.stderr is not None
            self.process.stderr.close()
        os.close(self.master)
        os.close(self.slave)


def up(fake: Fake) -> None:
    fake.start()
    assert fake.event()["event"] == "RESUME"
