# SPDX-License-Identifier: MIT
"""images/router as a network's only router: autoconfiguration, names, translated addresses, forwarded ports, its file
read again."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from scapy.layers.inet6 import ICMPv6ND_RA, ICMPv6NDOptPrefixInfo, ICMPv6NDOptRDNSS, IPv6
from scapy.layers.l2 import Ether

from floe.testing import Boot
from tests.boot import iperfpath, packetpeer
from tests.boot.dnsupstream import Upstream
from tests.boot.routerguest import DEADLINE_S, START_S, Client, Router, disk_with, mac_of, routing
from tests.support.spaces import Space, spaces

FILE = """
domain = "home.test"
upstream = ["10.0.0.2@5353"]

[cards]
wan = 0
lan = 1

[[lan]]
card = "lan"
dhcp = "10.1.0.100-10.1.0.199"
mtu = 1480

[[lan.reservation]]
mac = "02:aa:00:00:00:09"
address = "10.1.0.9"
name = "printer"

[hosts]
nas = "10.1.0.8"

[nat]
masquerade = "wan"

[[forward]]
in = "wan"
port = 8080
to = "10.1.0.9"
to-port = 8000
"""
CARDS = [("ip=10.0.0.1/24", "gw=10.0.0.2"), ("ip=10.1.0.1/24", "ip6=2001:db8:1::1/64")]
IMAGE = Path(__file__).resolve().parents[2] / "images" / "router"
WAIT_S = 20.0


def until(what: Callable[[], object], text: str, wait_s: float = WAIT_S) -> None:
    end = time.monotonic() + wait_s
    while not what():
        assert time.monotonic() < end, text
        time.sleep(0.2)


def routes6(space: Space) -> str:
    return space.run("ip", "-6", "route", "show", "default")


def test_a_host_configures_itself(boot: Boot, tmp_path: Path) -> None:
    with routing(boot, disk_with(tmp_path, FILE), CARDS) as router:
        lan = router.lans[1]
        until(lambda: "proto ra" in routes6(lan), "no default route by an advertisement")
        until(lambda: "2001:db8:1:0:" in lan.run("ip", "-6", "addr", "show", "dev", lan.tap), "no address")
        assert "mtu 1480" in routes6(lan) or "1480" in lan.run("cat", f"/proc/sys/net/ipv6/conf/{lan.tap}/mtu")
        until(lambda: "tentative" not in lan.run("ip", "-6", "addr", "show", "dev", lan.tap), "an address is not ready")
        # Neighbours are found out about again and again; each time the router has to say that it is one.
        for setting, value in (("base_reachable_time_ms", "500"), ("delay_first_probe_time", "1")):
            lan.run("sysctl", "-q", "-w", f"net.ipv6.neigh.{lan.tap}.{setting}={value}")
        gateway = routes6(lan).split()[2]
        for _ in range(15):
            lan.run("dig", "+tries=1", f"@{gateway}%{lan.tap}", "nas.home.test")
            time.sleep(0.3)
        assert "proto ra" in routes6(lan), "the default route is forgotten"
        if shutil.which("rdisc6"):
            said = lan.run("rdisc6", "-1", lan.tap)
            for word in ("2001:db8:1::/64", "home.test", gateway, "1480", "1800"):
                assert word in said, said
        router.stop()
        router.crashed = True  # it has ended
        until(lambda: "proto ra" not in routes6(lan), "a router that has ended is still used")


def read_by_radvdump(text: str) -> list[dict[str, dict[str, str]]]:
    """Advertisements as radvdump writes them down, in the form of radvd.conf: of each part what stands in it."""
    found: list[dict[str, dict[str, str]]] = []
    part: dict[str, str] = {}
    parts = [part]
    for line in re.sub("#.*", "", text).splitlines():
        word, _, value = line.strip().rstrip(";").partition(" ")
        if line.strip().endswith(";") and word != "}":
            parts[-1][word] = value
        elif word == "}":
            parts.pop()
        elif word == "{":
            parts.append(part)
        elif word:
            part = {}
            if word == "interface":
                found.append({"interface": part})
            else:
                found[-1][f"{word} {value}".strip()] = part
    return found


def test_what_radvdump_reads(boot: Boot, tmp_path: Path) -> None:
    """Another program's view of the advertisements, and of the one at the end."""
    if not Path("/usr/sbin/radvdump").exists():
        pytest.skip("SKIP: radvdump is not installed; try: apt-get install radvdump")
    text = FILE.replace("mtu = 1480", 'mtu = 1480\ndns = ["10.1.0.1", "2001:db8:1::1", "2001:db8:1::53"]')
    with routing(boot, disk_with(tmp_path, text), CARDS) as router:
        lan = router.lans[1]
        path = tmp_path / "radvdump"

        def read() -> list[dict[str, dict[str, str]]]:
            said = path.read_text()
            return read_by_radvdump(said[: said.rfind("# End of interface definition")])

        with path.open("wb") as file, subprocess.Popen(lan.argv("/usr/sbin/radvdump"), stdout=file) as radvdump:
            try:
                end = time.monotonic() + WAIT_S
                while not read():  # the first ones may have come before it listened
                    assert time.monotonic() < end, path.read_text()
                    lan.run("rdisc6", "-1", lan.tap, check=False)
                (first, *_) = read()
                router.stop()
                router.crashed = True
                until(lambda: read()[-1]["interface"]["AdvDefaultLifetime"] == "0", "not withdrawn")
            finally:
                radvdump.kill()
        last = read()[-1]
    card, (prefix,) = first["interface"], [each for each in first if each.startswith("prefix ")]
    assert prefix == "prefix 2001:db8:1::/64"
    assert {key: first[prefix][f"Adv{key}"] for key in ("OnLink", "Autonomous", "RouterAddr")} == {
        "OnLink": "on", "Autonomous": "on", "RouterAddr": "off",
    }  # fmt: skip
    assert (first[prefix]["AdvValidLifetime"], first[prefix]["AdvPreferredLifetime"]) == ("86400", "14400")
    wanted = {"ManagedFlag": "off", "OtherConfigFlag": "off", "DefaultLifetime": "1800", "CurHopLimit": "64",
              "ReachableTime": "0", "RetransTimer": "0", "LinkMTU": "1480", "SourceLLAddress": "on"}  # fmt: skip
    assert {key: card[f"Adv{key}"] for key in wanted} == wanted
    assert first["RDNSS 2001:db8:1::1 2001:db8:1::53"]["AdvRDNSSLifetime"] == "1800"
    assert first["DNSSL home.test"]["AdvDNSSLLifetime"] == "1800"
    assert last["RDNSS 2001:db8:1::1 2001:db8:1::53"]["AdvRDNSSLifetime"] == "0"
    assert last["DNSSL home.test"]["AdvDNSSLLifetime"] == "0"


def test_iperf3_behind_one_address(boot: Boot, tmp_path: Path) -> None:
    with routing(boot, disk_with(tmp_path, FILE), CARDS) as router:
        wan, lan = router.lans
        wan.ip("addr", "add", "10.0.0.2/24", "dev", wan.tap)
        lan.ip("addr", "add", "10.1.0.7/24", "dev", lan.tap)
        lan.ip("route", "add", "default", "via", "10.1.0.1")
        iperfpath.checked(lan, wan, ("10.0.0.2",))


def dig(space: Space, *words: str) -> list[str]:
    return space.run("dig", "+short", "+tries=2", "+time=5", "@10.1.0.1", *words).split()


def test_names(boot: Boot, tmp_path: Path) -> None:
    if shutil.which("dig") is None:
        pytest.skip("SKIP: dig is not installed; try: apt-get install dnsutils")
    with routing(boot, disk_with(tmp_path, FILE), CARDS) as router:
        wan, lan = router.lans
        wan.ip("addr", "add", "10.0.0.2/24", "dev", wan.tap)
        address = Client(lan, "02:aa:00:00:00:01", name="Laptop").lease()
        lan.ip("addr", "add", "10.1.0.7/24", "dev", lan.tap)
        with wan.call(Upstream, "10.0.0.2", 5353) as up:
            assert dig(lan, "laptop.home.test") == dig(lan, "laptop") == [address]
            assert dig(lan, "-x", address) == ["laptop.home.test."]
            assert dig(lan, "printer.home.test") == ["10.1.0.9"] and dig(lan, "nas.home.test") == ["10.1.0.8"]
            for name, code in (
                ("nobody.home.test", "NXDOMAIN"),
                ("a.b.home.test", "NXDOMAIN"),
                ("home.test", "NOERROR"),
            ):
                assert f"status: {code}" in lan.run("dig", "@10.1.0.1", name), name
            assert "status: NOERROR" in lan.run("dig", "@10.1.0.1", "laptop.home.test", "AAAA")
            assert "status: NXDOMAIN" in lan.run("dig", "@10.1.0.1", "-x", "10.1.0.250")
            assert not up.seen  # none of these is anybody else's
            for _ in range(2):
                assert dig(lan, "one.up.test") == dig(lan, "+tcp", "one.up.test") == ["192.0.2.77"]
            assert up.count("one.up.test.") == 1
            assert (
                wan.run("dig", "+short", "+tries=1", "+time=1", "@10.0.0.1", "nas.home.test", check=False) != "10.1.0.8"
            )


def test_addresses_are_translated_and_ports_forwarded(boot: Boot, tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "page").write_text("here")
    app = changing(tmp_path, FILE.replace("8080", "8081"))
    with routing(boot, disk_with(tmp_path, FILE), CARDS, app) as router:
        wan, lan = router.lans
        wan.ip("addr", "add", "10.0.0.2/24", "dev", wan.tap)
        for address in ("10.1.0.9/24",):
            lan.ip("addr", "add", address, "dev", lan.tap)
        lan.ip("route", "add", "default", "via", "10.1.0.1")
        serve = ("python3", "-m", "http.server", "-d", tmp_path / "served")
        with wan.running(*serve, "8000"), lan.running(*serve, "8000"):
            until(lambda: fetched(lan, "http://10.0.0.2:8000/page") == "here", "no way out")  # wan knows no way back
            until(lambda: fetched(wan, "http://10.0.0.1:8080/page") == "here", "the port is not forwarded")
            said = router.say("flows", r"\d+ of \d+ flows")
            assert "10.1.0.9:8000" in said
            wan.ip("route", "add", "10.1.0.0/24", "via", "10.0.0.1")
            assert fetched(wan, "http://10.1.0.9:8000/page") == ""  # nobody asked for it
        assert "10.1.0.0/24" in router.say("routes", r"fe80.* 1 +local\r?\n")
        address = Client(lan, "02:aa:00:00:00:01", name="tv").lease()
        router.say("change", "changed")
        router.say("reload", "read again")
        assert Client(lan, "02:aa:00:00:00:01").lease() == address  # which is known as before
        assert Client(lan, "02:aa:00:00:00:02").lease() != address
        with lan.running(*serve, "8000"):
            until(lambda: fetched(wan, "http://10.0.0.1:8081/page") == "here", "the new port is not forwarded")
            assert fetched(wan, "http://10.0.0.1:8080/page") == ""
        metrics = lan.run("curl", "-s", "http://10.1.0.1:9100/metrics")
        assert 'dhcp_addresses{network="lan"} 100' in metrics and "packet_forwarded_bytes_total" in metrics
        assert lan.run("curl", "-s", "http://10.1.0.1:9100/health") == "ok\n"


def test_who_advertises_himself_beside_it(boot: Boot, tmp_path: Path) -> None:
    """Is not believed; a client asks for names from its global address, which the router has told it."""
    with routing(boot, disk_with(tmp_path, FILE), CARDS) as router:
        lan = router.lans[1]
        liar = IPv6(src="fe80::66", dst="ff02::1", hlim=255) / ICMPv6ND_RA(routerlifetime=1800)
        liar /= ICMPv6NDOptPrefixInfo(prefix="2001:db8:bad::", prefixlen=64) / ICMPv6NDOptRDNSS(
            lifetime=600, dns=["fe80::66"]
        )
        frame = Ether(src="02:bb:00:00:00:01", dst="33:33:00:00:00:01") / liar
        lan.call(packetpeer.exchange, lan.tap, [frame], lambda found: False, 1.0)
        said = router.say("routes\nstatus", "network +addresses")
        assert "2001:db8:1::/64" in said and "fe80::66" not in said and "2001:db8:bad" not in said
        asked = ("dig", "+short", "+tries=1", "@2001:db8:1::1", "nas.home.test")
        until(partial(answers, lan, asked, "10.1.0.8"), "no answer by IPv6")


def test_what_is_wrong_leaves_all_as_it_was(boot: Boot, tmp_path: Path) -> None:
    """Also addresses and advertisements, where only the engine finds out."""
    wrong = FILE.replace("10.1.0.100-10.1.0.199", "10.1.0.210-10.1.0.219")
    wrong += '[[route]]\nto = "10.1.0.1/32"\nvia = "10.0.0.2"\n'
    with routing(boot, disk_with(tmp_path, FILE), CARDS, changing(tmp_path, wrong)) as router:
        client = Client(router.lans[1], "02:aa:00:00:00:01")
        before = client.lease()
        router.say("change", "changed")
        assert "route 10.1.0.1/32" in router.say("reload", r"stays as it was.*\n")
        assert client.lease() == before
        assert Client(router.lans[1], "02:aa:00:00:00:02").lease().startswith("10.1.0.1")


def test_all_goes_on_beside_a_repl(boot: Boot, tmp_path: Path) -> None:
    """DHCP, names and advertisements of a dev image, while a host is in raw mode, after Ctrl-C, and after new files."""
    with routing(boot, disk_with(tmp_path, FILE), CARDS, dev=True) as router:
        lan, vm = router.lans[1], router.vm

        def all_is_served(number: int) -> str:
            address = Client(lan, f"02:aa:00:00:00:0{number}").lease()
            assert dig(lan, "nas.home.test") == ["10.1.0.8"]
            assert shutil.which("rdisc6") is None or "2001:db8:1::/64" in lan.run("rdisc6", "-1", lan.tap)
            return address

        until(lambda: "proto ra" in routes6(lan), "no default route by an advertisement")
        lan.ip("addr", "add", "10.1.0.7/24", "dev", lan.tap)
        first = all_is_served(1)
        vm.send(b"\r\x03\x03\x01")  # as `floe exec` and mpremote begin
        vm.expect_exact("raw REPL; CTRL-B to exit", timeout=WAIT_S)
        all_is_served(2)
        vm.send(b"\x02\x03")
        vm.expect_exact(">>> ", timeout=WAIT_S)
        all_is_served(3)
        assert first in vm.exec("leases()") and "network  addresses" in vm.exec("status()")
        assert "10.1.0.0/24" in vm.exec("routes()") and "forwarded" not in vm.exec("flows()")
        text = FILE.replace("nas =", "box =")
        vm.exec(f"with open('/router.toml', 'w') as file: file.write({text!r})\nreload()")
        vm.expect_exact("read again", timeout=WAIT_S)
        until(lambda: dig(lan, "box.home.test") == ["10.1.0.8"], "the new file is not read")
        assert Client(lan, "02:aa:00:00:00:01").lease() == first
        router.crashed = True  # Ctrl-C is the REPL's here; it ends as by `floe stop`
        assert vm.stop() == 0 and "info router: stopped" in vm.console_text and "Traceback" not in vm.console_text
        until(lambda: "proto ra" not in routes6(lan), "a router that has ended is still used")


INNER = """
domain = "inner.test"

[cards]
wan = 0
lan = 1

[[lan]]
card = "lan"
dhcp = "10.5.0.100-10.5.0.199"

[nat]
masquerade = "wan"
"""


def test_a_router_behind_a_router(boot: Boot, tmp_path: Path) -> None:
    """The inner one has its address, its way out and its name server from the outer one."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "page").write_text("here")
    (tmp_path / "inner").mkdir()
    line = tmp_path / "line"
    outer_disk, inner_disk = disk_with(tmp_path, FILE), disk_with(tmp_path / "inner", INNER)
    with spaces("w", "i") as (wan, inside):
        outer = booted(boot, outer_disk, [f"tap:{wan.tap},ip=10.0.0.1/24,gw=10.0.0.2", f"listen:{line},ip=10.1.0.1/24"])
        inner = booted(boot, inner_disk, [f"connect:{line},mac={mac_of(5)}", f"tap:{inside.tap},ip=10.5.0.1/24"])
        wan.join("10.0.0.2/24")
        inside.join("10.5.0.9/24", gateways=("10.5.0.1",))
        until(lambda: mac_of(5) in outer.say("leases", r"left.*\n(.*\n)?"), "no lease for the inner one")
        serve = ("python3", "-m", "http.server", "-d", tmp_path / "served", "8000")
        with wan.running(*serve), wan.call(Upstream, "10.0.0.2", 5353):
            until(lambda: fetched(inside, "http://10.0.0.2:8000/page") == "here", "no way out")
            for name, address in (("one.up.test", "192.0.2.77"), ("nas.home.test", "10.1.0.8")):
                asked = ("dig", "+short", "+tries=1", "@10.5.0.1", name)
                until(partial(answers, inside, asked, address), f"nobody knows {name}")
            assert "NXDOMAIN" in inside.run("dig", "@10.5.0.1", "nas.inner.test")
        inner.stop()
        outer.stop()


def answers(space: Space, asked: tuple[str, ...], wanted: str) -> bool:
    return space.run(*asked, check=False).split() == [wanted]


def booted(boot: Boot, disk: Path, net: list[str]) -> Router:
    vm = boot("router", deadline_s=DEADLINE_S, net=net, memory="32M", disks=[str(disk)])
    vm.expect(r"routing between \d+ cards", timeout=START_S)
    return Router(vm)


def changing(folder: Path, text: str) -> Path:
    """The image, with a command that puts another text into its file."""
    app = folder / "changing"
    app.mkdir()
    (app / "image.toml").write_text(f'name = "router"\nbase = "{IMAGE}"\n')
    (app / "main.py").write_text(_CHANGING % text)
    return app


_CHANGING = '''
import running

TEXT = """%s"""


def change():
    with open("/router.toml", "w") as file:
        file.write(TEXT)
    print("changed")


running.run({"change": change})
'''


def fetched(space: Space, url: str) -> str:
    return space.run("curl", "-s", "-m", "3", url, check=False)
