# SPDX-License-Identifier: MIT
"""Debian's iperf3 from one network namespace to another, through a VM between them."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.support.spaces import Space

_READY_S = 20.0
_TEST_S = 3


def iperf3(client: Space, server: Space, address: str, *words: str) -> Any:
    """A test of some seconds; what iperf3 says of its end. In none of its seconds all stood still."""
    argv = ("iperf3", "-J", "-c", address, "-t", str(_TEST_S), *words)
    end = time.monotonic() + _READY_S
    with server.running("iperf3", "-s"):
        while "error" in (said := json.loads(client.run(*argv, timeout_s=_TEST_S + _READY_S, check=False))):
            assert time.monotonic() < end and "refused" in said["error"], said["error"]
            time.sleep(0.2)
    sums = [each["sum"] for each in said["intervals"]]
    assert len(sums) >= _TEST_S and all(each["bytes"] > 0 for each in sums if each["seconds"] > 0.5), sums
    return said["end"]


def checked(client: Space, server: Space, addresses: tuple[str, ...], more: tuple[str, ...] = ()) -> None:
    """TCP both ways, and UDP, to each of these addresses of the server."""
    for address in addresses:
        for way in ((), ("-R",)):
            got = iperf3(client, server, address, *way, *more)["sum_received"]["bits_per_second"]
            print(address, *way, f"{got / 1e6:.0f} Mbit/s")
            assert got > 1e6
        for way in ((), ("-R",)):
            total = iperf3(client, server, address, "-u", "-b", "5M", "-l", "1000", *way, *more)["sum"]
            print(
                address, "UDP", *way, f"{total['bits_per_second'] / 1e6:.1f} Mbit/s, {total['lost_percent']:.1f} % lost"
            )
            assert total["packets"] > 500 and total["lost_percent"] < 50
