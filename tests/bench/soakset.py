# SPDX-License-Identifier: MIT
"""The VMs of the soak, detached ones as a user runs them: web over HTTP and over TLS, each with its site on a disk, dns, and
a script that writes its disk and whose module is replaced."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from floe.bench import dns
from floe.errors import VmError
from floe.store import vmfolder
from tests.bench.common import GUESTS, WEB, Report, wait_until
from tests.support.command import floe

_READY_S = 60.0
_SERVING = "serving on port"
_SITE_SIZE = "2M"
Figures = dict[str, float]


@dataclass
class Server:
    """One VM. ports: the host's by the guest's, which is "80" or "53/udp"."""

    name: str
    ports: dict[str, int]

    @property
    def pid(self) -> int:
        process = vmfolder.find(self.name).vm
        if process is None or not process.alive:
            raise VmError(f"{self.name} has ended", evidence=self.log()[-2000:])
        return process.pid

    def log(self) -> str:
        return vmfolder.find(self.name).console_log.read_text(errors="replace")

    def rss(self) -> int:
        """Bytes of the hypervisor's process in memory."""
        match = re.search(
            r"^VmRSS:\s+(\d+) kB",
            Path(f"/proc/{self.pid}/status").read_text(),
            re.MULTILINE,
        )
        assert match is not None  # proc(5)
        return int(match[1]) * 1024

    def cpu_s(self) -> float:
        """Seconds of CPU that the hypervisor's process has used."""
        words = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Set:
    http: Server
    https: Server
    dns: Server
    store: Server
    ca: Path  # who signed the certificate of https
    folder: Path  # for files of the load

    @property
    def servers(self) -> tuple[Server, ...]:
        return (self.http, self.https, self.dns, self.store)

    def memory(self) -> dict[str, Figures]:
        """Of each guest by its own words, after a garbage collection."""
        done = floe("exec", self.dns.name, "import gc; gc.collect()")  # the others do so where they are asked
        if done.returncode:
            raise VmError("floe exec failed", evidence=done.stderr)
        status = "/api/status"
        found = {
            "http": json.loads(fetch(f"http://127.0.0.1:{self.http.ports['80']}{status}"))["memory"],
            "https": json.loads(fetch(f"https://localhost:{self.https.ports['443']}{status}", self.ca))["memory"],
            "dns": _metrics(fetch(f"http://127.0.0.1:{self.dns.ports['9100']}/metrics")),
        }
        others = (self.http, self.https, self.dns)
        return {s.name: figures(s, found[s.name]) for s in others} | {"store": store_memory(self.store)}


def figures(server: Server, told: Figures) -> Figures:
    """What a guest told of its memory, and its hypervisor's."""
    return {key: told[key] for key in ("ram_free", "gc_used", "c_used")} | {"rss": server.rss()}


def store_memory(store: Server) -> Figures:
    """After a garbage collection, by part.py's word."""
    return figures(store, json.loads(fetch(f"http://127.0.0.1:{store.ports['80']}/status")))


def fetch(url: str, ca: Path | None = None) -> str:
    """Raises VmError."""
    argv = ["curl", "-sSf", "-m", "20", *(["--cacert", str(ca)] if ca else []), url]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=40, check=False)
    if done.returncode:
        raise VmError(f"no answer of {url}", evidence=done.stderr)
    return done.stdout


def _metrics(page: str) -> Figures:
    values = dict(line.rsplit(" ", 1) for line in page.splitlines() if line.startswith("floe_"))
    return {key: float(values[f"floe_{key}_bytes"]) for key in ("ram_free", "gc_used", "c_used")}


def _certificate(folder: Path) -> None:
    key = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        "key.pem",
    ]
    argv = [
        "openssl",
        "req",
        "-x509",
        *key,
        "-out",
        "cert.pem",
        "-days",
        "30",
        "-subj",
        "/CN=localhost",
    ]
    argv += ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(argv, cwd=folder, capture_output=True, timeout=60, check=True)


def _site(folder: Path, name: str) -> Path:
    """A disk with the site of images/web in its folder www."""
    disk, tree = folder / f"{name}.img", folder / "www"
    if not tree.exists():
        shutil.copytree(WEB / "data", tree)
    for argv in (
        ("create", disk, "--size", _SITE_SIZE),
        ("cp", "-r", disk, tree, ":/"),
    ):
        done = floe("disk", *argv)
        if done.returncode:
            raise VmError(f"floe disk {argv[0]} failed", evidence=done.stderr)
    return disk


def _start(name: str, app: Path, ready: str, accel: str, *options: str | Path) -> Server:
    done = floe(
        "run",
        "--detach",
        "--json",
        "--name",
        name,
        "--accel",
        accel,
        *options,
        app,
        timeout_s=300,
    )
    if done.returncode:
        raise VmError(f"{name} did not start", evidence=done.stderr)
    ports: list[Report] = json.loads(done.stdout)["ports"]
    server = Server(name, {_port(port): port["host"] for port in ports})
    if not wait_until(lambda: ready in server.log(), _READY_S):
        raise VmError(f"{name} does not say {ready!r}", evidence=server.log()[-2000:])
    return server


def _port(told: Report) -> str:
    return str(told["guest"]) + ("/udp" if told["protocol"] == "udp" else "")


@contextmanager
def _own_state(folder: Path, *names: str) -> Iterator[None]:
    """A state directory below the folder; VMs of these names are gone from it afterwards."""
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = str(folder / "state")
    try:
        yield
    finally:
        for name in names:
            floe("rm", "--force", name)
        if before is None:
            del os.environ["XDG_STATE_HOME"]
        else:
            os.environ["XDG_STATE_HOME"] = before


def _store(folder: Path, accel: str) -> Server:
    disk = f"{folder / 'store.img'}:size=1M"
    return _start("store", GUESTS / "soak", _SERVING, accel, "--dev", "-p", "0:80", "--disk", disk)


@contextmanager
def store_running(folder: Path, accel: str) -> Iterator[Server]:
    """The script whose module is replaced, alone."""
    with _own_state(folder, "store"):
        yield _store(folder, accel)


@contextmanager
def running(folder: Path, accel: str) -> Iterator[Set]:
    """All four."""
    _certificate(folder)
    cert, key = f"cert={folder / 'cert.pem'}", f"key={folder / 'key.pem'}"
    site = ("-e", "SITE=/www", "--disk")
    tls = ("--variant", "tls-disk", "-p", "0:443", "--secret", cert, "--secret", key)
    names = ("-p", "0:53/udp", "-p", "0:53", "-p", "0:9100")
    with _own_state(folder, "http", "https", "dns", "store"):
        yield Set(
            _start("http", WEB, _SERVING, accel, "--variant", "disk", "-p", "0:80", *site, _site(folder, "http")),
            _start("https", WEB, _SERVING, accel, *tls, *site, _site(folder, "https")),
            _start("dns", dns.image(), "serving 1 zones", accel, "--dev", *names, "--memory", "64M"),
            _store(folder, accel),
            folder / "cert.pem",
            folder,
        )
