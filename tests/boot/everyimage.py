# SPDX-License-Identifier: MIT
"""Every image that serves, all at a time, asked by the clients that people have: for machines of another kind than
those on which each image is tested by itself."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from floe.testing import Boot, Guest
from tests.boot.dnsguest import Dns
from tests.boot.iperfguest import Iperf, tool
from tests.boot.mqttguest import Mqtt, run
from tests.boot.rawhttp import RawHttp
from tests.boot.redisguest import Redis
from tests.boot.routerguest import Router
from tests.boot.served import Served, stop_all
from tests.boot.webguest import DATA

_ANSWER_S = 40.0
_METRIC = re.compile(r"(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+({.*})? -?[\d.]+(e[+-]?\d+)?)")
_LOG = {"APPENDONLY": "yes", "APPENDFSYNC": "always"}


class _Http(Served):
    """A running image that serves HTTP."""

    def __init__(self, vm: Guest, port: int) -> None:
        self.vm = vm
        self.port = vm.ports[port]
        vm.expect_exact(f"serving on port {port}")

    def get(self, path: str) -> bytes:
        with RawHttp(self.port, _ANSWER_S) as client:
            answer = client.get(path)
        assert answer.status == 200, answer
        return answer.body


def serve_them_all(boot: Boot, folder: Path, deadline_s: float) -> None:
    """Start each, be its client, and end it in order. folder: for a disk."""
    boot.defaults["memory"] = "32M"
    function = _Http(boot("function", deadline_s=deadline_s, ports=[8080, 9100]), 8080)
    web = _Http(boot("web", deadline_s=deadline_s, ports=[80, 9100]), 80)
    # What is behind a port of the host is at 10.0.2.2 for a guest, in the lab too.
    upstream = {"UPSTREAMS": f"10.0.2.2:{function.port}", "PROXY_CONNECT_S": "20"}
    proxy = _Http(boot("web", deadline_s=deadline_s, ports=[80, 9100], env=upstream), 80)
    dns = Dns(boot("dns", deadline_s=deadline_s, ports=[53, "53/udp", 9100]))
    mqtt = Mqtt(boot("mqtt", deadline_s=deadline_s, ports=[1883, 9100]), 1883)
    router = Router(boot("router", deadline_s=deadline_s, ports=[9100]))
    router.vm.expect_exact("routing between 1 cards")
    router.vm.expect_exact("there is no router.toml")
    iperf = Iperf(boot("iperf", deadline_s=deadline_s, ports=[9100]))

    assert web.get("/") == (DATA / "index.html").read_bytes()
    assert json.loads(function.get("/?name=Ann"))["hello"] == "Ann"
    assert json.loads(proxy.get("/?name=Bob"))["hello"] == "Bob"
    _fork(boot, deadline_s)
    _resolve(dns)
    _publish(mqtt)
    _measure(iperf)
    served: list[Served] = [proxy, function, web, dns, mqtt, router, iperf]
    for each in served:
        _pages(each.vm)
    stop_all(served)
    _keep(boot, folder, deadline_s)


def _fork(boot: Boot, deadline_s: float) -> None:
    """A server that forks; under Xen it serves alone."""
    prefork = _Http(boot("prefork", deadline_s=deadline_s, ports=[8080, 9100], env={"WORKERS": "2"}), 8080)
    assert json.loads(prefork.get("/factor?n=60"))["factors"] == [2, 2, 3, 5]
    assert b"<h1>" in prefork.get("/")
    _pages(prefork.vm)
    prefork.stop()


def _pages(vm: Guest) -> None:
    """What an appliance says of itself on its own port."""
    port = next(each.host_port for each in vm.spec.forwards if each.guest_port == 9100)
    for path in ("/ready", "/health", "/metrics"):
        with RawHttp(port, _ANSWER_S) as client:
            answer = client.get(path)
        assert answer.status == 200, (vm.spec.elf, answer)
        if path != "/metrics":
            assert answer.body == b"ok\n"
            continue
        assert answer.fields["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        lines = answer.body.decode().splitlines()
        assert [line for line in lines if not _METRIC.fullmatch(line)] == []
        assert len({line.split()[2] for line in lines if line[0] == "#"}) > 5


def _resolve(dns: Dns) -> None:
    for port, how in ((dns.udp, "+notcp"), (dns.tcp, "+tcp")):
        said = tool("dig", "@127.0.0.1", "-p", port, how, "+short", "+time=10", "www.example.org", "A")
        assert said == "web.example.org.\n192.0.2.80\n"
    assert dns.metric('dns_queries_total{transport="tcp",type="A",rcode="NOERROR"}') == 1


def _publish(mqtt: Mqtt) -> None:
    """One message that is kept, and one for who listens."""
    run("mosquitto_pub", "-p", mqtt.port, "-t", "a/b", "-m", "kept", "-r", "-q", "1")
    argv = ["mosquitto_sub", "-p", str(mqtt.port), "-t", "a/#", "-q", "1", "-C", "2", "-W", str(round(_ANSWER_S))]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as subscriber:
        try:
            assert subscriber.stdout is not None
            assert subscriber.stdout.readline() == "kept\n"
            run("mosquitto_pub", "-p", mqtt.port, "-t", "a/c", "-m", "live", "-q", "2")
            assert subscriber.stdout.read() == "live\n"
            assert subscriber.wait(_ANSWER_S) == 0
        finally:
            subscriber.kill()


def _measure(iperf: Iperf) -> None:
    assert iperf.iperf3("-n", "1M", "-R")["end"]["sum_received"]["bytes"] >= 1 << 20
    total = iperf.iperf3("-u", "-b", "1M", "-n", "100K", "-l", "1000")["end"]["sum"]
    assert 0 <= total["lost_packets"] < total["packets"]
    iperf.iperf2("-n", "1M")
    iperf.vm.expect(r"iperf: [\d.]+: received 1048\d{3} bytes of TCP")


def _keep(boot: Boot, folder: Path, deadline_s: float) -> None:
    """What redis has acknowledged outlives a failure of power."""
    disks = [f"{folder / 'redis.img'}:size=4M"]

    def start() -> Redis:
        return Redis(boot("redis", deadline_s=deadline_s, ports=[6379, 9100], disks=disks, env=_LOG))

    first = start()
    assert tool("redis-cli", "-p", first.port, "SET", "word", "kept") == "OK\n"
    first.vm.kill()
    second = start()
    assert tool("redis-cli", "-p", second.port, "GET", "word") == "kept\n"
    _pages(second.vm)
    second.stop()
