# SPDX-License-Identifier: MIT
"""Files served per second over 32 kept-alive connections: images/web, and Debian's nginx in the Linux microVM.

The same site, one CPU, QEMU's user network; `repeated` is one request again and again, `differing` requests of which
none is like another (wrk.lua). Both are measured in one boot; ratios are round by round, on the same machine type.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from floe.errors import VmError
from tests.bench.common import WEB, Options, Report, alternate, build, expect, floe_vm, say, spread
from tests.bench.http import measure, summary
from tests.bench.linux import MACHINE, LinuxVm, program

REQUESTS = ("repeated", "differing")
_READY = "serving on port 80"
# What a guide to a fast nginx says: no log, files and their heads kept open, no end of kept-alive connections.
_CONF = b"""
user root; daemon off; worker_processes 1; pid /tmp/pid; error_log stderr crit;
events { worker_connections 1024; multi_accept on; }
http {
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 1000000000;
  open_file_cache max=1000 inactive=1h; open_file_cache_valid 1h;
  client_body_temp_path /tmp/a; proxy_temp_path /tmp/b; fastcgi_temp_path /tmp/c; uwsgi_temp_path /tmp/d; scgi_temp_path /tmp/e;
  types { text/html html; text/css css; text/javascript js; image/svg+xml svg; image/png png; application/json json; text/plain txt; }
  server { listen 80; root /site; index index.html; }
}
"""


def nginx_vm(accel: str, memory: str = "256M") -> LinuxVm:
    """nginx with the data of images/web; says when it listens."""
    data = WEB / "data"
    files = {f"site/{path.relative_to(data)}": path.read_bytes() for path in data.rglob("*") if path.is_file()}
    root = program("nginx", "-e stderr -c /app/nginx.conf", {**files, "app/nginx.conf": _CONF}, port=80)
    return LinuxVm(None, (80,), {}, accel=accel, root=root, memory=memory)


def _both(port: int, seconds: int) -> Report:
    return {requests: measure(port, seconds, "/", requests) for requests in REQUESTS}


def _floe(accel: str, machine: str, seconds: int) -> Report:
    with floe_vm(build(WEB), accel=accel, machine=machine, ports=[80]) as vm:
        expect(vm, _READY)
        return _both(vm.ports[80], seconds)


def _linux(accel: str, seconds: int) -> Report:
    with nginx_vm(accel) as vm:
        vm.wait_for(_READY)
        return _both(vm.ports[80], seconds)


def linux_starts(accel: str) -> bool:
    """Not under each host's KVM."""
    try:
        with nginx_vm(accel) as vm:
            vm.wait_for(_READY)
    except VmError as exc:
        say(f"no Linux microVM with {accel}: {exc.evidence or exc.message}")
        return False
    return True


def bench(options: Options) -> Report:
    """On each accelerator; ours on its own machine type too. Linux is left out where it does not start."""
    report: Report = {}
    seconds = options.seconds(10)
    for accel in options.accels:
        systems: dict[str, Callable[[], Any]] = {
            f"web {accel} {machine}": partial(_floe, accel, machine, seconds) for machine in ("microvm", MACHINE)
        }
        nginx = f"nginx {accel} {MACHINE}"
        if linux_starts(accel):
            systems[nginx] = partial(_linux, accel, seconds)
        runs = alternate(options.rounds, systems)
        for requests in REQUESTS:
            result: Report = {name: summary([run[requests] for run in values]) for name, values in runs.items()}
            for name in [name for name in systems if name != nginx and nginx in runs]:
                pairs = zip(runs[name], runs[nginx], strict=True)
                ratio = [ours[requests]["per_s"] / other[requests]["per_s"] for ours, other in pairs]
                result[f"{name} : nginx"] = spread(ratio)
            report[f"{accel} {requests}"] = result
    return report
