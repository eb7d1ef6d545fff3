# SPDX-License-Identifier: MIT
"""netfront against the lab's netback: bytes both ways, names over UDP, several cards, cards that are pulled and plugged,
a backend that is taken down, unbound and bound again."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from floe.testing import Boot, Guest
from floe.xenlab import lab as the_lab
from tests.xen.traffic import SLOW, becomes, dom0, get, number, pattern, ping

GUEST = Path(__file__).with_name("guest_vif.py")
SIZE = 4 << 20
IS_UP = "link up(?!.*link down)"  # and that is the last word
DRIVER = "/sys/bus/xen-backend/drivers/vif"
LAN = "bridge:xenbr0,ip=10.0.2.2{n}/24,mac=00:16:3e:00:00:2{n}"


def served(boot: Boot, *args: str, nets: tuple[str, ...] = ("user",), ports: tuple[int, ...] = ()) -> Guest:
    vm = boot(GUEST, deadline_s=240, args=args, net=list(nets), ports=list(ports), memory="48M")
    vm.expect_exact("ready", timeout=SLOW)
    return vm


def test_bytes_both_ways(boot: Boot) -> None:
    """Through the bridge and QEMU's network, to a port of 127.0.0.1."""
    vm = served(boot, ports=(80,))
    url = f"http://127.0.0.1:{vm.ports[80]}"
    data = pattern(SIZE)
    began = time.monotonic()
    assert get(f"{url}/{SIZE}") == data
    half = time.monotonic()
    want = f"{SIZE} {hashlib.sha256(data).hexdigest()}\n".encode()
    with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=40) as answer:
        assert answer.read() == want
    print(
        f"from the guest {SIZE / (half - began) / 1e6:.1f} MB/s, to it {SIZE / (time.monotonic() - half) / 1e6:.1f} MB/s"
    )


def test_bytes_both_ways_in_large_frames(boot: Boot) -> None:
    """With dom0 itself: TCP frames of up to 64 KiB, and checksums that nobody has made."""
    data = pattern(SIZE)
    the_lab.call("mkdir /tmp/www; cat > /tmp/www/data; httpd -p 8000 -h /tmp/www", stdin=data)
    try:
        vm = served(boot, "fetch", "10.0.2.14", "8000", "/data", nets=(LAN.format(n=0),))
        assert f"fetched {SIZE} {hashlib.sha256(data).hexdigest()}\n" in vm.console_text
        frames = dom0(f"cat /sys/class/net/vif{number()}.0/statistics/tx_packets")
        assert int(frames) < SIZE / 1460  # or they were not large
        assert dom0(f"wget -q -O - http://10.0.2.20/{SIZE} | cmp - /tmp/www/data && echo same").strip() == "same"
    finally:
        dom0("killall httpd; rm -r /tmp/www")


def test_names_over_udp(boot: Boot) -> None:
    served(boot, nets=(LAN.format(n=1),))
    assert "10.1.2.3" in dom0("nslookup floe.example 10.0.2.21")
    vm = served(boot, "name", "other.example", nets=(f"{LAN.format(n=2)},gw=10.0.2.2,dns=10.0.2.21",))
    assert "address 10.1.2.3\n" in vm.console_text


def test_several_cards(boot: Boot) -> None:
    nets = tuple(f"bridge:xenbr0,ip=10.0.{9 + n}.3/24,mac=00:16:3e:00:01:0{n}" for n in range(4))
    served(boot, nets=nets)
    for n in range(4):
        dom0(f"ip addr add 10.0.{9 + n}.14/24 dev xenbr0")
    try:
        for n in range(4):
            assert dom0(f"wget -q -O - http://10.0.{9 + n}.3/60 | wc -c").strip() == "60"
            assert f"00:16:3e:00:01:0{n}" in dom0(f"ip neigh show 10.0.{9 + n}.3")
    finally:
        for n in range(4):
            dom0(f"ip addr del 10.0.{9 + n}.14/24 dev xenbr0")


def test_what_comes_back(boot: Boot) -> None:
    """A backend that is taken down and stays; one that is unbound and bound again; a card that is pulled, and another."""
    vm = served(boot, nets=(LAN.format(n=3),))
    n = number()
    back = f"/local/domain/0/backend/vif/{n}/0"
    for _ in range(2):
        assert becomes(lambda: ping("10.0.2.23"))
        dom0(f"xenstore-write {back}/state 5")
        # Its end, and not that of pings: dom0's xenwatch crashed where netback was unbound while it connected.
        assert becomes(lambda: dom0(f"xenstore-read {back}/state").strip() == "4")
    assert becomes(lambda: ping("10.0.2.23"))

    # Whether the guest, which looks now and then, has seen and said the link down above depends on how fast it is.
    vm.expect(IS_UP, timeout=SLOW)
    dom0(f"echo vif-{n}-0 > {DRIVER}/unbind; sleep 1; echo vif-{n}-0 > {DRIVER}/bind")
    vm.expect_exact("link down", timeout=SLOW)
    dom0(f"XENBUS_PATH={back} vif=vif{n}.0 sh $(xenstore-read {back}/script) online")
    assert becomes(lambda: dom0(f"xenstore-read {back}/state").strip() == "4")
    vm.expect(IS_UP, timeout=SLOW)
    assert becomes(lambda: ping("10.0.2.23"))

    dom0(f"wget -q -O /dev/null http://10.0.2.23/100000000 & sleep 1; xl network-detach {n} 0; kill $!")
    vm.expect_exact("link down", timeout=SLOW)
    dom0(f"xl network-attach {n} mac=00:16:3e:00:00:99,bridge=xenbr0")
    vm.expect(IS_UP, timeout=SLOW)
    assert becomes(lambda: ping("10.0.2.23"))
    assert dom0("wget -q -O - http://10.0.2.23/100000 | wc -c").strip() == "100000"
    assert "xen vif" not in vm.console_text


def test_requests(boot: Boot) -> None:
    """Eight connections at once, for three seconds."""
    if shutil.which("wrk") is None:
        pytest.skip("SKIP: wrk is not installed")
    vm = boot("web", deadline_s=90)
    vm.expect_exact("serving on port 80", timeout=SLOW)
    argv = ["wrk", "-t1", "-c8", "-d3", "--timeout", "10", f"http://127.0.0.1:{vm.ports[80]}/"]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stdout
    print(said)
    assert "Socket errors" not in said and "Non-2xx" not in said
    assert float(said.split("Requests/sec:")[1].split()[0]) > 10
