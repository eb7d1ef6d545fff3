# SPDX-License-Identifier: MIT
"""Limits how many answers by UDP one network gets in a second, so that forged queries cannot make the server flood
it. Of what is over the limit a part is answered cut off: who really asks then comes by TCP."""

import dnsname
from message import HEADER

_NETWORKS = 16384  # counted at once


class RateLimiter:
    """rate: answers a second to an IPv4 /24 or an IPv6 /48. slip: each so manieth over it is sent cut off; 0: none."""

    def __init__(self, rate: int, slip: int) -> None:
        self._rate = rate
        self._slip = slip
        self._counts: dict = {}  # network -> answers in this second
        self.dropped = 0
        self.cut = 0

    def next_second(self) -> None:
        self._counts.clear()

    def check(self, answer: object, address: tuple) -> object:
        """The answer to send: itself, one that is cut off, or None."""
        host = address[0]
        network = host.rsplit(".", 1)[0] if ":" not in host else ":".join(host.split(":")[:3])
        counts = self._counts
        count = counts.get(network, 0) + 1
        if count == 1 and len(counts) >= _NETWORKS:
            counts.clear()
        counts[network] = count
        if count <= self._rate:
            return answer
        if not self._slip or (count - self._rate) % self._slip:
            self.dropped += 1
            return None
        self.cut += 1
        return cut_off(answer)


def cut_off(answer: bytes) -> bytes:
    """The answer without its records, TC set."""
    if len(answer) == HEADER:
        return answer
    end = dnsname.skip(answer, HEADER) + 4
    return bytes(answer[:2]) + bytes([answer[2] | 2, answer[3], 0, 1]) + bytes(6) + bytes(answer[HEADER:end])
